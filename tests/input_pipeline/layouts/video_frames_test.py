"""Frames of a video file by exact index."""

import concurrent.futures

import av
import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline.layouts import video_frames

OPEN = av.open
NUM_FRAMES = 30
SIZE = (48, 64)


@pytest.fixture
def clip(tmp_path):
  """An mp4 whose frame t has about the grey level 8 t."""
  path = tmp_path / "clip.mp4"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=25)
    stream.height, stream.width = SIZE
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": "10", "g": "12", "bf": "3"}
    for t in range(NUM_FRAMES):
      grey = np.full((*SIZE, 3), 8 * t, np.uint8)
      picture = av.VideoFrame.from_ndarray(grey, format="rgb24")
      container.mux(stream.encode(picture))
    container.mux(stream.encode())
  return path


def decode_all(path):
  with av.open(str(path)) as container:
    return np.stack(
      [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    )


def cut_start(source, target, frames):
  """Copies packets with earlier times, so that the first are not shown."""
  with av.open(str(source)) as old, av.open(str(target), "w") as new:
    stream = old.streams.video[0]
    copy = new.add_stream_from_template(stream)
    shift = round(frames / stream.average_rate / stream.time_base)
    for packet in old.demux(stream):
      if packet.dts is not None:
        packet.pts -= shift
        packet.dts -= shift
        packet.stream = copy
        new.mux(packet)


def test_probe_counts_the_frames(clip):
  assert video_frames.probe(clip, "video") == (NUM_FRAMES, *SIZE)


def test_frames_that_are_cut_off_do_not_count(clip, tmp_path):
  path = tmp_path / "cut.mp4"
  cut_start(clip, path, 5)
  with av.open(str(path)) as container:
    assert container.streams.video[0].frames == NUM_FRAMES
  shown = decode_all(path)
  assert len(shown) == NUM_FRAMES - 5
  assert video_frames.probe(path, "video")[0] == len(shown)
  np.testing.assert_array_equal(
    video_frames.read(path, [0, 24], "video"), shown[[0, 24]]
  )


def test_without_an_index_packets_are_counted(clip, tmp_path):
  path = tmp_path / "clip.mkv"
  with av.open(str(clip)) as old, av.open(str(path), "w") as new:
    copy = new.add_stream_from_template(old.streams.video[0])
    for packet in old.demux(video=0):
      if packet.dts is not None:
        packet.stream = copy
        new.mux(packet)
  assert video_frames.probe(path, "video")[0] == NUM_FRAMES


@pytest.mark.parametrize(
  "indices", [[0], [29], [3, 4, 5], [17, 2, 2, 29, 17], range(30)]
)
def test_frames_are_those_of_decoding_everything(clip, indices):
  expected = decode_all(clip)[list(indices)]
  frames = video_frames.read(clip, indices, "video")
  np.testing.assert_array_equal(frames, expected)
  levels = frames.mean((1, 2, 3))
  np.testing.assert_allclose(levels, 8 * np.array(indices), atol=3)


def test_going_forwards_opens_the_file_once(clip, monkeypatch):
  opened = []
  monkeypatch.setattr(
    av, "open", lambda path, **kw: opened.append(path) or OPEN(path, **kw)
  )
  for first in (0, 4, 4, 8):
    video_frames.read(clip, [first, first + 3], "video")
  assert len(opened) == 2  # Frame 4 is asked for again after frame 7.
  video_frames.read(clip, [11, 12], "video")
  assert len(opened) == 2
  video_frames.read(clip, [0], "video")
  assert len(opened) == 3


def test_threads_do_not_disturb_each_other(clip):
  expected = decode_all(clip)
  wanted = [[t % 30, (7 * t) % 30, (3 * t + 1) % 30] for t in range(40)]
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = pool.map(lambda i: video_frames.read(clip, i, "video"), wanted)
    for indices, frames in zip(wanted, found):
      np.testing.assert_array_equal(frames, expected[indices])


def test_a_replaced_file_is_read_anew(clip, tmp_path):
  video_frames.read(clip, [3], "video")
  path = tmp_path / "cut.mp4"
  cut_start(clip, path, 5)
  expected = decode_all(path)[[4]]
  path.replace(clip)
  np.testing.assert_array_equal(video_frames.read(clip, [4], "v"), expected)


def test_a_frame_beyond_the_end_is_an_error(clip):
  with pytest.raises(errors.UserError, match="v 7: .*clip.mp4.* 30 frames"):
    video_frames.read(clip, [2, 30], "v 7")
  # The next call starts over.
  assert len(video_frames.read(clip, [29], "v 7")) == 1


def test_unreadable_files_are_named(tmp_path):
  path = tmp_path / "none.mp4"
  for function in (
    lambda: video_frames.probe(path, "v 7"),
    lambda: video_frames.read(path, [0], "v 7"),
  ):
    path.unlink(missing_ok=True)
    with pytest.raises(errors.UserError, match="v 7: .*none.mp4"):
      function()
    path.write_bytes(b"no video" * 100)
    with pytest.raises(errors.UserError, match="v 7: .*none.mp4"):
      function()


def test_a_truncated_file_is_an_error(clip):
  clip.write_bytes(clip.read_bytes()[:-300])
  with pytest.raises(errors.UserError, match="v 7: .*clip.mp4"):
    video_frames.read(clip, [29], "v 7")


def test_negative_indices_are_an_error(clip):
  with pytest.raises(errors.UserError, match="frame -1"):
    video_frames.read(clip, [3, -1], "v 7")
