"""Predicted masks in files: a folder or zip, ours or another toolkit's.

```
[Annotations/]<video>/<expression>/<frame>.png          masks
[DVS_Annotations/]anno_<0..3>/<video>/<frame>.png       label maps (Ref-DAVIS17)
```

Any folders may lie around them. What can only mean one mask is read: grey
levels or palette indices 0 and 255, or 0 and 1, or one bit a pixel. Colours
and levels between are refused, since thresholds on them would be guesses.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import os
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.files import tree as tree_lib
from sgmg_jax.input_pipeline import still_image

# Of a mask's file: the largest image without any compression.
_MAX_BYTES: Final = 2**27
# Not a mask, or one that could mean several things: the reason.
Unreadable = still_image.Unreadable
# Two names of folders: (video, expression), or (annotator, video).
Key = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class MaskFiles:
  """The masks found in a folder or zip.

  Attributes:
    names: file of each frame, by its name, by the names of its two folders.
  """

  tree: tree_lib.Tree
  names: dict[Key, dict[str, str]]

  def find(self, key: Key, frames: Iterable[str]) -> list[str | None]:
    """Files of the frames; None for those that are missing."""
    found = self.names.get(key, {})
    return [found.get(frame) for frame in frames]


def open_masks(path: str, expected: Collection[Key], what: str) -> MaskFiles:
  """Find masks below a folder or in a zip.

  Args:
    expected: names of the two innermost folders.
    what: the pattern of names, for messages.

  Raises:
    UserError: it cannot be opened, none of its folders is expected, or the
      masks lie there several times.
  """
  tree = tree_lib.open_tree(path)
  if not tree.names:
    raise UserError(f"{path}: empty, expected {what}")
  expected = frozenset(expected)
  split = [(name, name.split("/")) for name in tree.names]
  masks = [(n, p) for n, p in split if len(p) > 2 and _is_png(p[-1])]
  # The folders around the two: those of most masks that are asked for.
  around = collections.Counter(
    tuple(p[:-3]) for _, p in masks if (p[-3], p[-2]) in expected
  )
  if not around:
    raise UserError(
      f"{path}: none of its masks is asked for: expected {what}, such as "
      f"{'/'.join(min(expected))}/; it holds {_examples(tree.names)}"
    )
  if len(around) > 1:
    places = sorted("/".join(place) or "." for place in around)
    raise UserError(
      f"{path}: masks of {what} lie in several places ({_examples(places)}); "
      "expected them once, name the folder that is meant"
    )
  (inside,) = around
  names: dict[Key, dict[str, str]] = {}
  for name, parts in masks:
    if tuple(parts[:-3]) == inside:
      frames = names.setdefault((parts[-3], parts[-2]), {})
      frames[parts[-1][: -len(".png")]] = name
  return MaskFiles(tree, names)


def open_wanted(
  path: str | os.PathLike, wanted: dict[Key, Sequence[str]], what: str
) -> tuple[MaskFiles, faults_lib.Faults]:
  """Find masks as `open_masks`, and what is missing or surplus among them.

  `wanted` has the names of the frames that each pair of folders must have.
  """
  masks = open_masks(str(path), wanted.keys(), what)
  return masks, check_names(masks, wanted)


def check_names(
  masks: MaskFiles, frames: dict[Key, Sequence[str]]
) -> faults_lib.Faults:
  """Missing and surplus files, see `open_wanted`.

  A folder that lacks all is named once, one that lacks some once for each.
  """
  faults = faults_lib.Faults()
  used = set()
  for key, wanted in frames.items():
    found = masks.names.get(key, {})
    where = "/".join(key)
    missing = [frame for frame in wanted if frame not in found]
    used.update(found[frame] for frame in wanted if frame in found)
    others = [found[frame] for frame in found.keys() - set(wanted)]
    if missing and len(missing) == len(wanted):
      faults.add(
        "missing",
        f"{where}/: all its {len(wanted)} masks, {wanted[0]}.png and on; "
        + _instead(masks, key, others),
        len(missing),
      )
      continue
    for frame in missing:
      faults.add("missing", f"{where}/{frame}.png")
  for name in masks.tree.names:
    if name not in used:
      faults.add("surplus", name)
  return faults


def _instead(masks: MaskFiles, key: Key, others: list[str]) -> str:
  """What lies where masks are missing."""
  if others:
    return f"found {_examples(sorted(others))}"
  siblings = sorted(b for a, b in masks.names if a == key[0])
  if siblings:
    return f"{key[0]}/ has {_examples(siblings)}"
  return f"there is no folder {key[0]}/"


def accept(
  faults: faults_lib.Faults,
  path: str | os.PathLike,
  allow_missing: bool,
  hint: str = "--allow-missing counts missing masks as empty ones",
) -> list[str]:
  """Stop at faults that masks cannot be scored with, note the others.

  Args:
    faults: all that were found.
    allow_missing: whether missing masks count as empty ones.
    hint: what the user may do where masks are missing.

  Returns:
    Notes for `Scores`.

  Raises:
    Unusable: there are faults beside surplus files and, if allowed, missing
      masks.
  """
  fatal = faults.without("missing") if allow_missing else faults
  if fatal.without("surplus"):
    fatal.raise_if_any(str(path), hint if fatal.number("missing") else "")
  notes = []
  if faults.number("missing"):
    notes.append(
      f"{faults.number('missing')} masks are missing and count as empty ones, "
      f"the first {faults.found['missing'][0][0]}"
    )
  if faults.number("surplus"):
    notes.append(
      f"{faults.number('surplus')} files were not asked for and not read, the "
      f"first {faults.found['surplus'][0][0]}"
    )
  return notes


def read_masks(
  tree: tree_lib.Tree,
  names: Sequence[str | None],
  size: tuple[int, int],
  faults: faults_lib.Faults,
  *,
  labels: bool = False,
) -> np.ndarray:
  """bool[N, H, W] of files, or uint8[N, H, W] of label maps.

  Args:
    names: of the files; None gives an empty mask.
    size: (height, width) that all have.
    faults: gets the files that are not such masks, which are empty, too.
    labels: whether they are label maps.
  """
  masks = np.zeros((len(names), *size), np.uint8 if labels else bool)
  read = read_labels if labels else read_mask
  for mask, name in zip(masks, names):
    if name is None:
      continue
    try:
      found = read(tree, name)
    except Unreadable as e:
      faults.add("encoding", f"{name}: {e}")
      continue
    if found.shape == size:
      mask[:] = found
    else:
      faults.add(
        "size",
        f"{name}: {found.shape[0]}x{found.shape[1]} pixels, expected "
        f"{size[0]}x{size[1]} as the video's frames",
      )
  return masks


def read_mask(tree: tree_lib.Tree, name: str) -> np.ndarray:
  """bool[H, W] of a file.

  Raises:
    Unreadable: with the reason.
  """
  values = _read(tree, name)
  if values.dtype == bool:
    return values
  highest = values.max()
  mask = values == highest
  both = np.count_nonzero(mask) + np.count_nonzero(values == 0)
  if highest == 0:
    return np.zeros(values.shape, bool)
  if highest not in (1, 255) or both != values.size:
    levels = np.unique(values)
    raise Unreadable(
      f"values {_examples(levels.tolist())}, expected 0 and 255, or 0 and 1"
    )
  return mask


def read_labels(tree: tree_lib.Tree, name: str) -> np.ndarray:
  """uint8[H, W] of a file: 0 or the number of an object.

  Raises:
    Unreadable: with the reason.
  """
  return _read(tree, name).astype(np.uint8, copy=False)


def _read(tree: tree_lib.Tree, name: str) -> np.ndarray:
  """bool or uint8[H, W] as stored."""
  try:
    data = tree.read(name, _MAX_BYTES)
    with still_image.opened(io.BytesIO(data)) as image:
      still_image.check_still(image)
      if image.format != "PNG":
        raise Unreadable(f"a {image.format}, expected a PNG")
      if image.mode not in ("1", "L", "P"):
        raise Unreadable(
          f"mode {image.mode}, expected grey (L), palette (P) or one bit (1)"
        )
      palette = image.getpalette("RGB") if image.mode == "P" else None
      values = np.asarray(image)
  except UserError as e:
    raise Unreadable(str(e).removeprefix(f"{tree.path}/{name}: ")) from e
  if palette and any(palette[:3]):
    raise Unreadable(
      f"palette colour 0 is {tuple(palette[:3])}, expected black, since it is "
      "the background"
    )
  return values


def _is_png(name: str) -> bool:
  return name.lower().endswith(".png")


def _examples(values: Sequence) -> str:
  shown = faults_lib.printable(", ".join(map(str, values[:3])))
  return f"{shown}, …" if len(values) > 3 else shown
