"""Pillow images and arrays of JAX as videos."""

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from sgmg_jax import errors
from sgmg_jax.inference import open_video as video_lib


@pytest.fixture
def frames():
  return np.random.RandomState(0).randint(0, 256, (3, 20, 30, 3), np.uint8)


@pytest.mark.parametrize(
  "make",
  [
    jnp.asarray,
    lambda frames: list(map(jnp.asarray, frames)),
    lambda frames: list(map(PIL.Image.fromarray, frames)),
    lambda frames: tuple(frames),
  ],
)
def test_arrays_and_lists_are_videos_that_can_be_read_again(frames, make):
  reader = video_lib.open_video(make(frames))
  assert (reader.height, reader.width) == (20, 30)
  assert reader.num_frames == 3 and reader.rereadable
  for _ in range(2):
    np.testing.assert_array_equal(np.stack(list(reader)), frames)


def test_one_image_is_a_video_of_one_frame(frames):
  reader = video_lib.open_video(PIL.Image.fromarray(frames[0]))
  np.testing.assert_array_equal(np.stack(list(reader)), frames[:1])
  grey = PIL.Image.fromarray(frames[0, :, :, 0])
  (frame,) = video_lib.open_video(grey)
  np.testing.assert_array_equal(frame, frames[0, :, :, :1].repeat(3, -1))


def test_an_image_is_turned_upright(frames):
  image = PIL.Image.fromarray(frames[0])
  image.getexif()[0x0112] = 6
  (frame,) = video_lib.open_video([image])
  np.testing.assert_array_equal(frame, np.rot90(frames[0], -1))


def test_an_opened_animation_is_refused(frames, tmp_path):
  first, *others = map(PIL.Image.fromarray, frames)
  path = tmp_path / "a.gif"
  first.save(path, save_all=True, append_images=others)
  with PIL.Image.open(path) as image:
    with pytest.raises(errors.UserError, match="an animation of 3 frames"):
      video_lib.open_video(image)


def test_other_frames_are_named(frames):
  with pytest.raises(errors.UserError, match="frame 0 .* str"):
    video_lib.open_video(["a.png"])
  with pytest.raises(errors.UserError, match=r"frame 0 .*float32\[20, 30, 3\]"):
    video_lib.open_video([jnp.zeros((20, 30, 3))])
  mixed = [PIL.Image.fromarray(frames[0]), frames[1][:10]]
  with pytest.raises(errors.UserError, match=r"frame 1 .*\[10, 30, 3\]"):
    list(video_lib.open_video(mixed))
  with pytest.raises(errors.UserError, match=r"float32\[1, 2, 2, 3\]"):
    video_lib.open_video(jnp.zeros((1, 2, 2, 3)))
