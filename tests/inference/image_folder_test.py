"""Images, animations and folders of images as videos."""

import os

import numpy as np
import PIL.Image
import pytest

from sgmg_jax import errors
from sgmg_jax.inference import open_video


def still(path, level=100):
  PIL.Image.new("RGB", (64, 48), (level, 0, 0)).save(path)
  return path


def animation(path, **options):
  first, *rest = (
    PIL.Image.new("RGB", (64, 48), (i, 0, 0)) for i in (10, 60, 110, 160)
  )
  first.save(path, save_all=True, append_images=rest, **options)
  return path


@pytest.mark.parametrize("suffix", ("webp", "png"))
def test_animation_is_a_video(tmp_path, suffix):
  path = animation(tmp_path / f"a.{suffix}", duration=[100, 200, 100, 100])
  reader = open_video.open_video(path)
  assert (reader.height, reader.width, reader.num_frames) == (48, 64, 4)
  assert reader.fps == pytest.approx(8)
  for _ in range(2):  # It can be read again.
    levels = [int(frame[0, 0, 0]) for frame in reader]
    assert np.abs(np.subtract(levels, (10, 60, 110, 160))).max() < 4
  times = [frame.time for frame in reader.timed()]
  assert times == pytest.approx([0, 0.1, 0.3, 0.4])
  times = [frame.time for frame in open_video.open_video(path, fps=2).timed()]
  assert times == [0, 0.5, 1, 1.5]
  assert reader.frame_name(3) == "00003"


@pytest.mark.parametrize("suffix", ("webp", "png"))
def test_animation_in_a_folder_is_refused(tmp_path, suffix):
  still(tmp_path / "0.png")
  animation(tmp_path / f"1.{suffix}")
  with pytest.raises(errors.UserError, match=rf"1\.{suffix}: .* of 4 frames"):
    open_video.open_video(tmp_path)


def test_damaged_animation_is_found_at_once(tmp_path):
  path = animation(tmp_path / "a.png")
  os.truncate(path, path.stat().st_size * 3 // 4)
  with pytest.raises(errors.UserError, match=r"a\.png: damaged"):
    open_video.open_video(path)


def test_names_with_digits_of_any_kind(tmp_path):
  names = ("10", "9", "²1", "x²", "x10", "x9", "٣")
  for level, name in enumerate(names):
    still(tmp_path / f"{name}.png", level)
  order = open_video.open_video(tmp_path).names
  assert order.index("9") < order.index("10")
  assert order.index("x9") < order.index("x10")
  assert sorted(order) == sorted(names)


def test_pipe_in_a_folder(tmp_path):
  still(tmp_path / "0.png")
  os.mkfifo(tmp_path / "1.png")
  with pytest.raises(errors.UserError, match=r"1\.png: a pipe, expected"):
    open_video.open_video(tmp_path)


def test_bomb_names_file_and_limit(tmp_path, make_bomb):
  make_bomb(tmp_path / "b.png")
  for source in (tmp_path, tmp_path / "b.png"):
    with pytest.raises(errors.UserError, match=r"b\.png: .* limit of 89,478"):
      open_video.open_video(source)
