"""Write predicted masks as the benchmarks want them.

Files of a killed run may be incomplete; `prediction_folder` knows which.
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import PIL.Image

from sgmg_jax.input_pipeline import palette

# Masks compress well at any level; higher ones take several times as long.
_COMPRESSION: Final = 1


def write_masks(
  folder: pathlib.Path, names: Sequence[str], masks: np.ndarray
) -> None:
  """Write a grey PNG a frame of bool[T, H, W], 255 in the object, 0 elsewhere.

  The folder is made if need be.
  """
  folder.mkdir(parents=True, exist_ok=True)
  for name, mask in zip(names, masks, strict=True):
    (folder / f"{name}.png").write_bytes(encode_mask(mask))


def encode_mask(mask: np.ndarray) -> bytes:
  """A grey PNG of bool[H, W], 0 and 255."""
  file = io.BytesIO()
  image = PIL.Image.fromarray(mask.astype(np.uint8) * 255)
  image.save(file, "PNG", compress_level=_COMPRESSION)
  return file.getvalue()


def write_labels(folder: pathlib.Path, labels: np.ndarray, first: int) -> None:
  """Write a palette PNG for each frame of uint8[T, H, W].

  Files are named by a running number of 5 digits from `first` on; the folder
  is made if need be.
  """
  folder.mkdir(parents=True, exist_ok=True)
  colours = palette.pascal_voc()
  for index, frame in enumerate(labels, first):
    image = PIL.Image.fromarray(frame).convert("P")
    image.putpalette(colours)
    image.save(folder / f"{index:05d}.png", compress_level=_COMPRESSION)
