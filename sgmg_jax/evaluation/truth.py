"""Find the ground truth that predictions are scored against."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import mask_files
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.doctor import examination
from sgmg_jax.input_pipeline.layouts import meta_expressions
from sgmg_jax.input_pipeline.sets import registry

_YTVOS: Final = "refer_ytvos"


class Truth:
  """A split with ground truth.

  It is pickled by name and path, and each process opens it once.

  Attributes:
    path: of its folder, raw or built; None if it is drawn.
  """

  def __init__(
    self,
    name: str,
    path: str | os.PathLike | None,
    split: str,
    options: Sequence[tuple[str, Any]] = (),
    num_videos: int = 0,
  ):
    """Note the split; open nothing yet.

    Args:
      options: of the raw reader, by name.
      num_videos: only the sentences of the first so many videos; 0: all.
    """
    self.name = name
    self.path = None if path is None else str(path)
    self.split = split
    self._options = tuple(options)
    self._num_videos = num_videos

  def __reduce__(self):
    arguments = self.name, self.path, self.split, self._options
    return _reopen, (*arguments, self._num_videos)

  @functools.cached_property
  def sentences(self) -> source_lib.Source:
    """The split, opened, whether its ground truth is public or not.

    Raises:
      UserError: it cannot be opened, or is empty.
    """
    options = dict(self._options)
    source = registry.open_source(self.name, self.path, self.split, **options)
    if not source.expressions:
      raise UserError(f"{self.path}: {self.name} {self.split} has no sentences")
    if self._num_videos:
      videos = dict.fromkeys(e.video for e in source.expressions)
      first = set(list(videos)[: self._num_videos])
      source.expressions = tuple(
        e for e in source.expressions if e.video in first
      )
    return source

  @property
  def is_public(self) -> bool:
    """Whether `source` has the ground truth."""
    return self._has_objects or self._has_sentence_masks

  @functools.cached_property
  def source(self) -> source_lib.Source:
    """The split, opened, with its ground truth.

    Raises:
      UserError: as `sentences`, or its ground truth is not there.
    """
    source = self.sentences
    if self._has_objects:
      return source
    masks = self._sentence_masks
    if self._has_sentence_masks:
      return SentenceMasks(source, masks)
    hint = "expected a split with masks"
    if self.name == _YTVOS:
      hint = (
        f"put its masks into {masks}, as <video>/<expression>/<frame>.png or, "
        "if the sentences name their objects in `obj_id`, as "
        "<video>/<frame>.png"
      )
    raise UserError(
      f"{self.path}: {self.name} {self.split} has no ground truth; {hint}"
    )

  @property
  def _has_objects(self) -> bool:
    return any(e.object_ids for e in self.sentences.expressions)

  @property
  def _sentence_masks(self) -> pathlib.Path:
    return pathlib.Path(self.path or "") / self.split / "Annotations"

  @property
  def _has_sentence_masks(self) -> bool:
    return self.name == _YTVOS and self._sentence_masks.is_dir()


@functools.lru_cache(maxsize=2)
def _reopen(*arguments: Any) -> Truth:
  return Truth(*arguments)


class SentenceMasks(source_lib.Source):
  """A split whose masks lie in a folder for each sentence:
  `<video>/<expression>/<frame>.png`."""

  def __init__(self, source: source_lib.Source, folder: pathlib.Path):
    """Look for the masks of the sentences.

    Raises:
      UserError: none of them is there.
    """
    self.name, self.split = source.name, source.split
    self.expressions = source.expressions
    self._source = source
    keys = {(e.video, e.id) for e in source.expressions}
    self._masks = mask_files.open_masks(
      str(folder), keys, "<video>/<expression>/<frame>.png"
    )

  def video(self, name: str) -> source_lib.Video:
    return self._source.video(name)

  def encoded_frame(self, video: str, index: int) -> bytes:
    return self._source.encoded_frame(video, index)

  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    raise UserError(
      f"{self.name} {self.split}: masks by sentence, asked for those by object "
      f"of video {video!r}"
    )

  def read_masks(
    self, expression: source_lib.Expression, indices: Sequence[int]
  ) -> np.ndarray:
    video = self.video(expression.video)
    masks = np.zeros((len(indices), *video.size), bool)
    files = self._masks.names.get((expression.video, expression.id), {})
    for row, index in enumerate(indices):
      frame = video.frames[index]
      what = f"{self._masks.tree.path}/{expression.key}/{frame}.png"
      if frame not in files:
        raise UserError(f"{what}: no such file, expected its true mask")
      try:
        mask = mask_files.read_mask(self._masks.tree, files[frame])
      except mask_files.Unreadable as e:
        raise UserError(f"{what}: {e}") from e
      if mask.shape != video.size:
        raise UserError(
          f"{what}: {mask.shape[0]}x{mask.shape[1]} pixels, expected "
          "{}x{} as the video's first frame".format(*video.size)
        )
      masks[row] = mask
    return masks


def recognise(path: str | os.PathLike) -> str:
  """Name of the data set in a folder, raw or built.

  What lies as Ref-YouTube-VOS does, but has another number of videos, is own
  data.

  Raises:
    UserError: no such folder, no data set or several.
  """
  root = pathlib.Path(path)
  try:
    folder = examination.recognise(root)
  except UserError as e:
    return _built(root, e)
  if folder == _YTVOS:
    return folder if _is_published_ytvos(root) else "own"
  names = list(registry.about(folder).splits)
  if len(names) > 1:
    names = [name for name in names if (root / name).is_dir()] or names
  if len(names) > 1:
    raise UserError(
      f"{root}: holds {', '.join(names)}; name the one that is meant with "
      "--data"
    )
  return names[0]


def is_built(path: str | os.PathLike, name: str) -> bool:
  """Whether a complete build of the data set lies in a folder."""
  # Takes a second to import.
  from sgmg_jax.input_pipeline.built import reader

  return reader.is_built(path, name)


def _built(root: pathlib.Path, error: UserError) -> str:
  names = [name for name in registry.NAMES if is_built(root, name)]
  if len(names) == 1:
    return names[0]
  if not names:
    raise error
  raise UserError(
    f"{root}: built were {', '.join(names)}; name the one that is meant with "
    "--data"
  )


def _is_published_ytvos(root: pathlib.Path) -> bool:
  published = registry.about(_YTVOS).published
  valid = published["valid"]["videos"]
  path = root / "meta_expressions/valid/meta_expressions.json"
  if not path.exists():
    return False
  content = meta_expressions.read(path, objects="optional", report=_ignore)
  return len(content.frames) in (valid, valid + published["test"]["videos"])


def _ignore(code: str, message: str, **where: str | os.PathLike) -> None:
  """Leave faults to who reads the file in earnest."""


def only_split(path: str | os.PathLike) -> str:
  """The only split of own data that is not for training.

  Raises:
    UserError: there are none, or several.
  """
  names = meta_expressions.splits(pathlib.Path(path))
  others = [split for split in names if split != "train"]
  if len(others) != 1:
    raise UserError(
      f"{path}: has the splits {', '.join(names)}; name the one that is meant "
      "with --split"
    )
  return others[0]
