"""Frames of video files as players show them."""

import pathlib
import struct

import av
import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline import video_decoder
from sgmg_jax.input_pipeline.layouts import video_frames

CASES = pathlib.Path(__file__).parents[1] / "video_cases"
BASE = CASES / "base.mp4"


def _frames(path, **options):
  return [f.to_rgb() for f in video_decoder.decode(path, **options)]


def _with_matrix(path, a, b, c, d):
  """Writes base.mp4 with this display matrix."""
  data = BASE.read_bytes()
  values = [int(x * 2**16) for x in (a, b, 0, c, d, 0, 0, 0)] + [1 << 30]
  identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
  start = data.index(identity, data.index(b"tkhd"))
  matrix = struct.pack(">9i", *values)
  path.write_bytes(data[:start] + matrix + data[start + len(matrix) :])
  return path


@pytest.mark.parametrize(
  "a, b, c, d",
  [(s, 0, 0, t) for s in (1, -1) for t in (1, -1)]
  + [(0, s, t, 0) for s in (1, -1) for t in (1, -1)],
)
def test_each_orientation_of_the_display_matrix(tmp_path, a, b, c, d):
  stored = _frames(BASE)[0]
  height, width, _ = stored.shape
  y, x = np.mgrid[:height, :width]
  # QuickTime File Format: (x, y) is shown at (a x + c y, b x + d y).
  shown_x, shown_y = a * x + c * y, b * x + d * y
  shown_x, shown_y = shown_x - shown_x.min(), shown_y - shown_y.min()
  expected = np.zeros((shown_y.max() + 1, shown_x.max() + 1, 3), np.uint8)
  expected[shown_y, shown_x] = stored
  path = _with_matrix(tmp_path / "v.mp4", a, b, c, d)
  np.testing.assert_array_equal(_frames(path)[0], expected)
  np.testing.assert_array_equal(video_frames.read(path, [0], "v")[0], expected)
  assert video_frames.probe(path, "v") == (8, *expected.shape[:2])


def test_other_display_matrices(tmp_path):
  path = _with_matrix(tmp_path / "v.mp4", 0.6, 0.8, -0.8, 0.6)
  with pytest.raises(errors.UserError, match=r"v\.mp4.* odd angle"):
    _frames(path)
  path = _with_matrix(tmp_path / "v.mp4", 0, 0, 0, 0)  # As players do.
  np.testing.assert_array_equal(_frames(path)[0], _frames(BASE)[0])


def test_the_best_stream_is_read_and_named(caplog):
  path = CASES / "thumb_first.mp4"
  assert [frame.shape for frame in _frames(path)] == [(160, 240, 3)] * 8
  assert video_frames.probe(path, "v") == (8, 160, 240)
  assert video_frames.read(path, [7], "v").shape == (1, 160, 240, 3)
  assert not caplog.records
  assert video_decoder.read_header(path).num_frames == 8
  assert "stream 1 (240x160) is read, out of 2" in caplog.text


def test_attached_pictures_are_no_video(tmp_path):
  path = tmp_path / "song.mp4"
  with av.open(str(path), "w") as container:
    sound = container.add_stream("aac", rate=8000)
    cover = container.add_stream("mjpeg", rate=1)
    cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
    cover.disposition = av.stream.Disposition.attached_pic
    frame = av.AudioFrame.from_ndarray(
      np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
    )
    frame.sample_rate = 8000
    picture = av.VideoFrame.from_ndarray(
      np.zeros((48, 64, 3), np.uint8), format="rgb24"
    )
    for stream, content in ((cover, picture), (sound, frame)):
      container.mux(stream.encode(content))
      container.mux(stream.encode(None))
  with av.open(str(path)) as container:
    assert len(container.streams.video) == 1, "the case is as meant"
  with pytest.raises(errors.UserError, match="only attached pictures"):
    _frames(path)


def test_frames_that_an_edit_list_hides_do_not_count():
  path = CASES / "cut.mp4"
  assert video_decoder.read_header(path).num_frames == 5
  assert video_decoder.count_frames(path) == 5
  decoded = list(video_decoder.decode(path))
  assert [frame.number for frame in decoded] == list(range(5))
  assert [frame.time for frame in decoded] == [0, 0.125, 0.25, 0.375, 0.5]


def test_time_stamps_of_variable_rate():
  decoded = video_decoder.decode(CASES / "vfr.mp4")
  times = [frame.time for frame in decoded]
  assert times == [0, 0.125, 0.25, 0.375, 0.5, 1.5, 2.5, 3.5]


