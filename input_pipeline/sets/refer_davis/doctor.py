"""Ref-DAVIS17, as downloaded, converted, or partly each.

```
DAVIS/JPEGImages/480p/<video>/<frame>.jpg
DAVIS/Annotations_unsupervised/480p/<video>/<frame>.png
DAVIS/ImageSets/2017/{train,val}.txt
DAVIS/davis_semantics.json
davis_text_annotations/Davis17_annot{1,2}[_full_video].txt
```

The converted layout is that of Ref-YouTube-VOS. The sentences describe the
objects of DAVIS 2017, the masks are the later unsupervised ones: that they
differ is known, and left as it is.
"""

from __future__ import annotations

import pathlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final

from sgmg_jax.files import regular_file
from sgmg_jax.input_pipeline.doctor import (
  expression_file,
  files,
  findings,
  plan,
)
from sgmg_jax.input_pipeline.sets.refer_davis import convert, reader
from sgmg_jax.input_pipeline.sets.refer_ytvos import doctor as refer_ytvos

_VOID: Final = frozenset({reader.VOID})
_LINE: Final = re.compile(r"(\S+)\s+(\d+)\s+(.*\S)\s*")

# (object id, sentence, file and line) of each line, by video.
Lines = Mapping[str, list[tuple[int, str, str]]]


def make_plan(root: pathlib.Path, *, fast: bool) -> plan.Plan:
  """Reads the small files of the raw and the converted tree."""
  result = plan.Plan("refer_davis", root)
  log = result.findings
  texts = root / convert.TEXT_FOLDER
  lines: Lines = {}
  if texts.is_dir() or not (root / "meta_expressions").is_dir():
    lines = _read_texts(texts, log)
  listed = {}
  for split in convert.VIDEO_LISTS:
    listed[split] = _read_list(root, split, log)
    converted = refer_ytvos.sentence_file(root, split)
    images = _first_folder(
      root / split / "JPEGImages", root / "DAVIS" / "JPEGImages"
    )
    labels = _first_folder(
      root / split / "Annotations",
      root / split / "Annotations_unsupervised",
      root / "DAVIS" / "Annotations_unsupervised",
    )
    if converted.exists():
      videos = expression_file.read(
        converted, log, train=True, ids=range(1, reader.VOID)
      )
      for video in (videos or {}).values():
        _check_annotators(video, log, converted)
      meta = root / split / "meta.json"
      refer_ytvos.check_meta(meta, videos or {}, log, needed=False)
    elif listed[split]:
      videos = _raw_videos(listed[split], lines, images, log, texts)
    else:
      continue
    if videos is None:
      continue
    if not labels.is_dir():
      log.add("file-missing", "no such folder", file=labels)
    refer_ytvos.add_split(
      result,
      split,
      videos,
      converted if converted.exists() else texts,
      images,
      labels if labels.is_dir() else None,
      fast=fast,
      severity="warning",
      void=_VOID,
    )
  if (root / "DAVIS").is_dir():
    _check_semantics(root / "DAVIS" / "davis_semantics.json", listed, log)
    unknown = set(lines) - {v for videos in listed.values() for v in videos}
    for video in sorted(unknown):
      log.add("reference-unknown", "in no image set", file=texts, video=video)
  return result


def _read_list(root, split, log) -> list[str]:
  """Videos of a split as DAVIS lists them; [] without its folder."""
  path = root / "DAVIS" / "ImageSets" / "2017" / convert.VIDEO_LISTS[split]
  if path.is_file():
    return path.read_text("utf-8", errors="replace").split()
  if not refer_ytvos.sentence_file(root, split).exists():
    log.add("file-missing", "no such file", file=path)
  return []


def _first_folder(*folders: pathlib.Path) -> pathlib.Path:
  """The first that is there, as readers choose."""
  found = next((f for f in folders if f.is_dir()), folders[-1])
  return convert.frame_folder(found)


