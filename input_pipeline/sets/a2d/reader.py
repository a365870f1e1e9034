"""A2D-Sentences as it lies on disk.

```
Release/videoset.csv
Release/CLIPS320/<video>.mp4                 or clips320H/
text_annotations/a2d_annotation.txt
text_annotations/a2d_missed_videos.txt
text_annotations/a2d_annotation_with_instances/<video>/<frame from 1>.h5
a2d_sentences_single_frame_{train,test}_annotations.json     made if missing
```
"""

from __future__ import annotations

import collections
import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import PIL.Image

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import optional_packages, problems, source
from sgmg_jax.input_pipeline.layouts import json_file, video_frames
from sgmg_jax.input_pipeline.sets.a2d import annotation, convert

# The archive's name of the folder and that of other toolkits' instructions.
CLIP_FOLDERS = ("clips320H", "CLIPS320")

_EXPECTED = "[query, video, frame from 1, instance id]"


class A2D(source.Source):
  """A split of A2D-Sentences; three to five frames of a video have masks.

  Every sentence is an expression for each annotated frame that shows its
  instance, and has its ground truth in this frame alone. The id of an
  expression is `f_<frame from 1>_i_<instance>`; the second of two sentences
  with the same id gets `_2` at the end, a third `_3`.

  Frames come from the mp4 files by exact index. Names of frames count from 1
  as the annotations do.
  """

  name = "a2d"

  def __init__(self, path: str | os.PathLike, split: str):
    """Read the list of examples, or make it from the annotations.

    Raises:
      UserError: a folder or list is missing, a list is malformed, or the
        split is unknown.
    """
    if split not in convert.SUBSETS:
      raise UserError(
        f"a2d split {split!r}: expected one of {sorted(convert.SUBSETS)}"
      )
    optional_packages.require("h5py", "reading A2D-Sentences")
    root = pathlib.Path(path)
    self.split = split
    self._clips = clip_folder(root)
    self._annotations = root / convert.ANNOTATION_FOLDER
    listed = convert.examples_file(root, split)
    if listed.exists():
      examples = json_file.read(listed, f"a list of {_EXPECTED}", kind=list)
    else:
      # Takes half a millisecond a frame, 6 s for the published train split.
      examples = convert.single_frame_examples(root, split)
    self.expressions = read_examples(examples, listed)
    self._videos: dict[str, source.Video] = {}
    # The expression of each video that is furthest from its start.
    self._last = {
      e.video: e for e in sorted(self.expressions, key=lambda e: e.frame)
    }

  def video(self, name: str) -> source.Video:
    """Describe a video, as for any source.

    Raises:
      UserError: no readable clip, or it ends before an annotated frame.
    """
    if name not in self._videos:
      num_frames, height, width = video_frames.probe(
        self._clip(name), f"a2d video {name!r}"
      )
      last = self._last.get(name)
      if last and last.frame >= num_frames:
        raise UserError(
          f"a2d expression {last.key}: annotated in frame {last.frame + 1}, "
          f"but {self._clip(name)} has {num_frames} frames"
        )
      frames = tuple(f"{number:05d}" for number in range(1, num_frames + 1))
      self._videos[name] = source.Video(name, frames, (height, width))
    return self._videos[name]

  def encoded_frame(self, video: str, index: int) -> bytes:
    """A PNG: lossless, so that what is built equals what is read from here.

    Weakly compressed, since decoded video gains little from more effort.
    """
    pixels = self.read_frames(video, [index])[0]
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()

  def read_images(
    self, video: str, indices: Sequence[int]
  ) -> list[PIL.Image.Image]:
    return [PIL.Image.fromarray(x) for x in self.read_frames(video, indices)]

  def read_frames(self, video: str, indices: Sequence[int]) -> np.ndarray:
    height, width = self.video(video).size
    if not len(indices):
      return np.zeros((0, height, width, 3), np.uint8)
    what = f"a2d video {video!r}"
    frames = video_frames.read(self._clip(video), indices, what)
    if frames.shape[1:3] != (height, width):
      raise UserError(
        f"{what}: frames of {frames.shape[1:3]}, expected {(height, width)} "
        f"as {self._clip(video)} announces"
      )
    return frames

  def objects(self, video: str, index: int) -> dict[int, np.ndarray]:
    path = self._annotations / video / f"{index + 1:05d}.h5"
    try:
      return annotation.masks(path)
    except UserError as e:
      raise UserError(f"a2d video {video!r} frame {index}: {e}") from e

  def read_masks(
    self, expression: source.Expression, indices: Sequence[int]
  ) -> np.ndarray:
    """Read masks as for any source, but an absent instance is an error.

    Raises:
      UserError: no annotation of the frame, none of the instance, or a mask
        of another size.
    """
    what = f"a2d expression {expression.key}"
    video = self.video(expression.video)
    masks = np.zeros((len(indices), *video.size), bool)
    for row, index in enumerate(indices):
      objects = self.objects(video.name, index)
      for instance in expression.object_ids:
        file = self._annotations / video.name / f"{index + 1:05d}.h5"
        if instance not in objects:
          raise UserError(
            f"{what}: no instance {instance} in {file}, which has "
            f"{sorted(objects)}"
          )
        if objects[instance].shape != video.size:
          raise UserError(
            f"{what}: mask of {objects[instance].shape} in {file}, expected "
            f"{video.size} as {self._clip(video.name)}"
          )
        masks[row] |= objects[instance]
    return masks

  def _clip(self, video: str) -> pathlib.Path:
    return self._clips / f"{video}.mp4"


def clip_folder(root: pathlib.Path) -> pathlib.Path:
  """The folder of clips.

  Raises:
    UserError: there is none.
  """
  release = root / "Release"
  for name in CLIP_FOLDERS:
    if (release / name).is_dir():
      return release / name
  raise problems.Problem(
    "file-missing",
    f"no folder of clips, expected one of {CLIP_FOLDERS}",
    file=release,
  )


def read_examples(
  examples: list, path: pathlib.Path, report: problems.Report = problems.stop
) -> tuple[source.Expression, ...]:
  """An expression for each single-frame example.

  Args:
    examples: as `convert.single_frame_examples` makes them.
    report: is told of examples of another form, which are left out.
  """
  repeats: collections.Counter[tuple] = collections.Counter()
  expressions = []
  for number, example in enumerate(examples):
    match example:
      case [str(text), str(video), int(frame), int(instance)] if frame > 0:
        pass
      case _:
        message = f"{example!r}, expected {_EXPECTED}"
        report("malformed", message, file=path, place=f"entry {number}")
        continue
    repeats[video, frame, instance] += 1
    count = repeats[video, frame, instance]
    expression = source.Expression(
      video=video,
      id=f"f_{frame}_i_{instance}" + (f"_{count}" if count > 1 else ""),
      text=text,
      object_ids=(instance,),
      frame=frame - 1,
    )
    if not text.strip():
      problems.warn(report, f"{path}: expression {expression.key} is empty")
    expressions.append(expression)
  return tuple(expressions)
