"""Ref-DAVIS17: the four text files -> meta_expressions.json.

Two people described every object twice, from its first frame and from the
full video (Khoreva et al., "Video Object Segmentation with Language Referring
Expressions", ACCV 2018). Lines read `<video> <object id> "<sentence>"`.
Per object the four sentences follow each other, so that sentence k of a video
is that of object k // 4 by "annotator" k % 4.
"""

from __future__ import annotations

import logging
import operator
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from sgmg_jax.errors import UserError
from sgmg_jax.files import regular_file

_logger = logging.getLogger(__name__)

# File and encoding of the four annotators, in order.
TEXT_FILES = {
  "Davis17_annot1.txt": "utf-8",
  "Davis17_annot1_full_video.txt": "utf-8",
  "Davis17_annot2.txt": "latin-1",
  "Davis17_annot2_full_video.txt": "latin-1",
}
TEXT_FOLDER = "davis_text_annotations"
# Names as the text files have them -> names of the folders.
REPAIRS = {
  "clasic-car": "classic-car",
  "dog-scale": "dogs-scale",
  "motor-bike": "motorbike",
}
# Our split -> file below ImageSets/2017.
VIDEO_LISTS = {"train": "train.txt", "valid": "val.txt"}

# (object id, sentence) of each line, by video.
Annotation = Mapping[str, Sequence[tuple[str, str]]]
_object_id = operator.itemgetter(0)


def parse_text(data: bytes, encoding: str, where: str) -> Annotation:
  """One annotator's sentences, sorted by object id as the official code does.

  That is as strings ("10" before "2"), lines of one object keeping their
  order.

  Args:
    data: of the file.
    encoding: of the file.
    where: the file's name, for messages.

  Raises:
    UserError: another encoding, or a line of another form.
  """
  try:
    text = data.decode(encoding)
  except UnicodeDecodeError as e:
    raise UserError(f"{where}: {e}, expected {encoding}") from e
  found: dict[str, list[tuple[str, str]]] = {}
  for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
    words = line.split()
    if not words:
      continue
    if len(words) < 3 or not words[1].isdecimal():
      raise UserError(
        f"{where} line {number}: {line!r}, expected "
        '<video> <object id> "<sentence>"'
      )
    video, object_id = REPAIRS.get(words[0], words[0]), words[1]
    # Only real quotes go: a line that lacks them loses nothing.
    sentence = " ".join(words[2:]).removeprefix('"').removesuffix('"')
    found.setdefault(video, []).append((object_id, sentence))
  return {
    video: sorted(lines, key=_object_id) for video, lines in found.items()
  }


def meta_expressions(
  annotations: Sequence[Annotation], frames: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
  """Content of a split's meta_expressions.json.

  Where one annotator has more lines about a video than another the surplus is
  dropped and logged, as the official conversion does silently.

  Args:
    annotations: of the four annotators.
    frames: names of the frames of each video of the split.

  Raises:
    UserError: a video without a sentence.
  """
  videos = {}
  for video, names in frames.items():
    lines = [annotation.get(video, ()) for annotation in annotations]
    if not min(map(len, lines)):
      raise UserError(
        f"Ref-DAVIS17 video {video!r}: an annotator has no sentence about it, "
        f"expected one in each of {', '.join(TEXT_FILES)}"
      )
    rows = list(zip(*lines))
    if any(len(set(map(_object_id, row))) > 1 for row in rows) or any(
      len(line) != len(rows) for line in lines
    ):
      _logger.warning(
        "Ref-DAVIS17 video %r: the annotators describe different objects: %s",
        video,
        [[object_id for object_id, _ in line] for line in lines],
      )
    sentences = [line for row in rows for line in row]
    videos[video] = {
      "expressions": {
        str(k): {"exp": sentence, "obj_id": object_id}
        for k, (object_id, sentence) in enumerate(sentences)
      },
      "frames": list(names),
    }
  return {"videos": videos}


def read_raw(root: str | os.PathLike, split: str) -> dict[str, Any]:
  """Content of meta_expressions.json from the files as downloaded.

  Args:
    root: holds `DAVIS` and `davis_text_annotations`.
    split: "train" or "valid".

  Raises:
    UserError: a file or folder is missing or malformed.
  """
  root = pathlib.Path(root)
  annotations = []
  for name, encoding in TEXT_FILES.items():
    path = root / TEXT_FOLDER / name
    try:
      data = regular_file.read_bytes(path)
    except OSError as e:
      raise UserError(
        f"{path}: {_reason(e)}, expected the sentences of Ref-DAVIS17"
      ) from e
    annotations.append(parse_text(data, encoding, str(path)))
  images = frame_folder(root / "DAVIS" / "JPEGImages")
  frames = {}
  for video in video_names(root, split):
    frames[video] = sorted(p.stem for p in (images / video).glob("*.jpg"))
    if not frames[video]:
      raise UserError(
        f"{images / video}: no JPEG frames, expected those of video {video!r} "
        f"of Ref-DAVIS17 {split}"
      )
  return meta_expressions(annotations, frames)


def video_names(root: str | os.PathLike, split: str) -> list[str]:
  """Videos of a split, in the order of DAVIS's own list.

  Raises:
    UserError: no such list.
  """
  path = pathlib.Path(root) / "DAVIS/ImageSets/2017" / VIDEO_LISTS[split]
  try:
    return regular_file.read_bytes(path).decode().split()
  except (OSError, UnicodeDecodeError) as e:
    raise UserError(
      f"{path}: {_reason(e)}, expected the names of the videos of {split}"
    ) from e


def _reason(error: OSError | UnicodeDecodeError) -> str:
  if isinstance(error, FileNotFoundError):
    return "no such file"
  return getattr(error, "strerror", None) or str(error)


def frame_folder(folder: pathlib.Path) -> pathlib.Path:
  """The level below which videos are: DAVIS has "480p", copies may not."""
  return folder / "480p" if (folder / "480p").is_dir() else folder
