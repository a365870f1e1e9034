"""Reading frames from every kind of source, and the errors of bad ones."""

import os
import pathlib
import struct

import av
import numpy as np
import PIL.Image
import pytest

from sgmg_jax import errors
from sgmg_jax.inference import open_video as video_lib
from sgmg_jax.pictures import video_writer

CASES = pathlib.Path(__file__).parents[1] / "video_cases"


def _gradient(num_frames, height=48, width=64):
  """Smooth frames whose brightness encodes the frame index."""
  ramp = np.linspace(0, 100, width)[None, :, None]
  return [
    np.broadcast_to(ramp + 12 * index, (height, width, 3)).astype(np.uint8)
    for index in range(num_frames)
  ]


def _encode(path, frames, codec, pix_fmt="yuv420p", rate=8):
  with av.open(str(path), "w") as container:
    stream = container.add_stream(codec, rate=rate)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = pix_fmt
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
      container.mux(stream.encode(picture))
    container.mux(stream.encode(None))
  return path


@pytest.mark.parametrize(
  "suffix, codec, pix_fmt",
  [
    ("mp4", "libx264", "yuv420p"),
    ("mov", "mpeg4", "yuv420p"),
    ("avi", "mpeg4", "yuv420p"),
    ("webm", "libvpx", "yuv420p"),
    ("gif", "gif", "rgb8"),
  ],
)
def test_video_files(tmp_path, suffix, codec, pix_fmt):
  frames = _gradient(5)
  path = _encode(tmp_path / f"v.{suffix}", frames, codec, pix_fmt)
  reader = video_lib.open_video(path)
  assert (reader.height, reader.width) == (48, 64)
  assert reader.fps == pytest.approx(8, rel=0.05)
  assert reader.name == f"v.{suffix}"
  for _ in range(2):  # It can be read again.
    decoded = list(reader)
    assert len(decoded) == 5
    for got, want in zip(decoded, frames):
      assert got.dtype == np.uint8
      assert abs(got.mean() - want.mean()) < 6
      # A gif has few colours; the others lose little.
      tolerance = 40 if suffix == "gif" else 4
      assert np.abs(got.astype(int) - want).mean() < tolerance


def test_rotation_of_the_display_matrix(tmp_path):
  frames = _gradient(3)  # dark left, bright right
  path = _encode(tmp_path / "v.mp4", frames, "libx264")
  data = path.read_bytes()
  identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
  quarter = struct.pack(
    ">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30
  )
  header = data.index(b"tkhd")
  start = data.index(identity, header)
  path.write_bytes(data[:start] + quarter + data[start + len(quarter) :])
  reader = video_lib.open_video(path)
  assert (reader.height, reader.width) == (64, 48)
  (first, *_) = reader
  # This matrix turns clockwise: the left edge comes to the top.
  assert first[:8].mean() < 12 and first[-8:].mean() > 85


def test_image_folder_in_natural_order(tmp_path):
  for index in (10, 2, 1):
    PIL.Image.new("RGB", (20, 30), (index, 0, 0)).save(
      tmp_path / f"f{index}.png"
    )
  (tmp_path / "notes.txt").write_text("not an image")
  reader = video_lib.open_video(str(tmp_path))
  assert [frame[0, 0, 0] for frame in reader] == [1, 2, 10]
  assert (reader.num_frames, reader.height, reader.width) == (3, 30, 20)
  assert [reader.frame_name(i) for i in range(3)] == ["f1", "f2", "f10"]
  assert video_lib.open_video(reader, fps=3).fps == 3


def test_single_image_with_exif_rotation(tmp_path):
  image = PIL.Image.new("RGB", (20, 30))
  exif = image.getexif()
  exif[0x0112] = 6
  path = tmp_path / "photo.jpg"
  image.save(path, exif=exif)
  reader = video_lib.open_video(path)
  (frame,) = reader
  assert frame.shape == (reader.height, reader.width, 3) == (20, 30, 3)


def test_array_and_iterator():
  frames = np.stack(_gradient(4))
  reader = video_lib.open_video(frames)
  assert reader.rereadable and reader.num_frames == 4
  np.testing.assert_array_equal(np.stack(list(reader)), frames)

  drawn = []
  source = (drawn.append(i) or frame for i, frame in enumerate(frames))
  reader = video_lib.open_video(source)
  assert drawn == [0], "opening reads one frame"
  assert reader.num_frames is None and not reader.rereadable
  np.testing.assert_array_equal(np.stack(list(reader)), frames)
  with pytest.raises(errors.UserError, match="already read"):
    list(reader)


