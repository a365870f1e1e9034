"""Choose the padded sizes of training batches from the sizes of clips.

Spectra, attention and losses are computed over the padding as well, and the
training step is compiled once for each size: few sizes that pad little are
wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from sgmg_jax import types
from sgmg_jax.input_pipeline import batch
from sgmg_jax.input_pipeline.ops import base

OutputSize = Callable[[base.Size, base.Seed], base.Size]

# Frames of every shape, which may come with any data set: all must fit, few do
# matter.
_ANY_SHAPE = tuple(
  size
  for long in np.geomspace(720, 7200, 60).astype(int).tolist()
  for size in ((720, long), (long, 720))
)
_RARE = 1e-9


def for_frames(
  output_size: OutputSize, frames: Mapping[base.Size, float], most: int = 12
) -> tuple[tuple[base.Size, ...], dict[base.Size, float]]:
  """Choose the buckets of a data set; frames of any other shape fit as well.

  Args:
    output_size: of a recipe, or of its op that resizes.
    frames: weight of each (height, width) of stored frames.
    most: number of buckets.

  Returns:
    See `choose`; and the clips' sizes, see `simulate`.
  """
  sizes = simulate(output_size, frames)
  others = simulate(output_size, dict.fromkeys(_ANY_SHAPE, 1.0), 2000)
  return choose(sizes, most, others), sizes


def simulate(
  output_size: OutputSize, frames: Mapping[base.Size, float], draws: int = 8000
) -> dict[base.Size, float]:
  """Draw the sizes that clips have behind the transforms.

  Returns:
    The share of each (height, width).
  """
  total = sum(frames.values())
  sizes = Counter()
  for size, weight in frames.items():
    times = max(1, round(draws * weight / total))
    for i in range(times):
      sizes[output_size(size, (0, i))] += weight / total / times
  return dict(sizes)


def valid_share(
  sizes: Mapping[base.Size, float], buckets: Iterable[base.Size]
) -> float:
  """Pixels of clips over pixels of batches; 0 if a clip fits no bucket.

  Args:
    sizes: share of each (height, width) of clips.
    buckets: a clip goes into the smallest that holds it.
  """
  cells, weights = np.array(list(sizes)), np.array(list(sizes.values()))
  buckets = np.array(sorted(buckets, key=lambda size: size[0] * size[1]))
  return weights @ cells.prod(1) / _padded_area(cells, weights, buckets)


def choose(
  sizes: Mapping[base.Size, float],
  most: int = 12,
  always: Iterable[base.Size] = (),
) -> tuple[base.Size, ...]:
  """Choose the buckets with the largest `valid_share`, or nearly so.

  Starts from a bucket for each padded size, joins the two that then pad the
  fewest pixels more until few enough are left, and moves single ones as long as
  that helps.

  Args:
    sizes: share of each (height, width) of clips.
    most: number of buckets.
    always: further sizes that some bucket must hold.

  Returns:
    (height, width), multiples of 32, by area.
  """
  cells = Counter(dict.fromkeys(map(smallest, always), _RARE))
  for size, weight in sizes.items():
    cells[smallest(size)] += weight
  weights, cells = np.array(list(cells.values())), np.array(list(cells))
  buckets = _improve(_join(cells, weights, most), cells, weights)
  chosen = {tuple(map(int, bucket)) for bucket in buckets}
  return tuple(sorted(chosen, key=lambda size: (size[0] * size[1], size)))


def smallest(size: base.Size) -> base.Size:
  """Compute the smallest bucket of a clip."""
  return batch.padded_size(*(max(n, types.MIN_PADDED_SIDE) for n in size))


def _join(buckets, weights, most):
  """Buckets int[N, 2] and their weights, joined two by two."""
  while len(buckets) > most:
    joined = np.maximum(buckets[:, None], buckets)
    padded = weights * buckets.prod(1)
    added = joined.prod(-1) * (weights[:, None] + weights)
    added = added - padded[:, None] - padded
    np.fill_diagonal(added, np.inf)
    i, j = np.unravel_index(added.argmin(), added.shape)
    others = np.delete(np.arange(len(buckets)), (i, j))
    buckets = np.concatenate([buckets[others], joined[i, j][None]])
    weights = np.append(weights[others], weights[i] + weights[j])
  return buckets


def _improve(buckets, cells, weights):
  """The same with single buckets moved to where they pad fewer pixels."""
  sides = np.meshgrid(*(np.unique(cells[:, axis]) for axis in (0, 1)))
  places = np.stack(sides, -1).reshape(-1, 2)
  best, improved = _padded_area(cells, weights, buckets), True
  while improved:
    improved = False
    for i in range(len(buckets)):
      for place in places:
        other = buckets.copy()
        other[i] = place
        area = _padded_area(cells, weights, other)
        if area < best * (1 - 1e-9):
          buckets, best, improved = other, area, True
  return buckets


def _padded_area(cells, weights, buckets) -> float:
  """Mean pixels of what is padded; infinite if a cell fits no bucket."""
  fits = (cells[:, None] <= buckets).all(-1)
  area = np.where(fits, buckets.prod(1), np.inf).min(1)
  return float(weights @ area)
