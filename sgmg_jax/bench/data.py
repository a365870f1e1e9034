"""Speed and memory of the training pipeline on photo-like video.

A Ref-YouTube-VOS folder is written to disk (JPEG frames with the spectrum of
photographs, palette PNG masks) and read back by the training pipeline with
all transforms. Speeds are per second of processor time, so that they hold for
one core also where others work on the machine. The decoder alone, the floor,
is measured in the same process.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import json
import pathlib
import tempfile
import time
from typing import Any

import numpy as np
import PIL.Image

from sgmg_jax.bench import report
from sgmg_jax.cli import config_files
from sgmg_jax.input_pipeline import optional_packages
from sgmg_jax.input_pipeline.batches import config as config_lib
from sgmg_jax.input_pipeline.batches import pipeline

_VIDEOS, _LENGTH = 3, 12


@dataclasses.dataclass(frozen=True)
class Setup:
  """The data to measure on: clips of `frames` frames of `height` x `width`
  pixels, at least `repeats` of them per figure."""

  frames: int = 5
  height: int = 720
  width: int = 1280
  quality: int = 90
  repeats: int = 40


def measure(setup: Setup) -> dict[str, Any]:
  """Measure all figures of one set-up.

  Returns:
    "clips_per_core_second" (one thread), "loader_per_core_second" (without
    tf.data), "floor_per_core_second" (decoding alone); "share/<stage>" of the
    loader's time; per number of threads "clips_per_second", "peak_memory_gb",
    "first_batch_seconds"; "import_seconds" of TensorFlow; "frame_kb".

  Raises:
    UserError: TensorFlow is not installed.
  """
  optional_packages.require("tensorflow", "bench data")
  with tempfile.TemporaryDirectory() as folder:
    frame_kb = _write_data(pathlib.Path(folder), setup)
    one, two = (
      report.in_process(
        __name__,
        {
          "setup": dataclasses.asdict(setup),
          "folder": folder,
          "threads": threads,
        },
      )
      for threads in (1, 2)
    )
  figures = {"frame_kb": frame_kb}
  for part in ("clips", "loader", "floor"):
    figures[f"{part}_per_core_second"] = one[f"{part}_per_core_second"]
  figures |= {k: v for k, v in one.items() if k.startswith("share/")}
  for count, found in (("1_thread", one), ("2_threads", two)):
    for name in ("clips_per_second", "peak_memory_gb", "first_batch_seconds"):
      figures[f"{name}/{count}"] = found[name]
  figures["import_seconds"] = one["import_seconds"]
  return figures


def _photo(random: np.random.Generator, height: int, width: int):
  """Draw uint8[H, W, 3] whose amplitudes fall with frequency as in photographs,
  channels alike as there."""
  fy = np.fft.fftfreq(height)[:, None]
  fx = np.fft.rfftfreq(width)[None]
  amplitude = 1 / np.maximum(np.hypot(fy, fx), 1 / max(height, width))

  def plane():
    noise = np.fft.rfft2(random.standard_normal((height, width)))
    x = np.fft.irfft2(noise * amplitude, (height, width))
    return (x - x.mean()) / x.std()

  grey = plane()
  planes = [128 + 45 * grey + 15 * plane() for _ in range(3)]
  return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


def _write_data(root: pathlib.Path, setup: Setup) -> float:
  """Write Ref-YouTube-VOS of a few videos; return the mean JPEG size in kB."""
  random = np.random.default_rng(0)
  frames = [f"{5 * t:05d}" for t in range(_LENGTH)]
  videos, sizes = {}, []
  y, x = np.ogrid[: setup.height, : setup.width]
  for k in range(_VIDEOS):
    name = f"video{k}"
    images = root / "train/JPEGImages" / name
    masks = root / "train/Annotations" / name
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    step = 8
    large = _photo(random, setup.height, setup.width + step * _LENGTH)
    for t, frame in enumerate(frames):
      image = large[:, step * t : step * t + setup.width]
      file = images / f"{frame}.jpg"
      PIL.Image.fromarray(image).save(file, quality=setup.quality)
      sizes.append(file.stat().st_size)
      labels = np.zeros((setup.height, setup.width), np.uint8)
      for obj in (1, 2):
        cx = setup.width * obj / 3 + 10 * t
        cy = setup.height / 2
        radius = setup.height / 4
        labels[((x - cx) / radius) ** 2 + ((y - cy) / radius) ** 2 < 1] = obj
      mask = PIL.Image.fromarray(labels, "P")
      mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
      mask.save(masks / f"{frame}.png")
    expressions = {
      str(i): {"exp": f"the {side} thing", "obj_id": str(i + 1)}
      for i, side in enumerate(("left", "right"))
    }
    videos[name] = {"expressions": expressions, "frames": frames}
  folder = root / "meta_expressions/train"
  folder.mkdir(parents=True)
  text = json.dumps({"videos": videos}, allow_nan=False)
  (folder / "meta_expressions.json").write_text(text)
  return float(np.mean(sizes)) / 1000


def _figures(
  setup: dict[str, int], folder: str, threads: int
) -> dict[str, Any]:
  """Runs in a process of its own, for a `Setup` as a dict."""
  setup = Setup(**setup)
  start = time.perf_counter()
  pipeline.tensorflow()
  figures = {"import_seconds": time.perf_counter() - start}
  config = config_lib.Config(
    root=folder,
    sets=(("refer_ytvos", "", 1),),
    batch_size=2,
    num_frames=setup.frames,
    buckets=config_files.load("refer_ytvos").data.buckets,
    num_threads=threads,
  )
  start = time.perf_counter()
  pipe = pipeline.create(config, "train")
  next(pipe)
  figures["first_batch_seconds"] = time.perf_counter() - start
  # What was loaded ahead belongs to the time before.
  for _ in range(config.prefetch + threads):
    next(pipe)
  count = -(-setup.repeats // config.batch_size)
  wall, core = time.perf_counter(), time.process_time()
  for _ in range(count):
    next(pipe)
  clips = count * config.batch_size
  figures["clips_per_second"] = clips / (time.perf_counter() - wall)
  figures["clips_per_core_second"] = clips / (time.process_time() - core)
  pipe.close()
  figures["peak_memory_gb"] = report.peak_host_memory_gb()
  figures |= _stages(config, setup.repeats)
  return figures


class _TimedSource:
  """A source whose decoding is timed."""

  def __init__(self, source, spent):
    self._source = source
    self.read_frames = _timed(source.read_frames, "decode JPEG", spent)
    self.read_images = _timed(source.read_images, "decode JPEG", spent)
    self.read_masks = _timed(source.read_masks, "decode PNG", spent)

  def __getattr__(self, name):
    return getattr(self._source, name)


class _TimedOp:
  """An op that is timed under its own name."""

  def __init__(self, op, spent):
    self.output_size = op.output_size
    self.touches_frames = op.touches_frames
    self.takes_images = op.takes_images
    self._call = _timed(op, type(op).__name__, spent)

  def __call__(self, example, seed):
    return self._call(example, seed)


def _timed(function, name, spent):
  @functools.wraps(function, updated=())
  def call(*args):
    start = time.process_time()
    try:
      return function(*args)
    finally:
      spent[name] += time.process_time() - start

  return call


def _stages(config: config_lib.Config, count: int) -> dict[str, float]:
  """Shares of the loader's time, and the speed of decoding alone."""
  share = config_lib.Share("train", True, 0, 1, 0)
  loader = config_lib.open_loader(config, share)
  plan = config_lib.make_plan(config, share, loader)
  (data_set,) = loader.data_sets
  floor = _floor(data_set.source, config.num_frames, count)
  spent: dict[str, float] = collections.Counter()
  data_set.source = _TimedSource(data_set.source, spent)
  ops = tuple(_TimedOp(op, spent) for op in data_set.recipe.ops)
  data_set.recipe = dataclasses.replace(data_set.recipe, ops=ops)
  rows = []
  while len(rows) < count:
    batch = plan.next_batch()
    rows += [(row, batch.bucket) for row in batch.rows]
  start = time.process_time()
  for row in rows:
    loader.load(*row)
  total = time.process_time() - start
  spent["padding, the rest"] = total - sum(spent.values())
  shares = {f"share/{name}": value / total for name, value in spent.items()}
  return shares | {
    "loader_per_core_second": count / total,
    "floor_per_core_second": floor,
  }


def _floor(source: Any, num_frames: int, count: int) -> float:
  """Clips per second of one core that only decodes, through Pillow."""
  folders = [source.images / "video0", source.annotations / "video0"]
  files = [sorted(folder.iterdir())[:num_frames] for folder in folders]
  encoded = [path.read_bytes() for part in files for path in part]
  start = time.process_time()
  for _ in range(count):
    for data in encoded:
      PIL.Image.open(io.BytesIO(data)).load()
  return count / (time.process_time() - start)


if __name__ == "__main__":
  report.answer(lambda argument: _figures(**argument))