def test_bad_sources(tmp_path):
  def check(source, message):
    with pytest.raises(errors.UserError, match=message) as caught:
      list(video_lib.open_video(source))
    assert "\n" not in str(caught.value)

  check(tmp_path / "none.mp4", "no such file")
  (tmp_path / "empty.mp4").touch()
  check(tmp_path / "empty.mp4", "is empty")
  (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 64)
  check(tmp_path / "noise.mp4", "not a readable video")
  folder = tmp_path / "folder"
  folder.mkdir()
  check(folder, "no images")
  PIL.Image.new("RGB", (8, 8)).save(folder / "a.png")
  PIL.Image.new("RGB", (9, 8)).save(folder / "b.png")
  check(folder, r"b\.png is 9x8: expected 8x8")
  (folder / "b.png").write_bytes(b"no image")
  check(folder, r"b\.png: not a JPEG")
  noise = np.random.RandomState(0).randint(0, 255, (64, 64, 3), np.uint8)
  PIL.Image.fromarray(noise).save(folder / "b.png")
  whole = (folder / "b.png").read_bytes()
  (folder / "b.png").write_bytes(whole[: len(whole) // 2])
  (folder / "a.png").unlink()
  check(folder, r"b\.png: damaged")
  PIL.Image.new("RGB", (64, 64)).save(folder / "b.jpg")
  check(folder, "two images are named b")
  check(np.zeros((2, 4, 4, 3), np.float32), "expected uint8")
  check(np.zeros((4, 4, 3), np.uint8), "expected uint8")
  check(np.zeros((0, 4, 4, 3), np.uint8), "empty")
  check(iter([]), "no frames")
  frame = np.zeros((4, 4, 3), np.uint8)
  check(iter([frame, frame[:3]]), r"frame 1 .*expected \[4, 4, 3\]")
  check(iter([frame, None]), "frame 1 .*NoneType")
  check(7, "video of type int")


def test_audio_only_and_frameless_files(tmp_path):
  path = tmp_path / "sound.wav"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
    sound = av.AudioFrame.from_ndarray(
      np.zeros((1, 800), np.int16), format="s16", layout="mono"
    )
    sound.sample_rate = 8000
    container.mux(stream.encode(sound))
  with pytest.raises(errors.UserError, match="no video stream"):
    video_lib.open_video(path)


def test_truncated_video_is_an_error_or_a_warning(tmp_path, caplog):
  path = tmp_path / "v.mp4"
  noise = np.random.RandomState(0).randint(0, 255, (20, 48, 64, 3), np.uint8)
  with video_writer.VideoWriter(path, fps=8) as writer:  # faststart
    for frame in noise:
      writer.write(frame)
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  try:
    decoded = len(list(video_lib.open_video(path)))
  except errors.UserError as error:
    assert "damaged" in str(error) or "no frames" in str(error)
  else:
    assert 0 < decoded < 20
    assert f"promises 20 frames, {decoded}" in caplog.text


def test_writer_round_trip_with_odd_size(tmp_path):
  path = tmp_path / "v.mp4"
  frames = _gradient(6, 47, 63)
  with video_writer.VideoWriter(path, fps=29.97) as writer:
    for frame in frames:
      writer.write(frame)
    assert not path.exists(), "no partial file under the final name"
  assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]
  reader = video_lib.open_video(path)
  assert reader.fps == pytest.approx(29.97, abs=0.01)
  decoded = list(reader)
  assert decoded[0].shape == (48, 64, 3) and len(decoded) == 6
  for got, want in zip(decoded, frames):
    assert np.abs(got[:47, :63].astype(int) - want).mean() < 4


def test_writer_leaves_nothing_after_an_error(tmp_path):
  with pytest.raises(RuntimeError, match="stop"):
    with video_writer.VideoWriter(tmp_path / "v.mp4", fps=8) as writer:
      writer.write(_gradient(1)[0])
      raise RuntimeError("stop")
  assert not list(tmp_path.iterdir())


def test_writer_keeps_times(tmp_path):
  path = tmp_path / "v.mp4"
  times = [0, 0.125, 0.25, 1.5, 3.5]
  with video_writer.VideoWriter(path, fps=64 / 15) as writer:
    for frame, time in zip(_gradient(5), times):
      writer.write(frame, time)
  decoded = list(video_lib.open_video(path).timed())
  np.testing.assert_allclose([f.time for f in decoded], times, atol=1e-4)
  with av.open(str(path)) as container:
    # The last frame lasts as long as one does on the average.
    seconds = container.duration / av.time_base
  assert seconds == pytest.approx(3.5 + 15 / 64, abs=0.01)


@pytest.mark.parametrize("fps", [1e-9, 0.001, 999.99, 1e9])
@pytest.mark.parametrize("encoders", [("libx264",), ("mpeg4",)])
def test_writer_takes_any_rate_and_times(tmp_path, monkeypatch, fps, encoders):
  monkeypatch.setattr(video_writer, "ENCODERS", encoders)
  path = tmp_path / "v.mp4"
  with video_writer.VideoWriter(path, fps) as writer:
    for frame, time in zip(_gradient(5), [0, 0, 1, 1e12, 1e12 + 1]):
      writer.write(frame, time)
  times = [frame.time for frame in video_lib.open_video(path).timed()]
  assert len(times) == 5 and times == sorted(times)
  # A step that mp4 cannot hold is shortened, later ones are kept.
  assert times[4] - times[3] == pytest.approx(1, abs=1e-4)


def test_a_rate_makes_times_even():
  reader = video_lib.open_video(CASES / "vfr.mp4", fps=4)
  assert reader.fps == 4
  assert [f.time for f in reader.timed()] == [t / 4 for t in range(8)]
  frames = video_lib.open_video(np.stack(_gradient(3)), fps=4)
  times = [f.time for f in video_lib.open_video(frames, fps=2).timed()]
  assert times == [0, 0.5, 1]


@pytest.mark.parametrize("fps", [0, -1, 1e-9, 1001, float("nan")])
def test_rates_have_bounds(fps):
  with pytest.raises(errors.UserError, match="from 0.001 to 1000"):
    video_lib.open_video(CASES / "base.mp4", fps=fps)


def test_trimmed_clip_is_complete(caplog):
  reader = video_lib.open_video(CASES / "cut.mp4")
  assert reader.num_frames == len(list(reader)) == 5
  assert not caplog.records


def test_damaged_frames_are_skipped_and_named(caplog):
  path = CASES / "one_bad_packet.mp4"
  reader = video_lib.open_video(path)
  for _ in range(2):  # Counted anew each time.
    caplog.clear()
    assert [frame.number for frame in reader.timed()] == list(range(7))
    assert reader.skipped == [7]
    assert "1 damaged frame skipped (7)" in caplog.text
    assert "promises" not in caplog.text
  with pytest.raises(errors.UserError, match="one_bad_packet.mp4: damaged"):
    list(video_lib.open_video(path, on_error="error"))
  with pytest.raises(errors.UserError, match="expected skip or error"):
    video_lib.open_video(path, on_error="ignore")


def test_frames_of_another_size_are_skipped(tmp_path, caplog):
  path = tmp_path / "v.h264"
  small = _encode(tmp_path / "a.h264", _gradient(2), "libx264").read_bytes()
  big = _encode(tmp_path / "b.h264", _gradient(3, 96, 64), "libx264")
  path.write_bytes(small + big.read_bytes() + small)
  reader = video_lib.open_video(path)
  assert [frame.number for frame in reader.timed()] == [0, 1, 5, 6]
  assert reader.skipped == [2, 3, 4]
  assert "3 damaged frames skipped (2, 3, 4)" in caplog.text
  with pytest.raises(errors.UserError, match="size changes at frame 2"):
    list(video_lib.open_video(path, on_error="error"))


def test_pixels_that_are_not_square(tmp_path):
  path = CASES / "sar2.mp4"
  reader = video_lib.open_video(path)
  assert (reader.height, reader.width) == (160, 240)
  assert reader.shown_size == (160, 480)
  (first, *_) = reader
  assert first.shape == (160, 240, 3)
  # Turned by a quarter, pixels are higher than wide.
  data = path.read_bytes()
  start = data.index(b"tkhd") + 44
  quarter = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
  turned = tmp_path / "v.mp4"
  turned.write_bytes(
    data[:start] + struct.pack(">9i", *quarter) + data[start + 36 :]
  )
  reader = video_lib.open_video(turned)
  assert (reader.height, reader.width) == (240, 160)
  assert reader.shown_size == (240, 80)


def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
  def check(source, message):
    with pytest.raises(errors.UserError, match=message) as caught:
      video_lib.open_video(source)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400

  monkeypatch.chdir(tmp_path)
  check("-", "video -: .*standard input is not read")
  os.mkfifo("pipe.mp4")
  check("pipe.mp4", "pipe.mp4: a pipe or device")
  check("/dev/null", "/dev/null: a pipe or device")
  check("x" * 5000 + ".mp4", "File name too long")
  check("a\0b.mp4", "null")
  check("~no-such-user/v.mp4", "no-such-user")


def test_relative_names_with_a_colon(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "12:30:45.mp4").write_bytes((CASES / "base.mp4").read_bytes())
  reader = video_lib.open_video("12:30:45.mp4")
  assert reader.name == "12:30:45.mp4" and len(list(reader)) == 8
  with video_writer.VideoWriter("1:2.mp4", fps=8) as writer:
    writer.write(_gradient(1)[0])
  assert (tmp_path / "1:2.mp4").exists()
