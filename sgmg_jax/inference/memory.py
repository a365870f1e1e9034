"""Estimate the memory that a pass of the model needs, and what is free."""

from __future__ import annotations

import logging
import os
import pathlib
from typing import Final

import jax

from sgmg_jax.inference import preprocess
from sgmg_jax.model import variants

# Of the free memory, what one pass may take.
SHARE: Final = 0.75
# Taken for free where the platform does not tell: 48 frames of 360x640 in
# the tiny model.
UNKNOWN: Final = 5 * 2**30

_FIXED: Final = 2**28  # weights in other layouts, buffers of small maps
_CGROUPS: Final = pathlib.Path("/sys/fs/cgroup")


def pass_bytes(
  variant: variants.Variant,
  padded: tuple[int, int],
  num_frames: int,
  dtype: str = "float32",
) -> int:
  """Bytes that encoding a clip and asking one sentence takes at its peak.

  Fitted to what XLA reports for the programs of every variant on a CPU, from
  8 to 40 frames and up to 368x864 pixels: within 10 % where a clip needs more
  than 1 GB. The parameters are not counted.

  Args:
    variant: the model's sizes.
    padded: (height, width) of the model's input.
    num_frames: of the clip, which is padded to `preprocess.time_bucket`.
    dtype: of computation.
  """
  pixels = preprocess.time_bucket(num_frames) * padded[0] * padded[1]
  half = dtype != "float32"
  # Maps of stride 4 · 2**stage and embed_dim · 2**stage channels: so many for
  # each block of the backbone, and as many as a block and a half of stride 4.
  blocks = sum(depth / 2**i for i, depth in enumerate(variant.depths))
  encode = variant.embed_dim * (0.55 + 0.57 * blocks) * (0.75 if half else 1)
  query = 0.55 * variant.width
  # What `encode_video` returns: four levels, and the maps of strides 4 and 8.
  features = (2 if half else 4) * (
    variant.width * (1 / 64 + 1 / 256 + 1 / 1024 + 1 / 4096)
    + variant.embed_dim * (1 / 16 + 2 / 64)
  )
  return _FIXED + int(pixels * (features + max(encode, query)))


def most_frames(
  variant: variants.Variant,
  padded: tuple[int, int],
  limit: int,
  dtype: str = "float32",
) -> int:
  """Most frames, up to `limit`, of which a pass fits into the free memory."""
  room = SHARE * free_bytes()
  # From above: `limit` is small, and all buckets end in multiples of 8.
  while limit and pass_bytes(variant, padded, limit, dtype) > room:
    limit = limit - 1 if limit <= 8 else (limit - 1) // 8 * 8
  return limit


def free_bytes() -> int:
  """Memory that the default device can still give; `UNKNOWN` if unknown.

  Of a CPU that is the machine's, or less if a control group (a container, a
  batch job) allows less.
  """
  device = jax.local_devices()[0]
  if device.platform == "cpu":
    return min([*_machine_bytes(), *_cgroup_bytes()], default=UNKNOWN)
  stats = device.memory_stats() or {}
  if "bytes_limit" not in stats:
    return UNKNOWN
  return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def _machine_bytes():
  try:
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
      if line.startswith("MemAvailable:"):
        yield 1024 * int(line.split()[1])
        return
  except (OSError, ValueError):
    logging.debug("no /proc/meminfo", exc_info=True)
  try:  # macOS: what it has, as it does not tell what is free
    yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  except (OSError, ValueError):
    return


def _cgroup_bytes():
  """Rest of the limit of each of this process's control groups."""
  try:
    lines = pathlib.Path("/proc/self/cgroup").read_text().splitlines()
  except OSError:
    return
  for line in lines:
    _, controllers, path = line.split(":", 2)
    root, most, used = _CGROUPS, "memory.max", "memory.current"
    if controllers:  # version 1
      if "memory" not in controllers.split(","):
        continue
      root = root / "memory"
      most, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
      if not folder.is_relative_to(root):
        break
      yield from _left(folder, most, used)


def _left(folder: pathlib.Path, most: str, used: str):
  try:
    limit = (folder / most).read_text().strip()
    if limit == "max":
      return
    spent = int((folder / used).read_text())
    # Files in the page cache count as used, and go when memory is needed.
    for line in (folder / "memory.stat").read_text().splitlines():
      if line.startswith(("inactive_file ", "total_inactive_file ")):
        spent -= int(line.split()[1])
        break
    yield max(0, int(limit) - spent)
  except (OSError, ValueError):
    return