def test_avi_has_no_times_of_its_own(tmp_path):
  path = tmp_path / "v.avi"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=8, options={"bf": "2"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for t in range(12):
      grey = np.full((48, 64, 3), 20 * t, np.uint8)
      picture = av.VideoFrame.from_ndarray(grey, format="rgb24")
      container.mux(stream.encode(picture))
    container.mux(stream.encode(None))
  decoded = list(video_decoder.decode(path))
  np.testing.assert_allclose([f.time for f in decoded], np.arange(12) / 8)
  levels = [frame.to_rgb().mean() for frame in decoded]
  np.testing.assert_allclose(levels, 20 * np.arange(12), atol=6)


def test_pixel_aspect():
  assert video_decoder.read_header(BASE).pixel_aspect == 1
  assert video_decoder.read_header(CASES / "sar2.mp4").pixel_aspect == 2


@pytest.mark.parametrize("matrix, grey", [(1, 63), (5, 81)])
def test_the_colour_matrix_of_the_file(tmp_path, matrix, grey):
  """Pure red, stored as BT.709 (1) or BT.601 (5) has it."""
  path = tmp_path / "v.mp4"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=8, options={"crf": "1"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    stream.codec_context.colorspace = matrix
    stream.codec_context.color_range = 1
    picture = av.VideoFrame(64, 48, "yuv420p")
    levels = grey, {1: 102, 5: 90}[matrix], 240
    for plane, level in zip(picture.planes, levels):
      plane.update(bytes([level]) * (plane.line_size * plane.height))
    container.mux(stream.encode(picture))
    container.mux(stream.encode(None))
  (frame,) = _frames(path)
  np.testing.assert_allclose(frame[24, 32], (255, 0, 0), atol=4)


def _damage(path, packet_number, source=BASE):
  """Writes a case with one packet overwritten; the number of its frame."""
  with av.open(str(source)) as container:
    packets = [p for p in container.demux(video=0) if p.size]
    spans = [(p.pts, p.pos, p.size) for p in packets]
  pts, start, size = spans[packet_number]
  data = bytearray(source.read_bytes())
  data[start : start + size] = b"\xff" * size
  path.write_bytes(data)
  return sorted(pts for pts, *_ in spans).index(pts)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("packet", range(1, 8))
def test_a_damaged_packet_costs_its_frame_only(tmp_path, packet, threads):
  path = tmp_path / "v.mp4"
  lost = _damage(path, packet)
  skipped = []
  decoded = list(
    video_decoder.decode(path, "skip", skipped=skipped, threads=threads)
  )
  assert skipped == [lost]
  others = [number for number in range(8) if number != lost]
  assert [frame.number for frame in decoded] == others
  # Times count from the first frame that is shown.
  first = others[0] / 8
  assert [f.time for f in decoded] == [n / 8 - first for n in others]
  with pytest.raises(errors.UserError, match=r"v\.mp4: damaged after"):
    _frames(path, threads=threads)
  # Exact indices of data sets need every frame before them.
  with pytest.raises(errors.UserError, match=r"a2d 3: .*v\.mp4: damaged"):
    video_frames.read(path, [7], "a2d 3")


def test_a_damaged_packet_that_an_edit_list_hides(tmp_path):
  path = tmp_path / "v.mp4"
  _damage(path, 2, CASES / "cut.mp4")
  skipped = []
  decoded = list(video_decoder.decode(path, "skip", skipped))
  assert skipped == []
  assert [frame.number for frame in decoded] == list(range(5))


def test_metadata_that_is_not_utf8(tmp_path):
  data = BASE.read_bytes()
  for tag in (b"VideoHandler", b"Lavf"):
    path = tmp_path / "v.mp4"
    path.write_bytes(data.replace(tag, b"\xff\xfe" + tag[2:]))
    assert len(_frames(path)) == 8


def test_names_with_a_colon(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  name = "12:30:45.mp4"
  pathlib.Path(name).write_bytes(BASE.read_bytes())
  assert len(_frames(name)) == 8
  assert video_frames.probe(name, "v")[0] == 8


def test_frames_over_the_limit_of_pictures(tmp_path, monkeypatch):
  monkeypatch.setattr(video_decoder, "MAX_PIXELS", 240 * 160 - 1)
  with pytest.raises(errors.UserError, match="240x160.*38,399"):
    _frames(BASE)


def test_frames_that_grow_over_the_limit(tmp_path, monkeypatch):
  path = tmp_path / "v.h264"
  with open(path, "wb") as out:
    for height in (48, 96):
      part = tmp_path / "part.h264"
      with av.open(str(part), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv420p"
        picture = av.VideoFrame(64, height, "yuv420p")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
      out.write(part.read_bytes())
  assert [f.shape for f in _frames(path)] == [(48, 64, 3), (96, 64, 3)]
  monkeypatch.setattr(video_decoder, "MAX_PIXELS", 48 * 64)
  with pytest.raises(errors.UserError, match="damaged after 0 frames"):
    _frames(path)


def test_an_old_pyav_is_refused(monkeypatch):
  monkeypatch.setattr(av, "__version__", "16.1.0")
  with pytest.raises(errors.UserError, match=r"PyAV 16\.1\.0.* 17 or later"):
    _frames(BASE)
