"""Speed of J and F, and of scoring a data set of the size of DAVIS 2017 val.

J and F of one pair of masks at a time, in turn with the steps of
davis2017-evaluation in the same process, on one core. The data set lies on
disk as Ref-DAVIS17 does and is scored with a process for each core.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import io
import json
import math
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import PIL.Image
from scipy import ndimage

from sgmg_jax.bench import report
from sgmg_jax.evaluation import measures, parallel, refer_davis
from sgmg_jax.evaluation import truth as truth_lib

_SIZES: Final = ((480, 854), (720, 1280))
# DAVIS 2017 val.
_VIDEOS, _OBJECTS, _FRAMES = 30, 61, 70


@dataclasses.dataclass(frozen=True)
class Setup:
  """What to measure: `repeats` pairs of masks per figure, and `videos` of the
  30 of DAVIS 2017 val, of `frames` frames each."""

  repeats: int = 20
  videos: int = 3
  frames: int = _FRAMES


def measure(setup: Setup) -> dict[str, Any]:
  """Measure all figures of one set-up.

  Returns:
    "reference", what it was; per kind and size of masks, milliseconds of J and
    F at once and of the reference's J and F, and how many times as fast as its
    F alone, and as both, ours are; "largest_difference" of F from the
    reference; "davis", the scoring of files: seconds of the videos measured
    and, from them, of all.
  """
  dilate, reference = _reference_dilation()
  figures: dict[str, Any] = {"reference": reference}
  difference = 0.0
  for height, width in _SIZES:
    for name, draw in _KINDS.items():
      row, found = _pairs(draw, dilate, height, width, setup.repeats)
      figures[f"{name} {height}x{width}"] = row
      difference = max(difference, found)
  figures["largest_difference"] = difference
  with tempfile.TemporaryDirectory() as folder:
    figures["davis"] = _davis(pathlib.Path(folder), setup)
  return figures


def _pairs(draw, dilate, height, width, repeats):
  """Medians over pairs of masks, and the largest difference of F."""
  random = np.random.default_rng(0)
  calls = {
    "J_and_F_ms": measures.count_frames,
    "reference_J_ms": _reference_j,
    "reference_F_ms": functools.partial(_reference_f, dilate),
  }
  seconds: dict[str, list[float]] = {name: [] for name in calls}
  difference = 0.0
  for _ in range(repeats):
    truth = draw(random, height, width)
    pair = _predict(random, truth), truth
    # Also brings the masks into the caches, for all of the calls.
    f = float(measures.boundary_measure(*pair))
    difference = max(difference, abs(f - calls["reference_F_ms"](*pair)))
    for name, call in calls.items():
      seconds[name].append(report.seconds(functools.partial(call, *pair)))
  row = {k: 1e3 * statistics.median(v) for k, v in seconds.items()}
  reference = row["reference_F_ms"]
  row["faster_than_F"] = reference / row["J_and_F_ms"]
  reference += row["reference_J_ms"]
  row["faster_than_both"] = reference / row["J_and_F_ms"]
  row["frames_per_second"] = 1e3 / row["J_and_F_ms"]
  return row, difference


# The reference, step by step as davis2017-evaluation goes.


def _reference_dilation() -> tuple[Callable[..., np.ndarray], str]:
  """Dilation of uint8[H, W] by a disk, and what it is."""
  if importlib.util.find_spec("cv2") is not None:
    import cv2

    cv2.setNumThreads(1)
    return cv2.dilate, f"davis2017-evaluation's steps, OpenCV {cv2.__version__}"

  def dilate(edges, disk):
    # SciPy's own dilation takes 300 times as long as OpenCV's.
    return ndimage.distance_transform_edt(edges == 0) <= len(disk) // 2

  return dilate, "davis2017-evaluation's steps, SciPy instead of OpenCV: slower"


def _reference_j(pred: np.ndarray, truth: np.ndarray) -> float:
  inter, union = np.sum(pred & truth), np.sum(pred | truth)
  return 1.0 if union == 0 else float(inter / union)


def _reference_f(dilate, pred: np.ndarray, truth: np.ndarray) -> float:
  radius = math.ceil(measures.TOLERANCE * np.linalg.norm(pred.shape))
  y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
  disk = (x * x + y * y <= radius * radius).astype(np.uint8)
  pred, truth = _reference_edges(pred), _reference_edges(truth)
  near_pred = dilate(pred.astype(np.uint8), disk)
  near_truth = dilate(truth.astype(np.uint8), disk)
  num_pred, num_truth = np.sum(pred), np.sum(truth)
  if not (num_pred and num_truth):
    return float(num_pred == num_truth)
  precision = np.sum(pred * near_truth) / num_pred
  recall = np.sum(truth * near_pred) / num_truth
  total = precision + recall
  return float(2 * precision * recall / total) if total else 0.0


def _reference_edges(mask: np.ndarray) -> np.ndarray:
  right, lower, diagonal = (np.zeros_like(mask) for _ in range(3))
  right[:, :-1] = mask[:, 1:]
  lower[:-1] = mask[1:]
  diagonal[:-1, :-1] = mask[1:, 1:]
  edges = mask ^ right | mask ^ lower | mask ^ diagonal
  edges[-1] = mask[-1] ^ right[-1]
  edges[:, -1] = mask[:, -1] ^ lower[:, -1]
  edges[-1, -1] = False
  return edges


# Masks as those of real data in what counts: area and length of the outline.


def _noise(random, height: int, width: int, scale: int) -> np.ndarray:
  """float[H, W], smooth over about `scale` pixels, of deviation one."""
  coarse = (height // scale + 4, width // scale + 4)
  noise = ndimage.zoom(random.normal(size=coarse), scale, order=1)
  noise = ndimage.uniform_filter(noise[:height, :width], scale)
  return noise / noise.std()


def _blob(random, height: int, width: int) -> np.ndarray:
  """Smooth shapes over a sixth of the frame."""
  noise = _noise(random, height, width, height // 6)
  return noise > np.quantile(noise, 5 / 6)


def _object(random, height: int, width: int) -> np.ndarray:
  """A figure that stands, with limbs and a rough outline."""
  y, x = np.mgrid[:height, :width] / height
  centre = random.uniform(0.5, width / height - 0.5)
  body = [  # Centre and half axes, in heights of the frame.
    (0.22, 0.0, 0.07, 0.06),
    (0.45, 0.0, 0.18, 0.09),
    (0.75, -0.06, 0.18, 0.04),
    (0.75, 0.07, 0.18, 0.04),
    (0.40, -0.15, 0.04, 0.12),
    (0.42, 0.16, 0.05, 0.13),
  ]
  depth = [
    1 - ((y - v) / h) ** 2 - ((x - centre - u) / w) ** 2 for v, u, h, w in body
  ]
  rough = sum(
    weight * _noise(random, height, width, max(scale * height // 480, 2))
    for weight, scale in ((0.15, 32), (0.12, 8), (0.08, 3))
  )
  return np.maximum.reduce(depth) + rough > 0


def _tiny(random, height: int, width: int) -> np.ndarray:
  """A smooth thing of a fortieth of the frame's height."""
  y, x = np.mgrid[:height, :width]
  v, u = random.uniform(0.1, 0.9, 2) * (height, width)
  return (y - v) ** 2 + (x - u) ** 2 <= (height / 80) ** 2


