"""Written masks have the modes and values that the benchmarks want."""

import numpy as np
import PIL.Image

from sgmg_jax.evaluation import mask_writer


def test_masks_are_grey_0_and_255(tmp_path):
  masks = np.zeros((2, 5, 7), bool)
  masks[1, 2:, 3] = True
  mask_writer.write_masks(tmp_path / "v/0", ["00000", "00005"], masks)
  names = sorted(p.name for p in (tmp_path / "v/0").iterdir())
  assert names == ["00000.png", "00005.png"]
  with PIL.Image.open(tmp_path / "v/0/00005.png") as image:
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), masks[1] * 255)


def test_labels_have_the_palette_of_davis(tmp_path):
  labels = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
  mask_writer.write_labels(tmp_path / "anno_0/v", labels, first=36)
  with PIL.Image.open(tmp_path / "anno_0/v/00036.png") as image:
    assert image.mode == "P"
    assert image.getpalette()[3:15] == [
      128,
      0,
      0,
      0,
      128,
      0,
      128,
      128,
      0,
      0,
      0,
      128,
    ]
    np.testing.assert_array_equal(np.asarray(image), labels[0])