def _read_texts(folder: pathlib.Path, log: findings.Findings) -> Lines:
  """All lines of the four files, those of another form left out."""
  result = defaultdict(list)
  for name, encoding in convert.TEXT_FILES.items():
    path = folder / name
    try:
      lines = regular_file.read_bytes(path).decode(encoding).splitlines()
    except FileNotFoundError:
      log.add("file-missing", "no such file", file=path)
      continue
    except OSError as e:
      log.add("malformed", f"cannot be read ({e.strerror})", file=path)
      continue
    except UnicodeDecodeError as e:
      log.add("malformed", f"not {encoding}: {e}", file=path)
      continue
    for number, line in enumerate(lines, 1):
      match = _LINE.fullmatch(line)
      if match:
        video, object_id, text = match.groups()
        video = convert.REPAIRS.get(video, video)
        sentence = text.removeprefix('"').removesuffix('"')
        result[video].append((int(object_id), sentence, f"{name}:{number}"))
      elif line.strip():
        log.add(
          "malformed",
          f'line {number}: expected VIDEO OBJECT "SENTENCE", not {line!r}',
          file=path,
        )
  _check_texts(result, log, folder)
  return result


def _check_texts(lines: Lines, log, folder) -> None:
  """Each file describes the same objects, once.

  Readers pair the files line by line: an object that one file lacks loses the
  sentences of the others, or gets another object's.
  """
  for video, entries in lines.items():
    found = Counter(
      (object_id, place.split(":")[0]) for object_id, _, place in entries
    )
    for object_id in sorted({object_id for object_id, _, _ in entries}):
      for name in convert.TEXT_FILES:
        number = found[object_id, name]
        if number != 1:
          log.add(
            "annotators",
            f"{number} sentences for object {object_id}, expected 1",
            file=folder / name,
            video=video,
          )


def _raw_videos(
  names, lines: Lines, images, log, texts
) -> dict[str, expression_file.Video]:
  """The videos of a split in terms of the converted layout."""
  videos = {}
  for name in names:
    frames = files.names_in(images / name, ".jpg")
    if (images / name).is_dir() and not frames:
      log.add("frames-empty", "no frames", file=images / name, video=name)
    if frames != [f"{i:05d}" for i in range(len(frames))]:
      log.add(
        "frame-missing",
        "frames are not 00000, 00001, … without a gap",
        file=images / name,
        video=name,
      )
    entries = tuple(
      expression_file.Entry(place, text, (object_id,), {})
      for object_id, text, place in lines.get(name, ())
    )
    if not entries:
      log.add("expression-missing", "no sentence", file=texts, video=name)
    videos[name] = expression_file.Video(name, tuple(frames), entries)
  return videos


def _check_semantics(path, listed, log) -> None:
  content = files.read_json(path, log)
  for videos in listed.values() if content is not None else ():
    for video in videos:
      if not isinstance(content.get(video), dict):
        log.add("object-unknown", "no categories", file=path, video=video)


def _check_annotators(video, log, path) -> None:
  """Four sentences an object, one after the other, numbered from 0."""
  number = len(video.entries)
  where = dict(file=path, video=video.name)
  if number % reader.ANNOTATORS:
    log.add(
      "annotators",
      f"{number} expressions, expected a multiple of {reader.ANNOTATORS}",
      **where,
    )
    return
  if [entry.id for entry in video.entries] != list(map(str, range(number))):
    log.add("annotators", 'expected ids "0", "1", … in order', **where)
  for first in range(0, number, reader.ANNOTATORS):
    group = video.entries[first : first + reader.ANNOTATORS]
    if len({entry.object_ids for entry in group}) > 1:
      log.add(
        "annotators",
        "the four are not of one object",
        expression=files.some(entry.id for entry in group),
        **where,
      )
  objects = Counter(e.object_ids for e in video.entries)
  for object_ids, count in objects.items():
    if count != reader.ANNOTATORS:
      log.add(
        "annotators",
        f"{count} expressions of object {files.some(object_ids or ())}",
        **where,
      )
