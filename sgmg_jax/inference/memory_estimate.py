"""Estimate the memory that a pass of the model needs, and what is free."""

from __future__ import annotations

import dataclasses
import logging
import math
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

# Groups of sentences whose answers wait to be taken from the device.
_WAITING: Final = 5
_FIXED: Final = 2**28  # weights in other layouts, buffers of small maps
_CGROUPS: Final = pathlib.Path("/sys/fs/cgroup")


@dataclasses.dataclass(frozen=True)
class Free:
  """Bytes that can be taken.

  Attributes:
    host: of the machine's memory.
    device: of the device's.
    shared: whether these are the same memory.
  """

  host: int
  device: int
  shared: bool


def pass_bytes(
  variant: variants.Variant,
  padded: tuple[int, int],
  num_frames: int,
  dtype: str = "float32",
  group: int = 1,
) -> int:
  """Bytes that encoding a clip and asking sentences takes at its peak.

  Fitted to what XLA reports for the programs of every variant on a CPU, from
  8 to 40 frames and up to 368x864 pixels: within 10 % where a clip needs more
  than 1 GB. The parameters are not counted.

  Args:
    padded: (height, width) of the model's input.
    num_frames: of the clip, which is padded to `preprocess.time_bucket`.
    group: sentences that go through the model together.
  """
  pixels = preprocess.time_bucket(num_frames) * padded[0] * padded[1]
  half = dtype != "float32"
  # Maps of stride 4 · 2**stage and embed_dim · 2**stage channels: so many for
  # each block of the backbone, and as many as a block and a half of stride 4.
  blocks = sum(depth / 2**i for i, depth in enumerate(variant.depths))
  maps = 0.55 + 0.57 * blocks
  if variant.backbone == "resnet":
    # Wide maps of stride 4, and those of stride 2 before; one block at a time.
    maps = 5.1
  encode = variant.embed_dim * maps * (0.75 if half else 1)
  # Each further sentence takes more than the first, which shares buffers with
  # the clip's; and some groups' logits wait for the host.
  query = 0.55 * variant.width
  further = (0.14 if variant.decouple else 0.75) * variant.width
  if variant.decoder == "fpn":
    query = further = 1.5 * variant.width  # Maps of stride 4.
  if group > 1:
    query += (group - 1) * further + 4 * group * _WAITING
  # What `encode_video` returns: four levels, and the maps of strides 4 and 8.
  features = (2 if half else 4) * (
    variant.width * (1 / 64 + 1 / 256 + 1 / 1024 + 1 / 4096)
    + variant.channels[0] / 16
    + variant.channels[1] / 64
  )
  return _FIXED + int(pixels * (features + max(encode, query)))


def host_bytes(
  geometry: preprocess.Geometry, num_frames: int, expressions: int = 1
) -> int:
  """Bytes that decoded frames and the masks of a clip take on the host."""
  original = math.prod(geometry.original)
  resized = math.prod(geometry.size) + math.prod(geometry.padded)
  # RGB as decoded, resized and padded; a byte for each pixel of a mask.
  return num_frames * (3 * (original + resized) + expressions * original)


def most_frames(
  variant: variants.Variant,
  geometry: preprocess.Geometry,
  limit: int | None,
  *,
  dtype: str = "float32",
  expressions: int = 1,
  group: int = 1,
  free: Free,
) -> int:
  """Most frames of which a pass fits into the free memory.

  Args:
    limit: frames of the video; None: unknown.
    expressions: sentences whose masks are held.
    group: of them that go through the model together.
    free: what there is.
  """
  on_host, on_device = SHARE * free.host, SHARE * free.device

  def fits(num_frames):
    host = host_bytes(geometry, num_frames, expressions)
    need = pass_bytes(variant, geometry.padded, num_frames, dtype, group)
    if free.shared:
      return host + need <= on_device
    return host <= on_host and need <= on_device

  if limit is None:
    limit = int(on_host // host_bytes(geometry, 1, expressions))
  # From above: all buckets end in multiples of 8.
  while limit and not fits(limit):
    limit = limit - 1 if limit <= 8 else (limit - 1) // 8 * 8
  return limit


def free(device: jax.Device | None = None, *, sharing: int = 1) -> Free:
  """What is free for one of several devices of a kind that work at once.

  Args:
    device: None: JAX's default.
    sharing: number of devices.
  """
  device = device or jax.local_devices()[0]
  shared = device.platform == "cpu"
  host, on_device = _host_bytes() // sharing, free_bytes(device)
  return Free(host, on_device // sharing if shared else on_device, shared)


def free_bytes(device: jax.Device | None = None) -> int:
  """Memory that a device can still give; `UNKNOWN` if unknown.

  Of a CPU that is the machine's, or less if a control group (a container, a
  batch job) allows less.

  Args:
    device: None: JAX's default.
  """
  device = device or jax.local_devices()[0]
  if device.platform == "cpu":
    return _host_bytes()
  stats = device.memory_stats() or {}
  if "bytes_limit" not in stats:
    return UNKNOWN
  return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def _host_bytes() -> int:
  return min([*_machine_bytes(), *_cgroup_bytes()], default=UNKNOWN)


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