_KINDS: Final = {"blob": _blob, "object": _object, "tiny": _tiny}


def _predict(random, truth: np.ndarray) -> np.ndarray:
  """The mask as a network draws it: moved, and coarse by four pixels."""
  moved = np.roll(truth, random.integers(-3, 4, 2), (0, 1))
  coarse = ndimage.uniform_filter(moved.astype(np.float32), 4)
  return coarse > random.uniform(0.3, 0.7)


# Scoring files.


def _davis(folder: pathlib.Path, setup: Setup) -> dict[str, float]:
  """Score label maps of some of the videos."""
  _write(folder, setup)
  truth = truth_lib.Truth("refer_davis", folder / "truth", "valid")
  processes = parallel.usable_cores()
  run = functools.partial(parallel.run, processes=processes)
  seconds = report.seconds(
    lambda: refer_davis.score(
      truth, folder / "predictions", protocol="", run=run
    )
  )
  return {
    "videos": setup.videos,
    "label_maps": refer_davis.NUM_ANNOTATORS * setup.videos * setup.frames,
    "processes": processes,
    "seconds": seconds,
    f"seconds_of_{_VIDEOS}_videos": seconds * _VIDEOS / setup.videos,
  }


def _write(folder: pathlib.Path, setup: Setup) -> None:
  """Ref-DAVIS17, converted, and predictions that lag behind the truth."""
  height, width = _SIZES[0]
  image = io.BytesIO()
  PIL.Image.new("RGB", (width, height)).save(image, "JPEG")
  names = [f"{t:05d}" for t in range(setup.frames)]
  videos = {}
  for number in range(setup.videos):
    # 61 objects in 30 videos.
    objects = (number + 1) * _OBJECTS // _VIDEOS - number * _OBJECTS // _VIDEOS
    maps = [_png(labels) for labels in _label_maps(number, objects, setup)]
    video = f"video_{number:02d}"
    sentences = {
      str(k): {"exp": f"sentence {k}", "obj_id": str(k // 4 + 1)}
      for k in range(refer_davis.NUM_ANNOTATORS * objects)
    }
    videos[video] = {"expressions": sentences, "frames": names}
    frames = [image.getvalue()] * setup.frames
    places = {
      f"truth/valid/JPEGImages/{video}": ("jpg", frames),
      f"truth/valid/Annotations/{video}": ("png", maps),
    }
    for a in range(refer_davis.NUM_ANNOTATORS):
      late = maps[:1] * a + maps
      places[f"predictions/anno_{a}/{video}"] = ("png", late)
    for place, (ending, files) in places.items():
      (folder / place).mkdir(parents=True)
      for name, content in zip(names, files):
        (folder / place / f"{name}.{ending}").write_bytes(content)
  path = folder / "truth/meta_expressions/valid/meta_expressions.json"
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps({"videos": videos}, allow_nan=False))


def _label_maps(seed: int, objects: int, setup: Setup) -> Iterator[np.ndarray]:
  """Figures that walk before each other, uint8[H, W]."""
  random = np.random.default_rng(seed)
  masks = [_object(random, *_SIZES[0]) for _ in range(objects)]
  for t in range(setup.frames):
    labels = np.zeros(_SIZES[0], np.uint8)
    for label, mask in enumerate(masks, 1):
      step = (t % 5, (2 * t + 90 * label) * (-1) ** label)
      labels[np.roll(mask, step, (0, 1))] = label
    yield labels


def _png(labels: np.ndarray) -> bytes:
  image = PIL.Image.fromarray(labels).convert("P")
  file = io.BytesIO()
  image.save(file, "PNG")
  return file.getvalue()
