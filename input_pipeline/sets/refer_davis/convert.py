"""Ref-DAVIS17: the four text files -> meta_expressions.json.

Two people described every object twice, from its first frame and from the
full video (Khoreva et al., "Video Object Segmentation with Language Referring
Expressions", ACCV 2018). Lines read `<video> <object id> "<sentence>"`.
Per object the four sentences follow each other, so that sentence k of a video
is that of object k // 4 by "annotator" k % 4.
"""

from __future__ import annotations

import operator
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline import problems

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


def parse_text(
  data: bytes,
  encoding: str,
  where: str | os.PathLike,
  report: problems.Report = problems.stop,
) -> Annotation:
  """One annotator's sentences, sorted by object id as the official code does.

  That is as strings ("10" before "2"), lines of one object keeping their
  order.

  Args:
    report: is told of lines of another form, which are left out.

  Raises:
    UnicodeDecodeError: another encoding.
    UserError: as `report`.
  """
  found: dict[str, list[tuple[str, str]]] = {}
  for number, line in enumerate(
    data.decode(encoding).replace("\r\n", "\n").split("\n"), 1
  ):
    words = line.split()
    if not words:
      continue
    if len(words) < 3 or not words[1].isdecimal():
      report(
        "malformed",
        f'{line!r}, expected <video> <object id> "<sentence>"',
        file=where,
        place=f"line {number}",
      )
      continue
    video, object_id = REPAIRS.get(words[0], words[0]), words[1]
    # Only real quotes go: a line that lacks them loses nothing.
    sentence = " ".join(words[2:]).removeprefix('"').removesuffix('"')
    found.setdefault(video, []).append((object_id, sentence))
  return {
    video: sorted(lines, key=_object_id) for video, lines in found.items()
  }


def meta_expressions(
  annotations: Sequence[Annotation],
  frames: Mapping[str, Sequence[str]],
  report: problems.Report = problems.stop,
) -> dict[str, Any]:
  """Content of a split's meta_expressions.json.

  Where one annotator has more lines about a video than another the surplus is
  dropped and logged, as the official conversion does silently.

  Args:
    annotations: of the four annotators.
    frames: names of the frames of each video of the split.
    report: is told of every video without a sentence.
  """
  videos = {}
  for video, names in frames.items():
    lines = [annotation.get(video, ()) for annotation in annotations]
    if not min(map(len, lines), default=0):
      report(
        "annotators",
        f"Ref-DAVIS17 video {video!r}: an annotator has no sentence about it, "
        f"expected one in each of {', '.join(TEXT_FILES)}",
        video=video,
      )
    rows = list(zip(*lines))
    if any(len(set(map(_object_id, row))) > 1 for row in rows) or any(
      len(line) != len(rows) for line in lines
    ):
      found = [[object_id for object_id, _ in line] for line in lines]
      problems.warn(
        report,
        f"Ref-DAVIS17 video {video!r}: the annotators describe different "
        f"objects: {found}",
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


def read_raw(
  root: str | os.PathLike, split: str, report: problems.Report = problems.stop
) -> dict[str, Any]:
  """Content of meta_expressions.json from the files as downloaded.

  Args:
    root: holds `DAVIS` and `davis_text_annotations`.
    report: as of `read_texts` and `meta_expressions`; also told of videos
      without frames, which are left out.

  Raises:
    UserError: no list of the split's videos, or as `report`.
  """
  root = pathlib.Path(root)
  annotations = list(read_texts(root, report).values())
  images = frame_folder(root / "DAVIS" / "JPEGImages")
  frames = {}
  for video in video_names(root, split):
    names = sorted(p.stem for p in (images / video).glob("*.jpg"))
    if names:
      frames[video] = names
    else:
      there = (images / video).is_dir()
      report(
        "frames-empty" if there else "video-missing",
        f"no JPEG frames, expected those of video {video!r} of Ref-DAVIS17 "
        f"{split}",
        file=images / video,
        video=video,
      )
  return meta_expressions(annotations, frames, report)


def read_texts(
  root: pathlib.Path, report: problems.Report = problems.stop
) -> dict[str, Annotation]:
  """The sentences of the four annotators by the name of their file.

  Args:
    root: holds `davis_text_annotations`.
    report: as of `parse_text`; also told of files that cannot be read, which
      are left out.
  """
  annotations = {}
  for name, encoding in TEXT_FILES.items():
    path = root / TEXT_FOLDER / name
    try:
      data = regular_file.read_bytes(path)
      annotations[name] = parse_text(data, encoding, path, report)
    except OSError as e:
      reason = f"{_reason(e)}, expected the sentences of Ref-DAVIS17"
      report(_code(e), reason, file=path)
    except UnicodeDecodeError as e:
      report("malformed", f"{e}, expected {encoding}", file=path)
  return annotations


def video_names(root: str | os.PathLike, split: str) -> list[str]:
  """Videos of a split, in the order of DAVIS's own list.

  Raises:
    UserError: no such list.
  """
  path = pathlib.Path(root) / "DAVIS/ImageSets/2017" / VIDEO_LISTS[split]
  try:
    return regular_file.read_bytes(path).decode().split()
  except (OSError, UnicodeDecodeError) as e:
    raise problems.Problem(
      _code(e),
      f"{_reason(e)}, expected the names of the videos of {split}",
      file=path,
    ) from e


def _code(error: OSError | UnicodeDecodeError) -> str:
  missing = isinstance(error, FileNotFoundError)
  return "file-missing" if missing else "malformed"


def _reason(error: OSError | UnicodeDecodeError) -> str:
  if isinstance(error, FileNotFoundError):
    return "no such file"
  return getattr(error, "strerror", None) or str(error)


def frame_folder(folder: pathlib.Path) -> pathlib.Path:
  """The level below which videos are: DAVIS has "480p", copies may not."""
  return folder / "480p" if (folder / "480p").is_dir() else folder
