"""Feature drift: what a decoder does to features that kernels are made for.

SgMg section 3.1 and its Figures 1 and I. Where a decoder stands between the
vision-language features F_vl, from which kernels are predicted, and the map
F_vl^d that these are applied to, both have other distributions. A t-SNE shows
it and proves little alone, so numbers stand beside it, with controls.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax.analysis.examples import Example
from sgmg_jax.analysis.probe import Probe
from sgmg_jax.checkpoints import native
from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import measures
from sgmg_jax.inference import postprocess
from sgmg_jax.model import fpn, patch_kernels, resize, sgmg

MAX_PAIRS: Final = 2000
_FOLDS: Final = 5
_RIDGE: Final = 1e-3


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Features at the same N positions of one video.

  Attributes:
    before: float32[N, C] of F_vl.
    after: float32[N, C] of F_vl^d, averaged over the same positions.
    untrained: the same of a decoder with its first parameters.
    j_before, j_after: J of the predicted kernels applied to F_vl and to
      F_vl^d, without the optimiser; NaN where the truth is unknown.
  """

  before: np.ndarray
  after: np.ndarray
  untrained: np.ndarray
  j_before: float
  j_after: float


def probe_accuracy(x: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
  """How well a linear classifier tells rows of x from those of y.

  Least squares with a small ridge, on features standardised by the training
  rows; the mean of five folds. Rows i of both are in one fold.

  Args:
    x, y: float[N, C] each.
    seed: of the folds.
  """
  fold = np.random.default_rng(seed).permutation(len(x)) % _FOLDS
  fold = np.concatenate([fold, fold])
  rows = np.concatenate([x, y]).astype(np.float64)
  target = np.repeat([1.0, -1.0], len(x))
  correct = []
  for held in range(_FOLDS):
    train = fold != held
    mean, sd = rows[train].mean(0), rows[train].std(0)
    scaled = (rows - mean) / np.where(sd > 0, sd, 1.0)
    scaled = np.hstack([scaled, np.ones((len(scaled), 1))])
    gram = scaled[train].T @ scaled[train]
    gram += _RIDGE * train.sum() * np.eye(len(gram))
    weights = np.linalg.solve(gram, scaled[train].T @ target[train])
    correct.append(np.sign(scaled[~train] @ weights) == target[~train])
  return float(np.concatenate(correct).mean())


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
  """Linear centred kernel alignment of paired rows (Kornblith et al., 2019): 1
  where one is the other rotated and scaled."""
  x, y = (a.astype(np.float64) - a.mean(0, dtype=np.float64) for a in (x, y))
  norm = np.linalg.norm
  return float(norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y)))


def centroid_distance(x: np.ndarray, y: np.ndarray) -> float:
  """Distance of the means over the root mean square distance to them."""
  spread = np.sqrt((x.var(0).sum() + y.var(0).sum()) / 2)
  return float(np.linalg.norm(x.mean(0) - y.mean(0)) / spread)


def standardise(x: np.ndarray) -> np.ndarray:
  """Every channel with mean 0 and standard deviation 1.

  Where only these differed, a probe falls below 0.5: the means of what it holds
  back have the other sign than those of what it learned from.
  """
  sd = x.std(0)
  return (x - x.mean(0)) / np.where(sd > 0, sd, 1.0)


def compare(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
  """All numbers of paired rows."""
  return {
    "probe": probe_accuracy(x, y),
    "cka": linear_cka(x, y),
    "distance": centroid_distance(x, y),
  }


def numbers(pairs: Pairs, seed: int = 0) -> dict[str, dict[str, float | None]]:
  """The numbers of a video and of its controls.

  Returns:
    "decoder" (F_vl against F_vl^d) with "j_before" and "j_after" beside
    `compare`'s; and the controls "standardised" (both, each by itself),
    "untrained" (decoder) and "halves" (random ones of F_vl, which are not
    paired: no "cka").
  """
  order = np.random.default_rng(seed).permutation(len(pairs.before))
  half = len(order) // 2
  one, other = pairs.before[order[:half]], pairs.before[order[half : 2 * half]]
  j = {"j_before": pairs.j_before, "j_after": pairs.j_after}
  known = {k: None if np.isnan(v) else v for k, v in j.items()}
  return {
    "decoder": compare(pairs.before, pairs.after) | known,
    "standardised": compare(
      standardise(pairs.before), standardise(pairs.after)
    ),
    "untrained": compare(pairs.before, pairs.untrained),
    "halves": compare(one, other) | {"cka": None},
  }


def embed(pairs: Pairs, seed: int = 0) -> np.ndarray:
  """t-SNE of both, float32[2 N, 2], those before first.

  Raises:
    UserError: scikit-learn is not installed.
  """
  manifold = _manifold()
  points = np.concatenate([pairs.before, pairs.after])
  return manifold.TSNE(
    perplexity=30, init="pca", random_state=seed
  ).fit_transform(points)


def _manifold():
  try:
    from sklearn import manifold
  except ImportError:
    raise UserError(
      "t-SNE needs scikit-learn: pip install 'sgmg_jax[analysis]', or leave "
      "the picture out (--no-picture)"
    ) from None
  return manifold


def check_embedding() -> None:
  """Raise a UserError if `embed` could not run, before anything is done."""
  _manifold()


class Drift:
  """The drift of a model with a decoder."""

  def __init__(self, checkpoint: native.Checkpoint, seed: int = 0):
    """Prepare; compile nothing yet.

    Args:
      checkpoint: of a variant with a decoder.
      seed: of positions and of the untrained decoder.

    Raises:
      UserError: the model has no decoder, hence no drift.
    """
    if checkpoint.variant.decoder == "none":
      raise UserError(
        f"{checkpoint.card['name']}: it has no decoder between kernels and "
        "features, expected a model with decoder=fpn, such as one of "
        "`sgmg train --config=ablations:table=6,row=1`"
      )
    self._probe = Probe(checkpoint, _decode)
    self._seed = seed
    decoder = fpn.CrossModalFpn(checkpoint.variant.num_heads)
    self._untrained = jax.jit(
      lambda *inputs: decoder.init_with_output(jax.random.key(seed), *inputs)[0]
    )

  def measure(self, example: Example, max_pairs: int = MAX_PAIRS) -> Pairs:
    """Features of an example at random positions without padding."""
    clip, found, _ = self._probe(example)
    height, width = clip.geometry.size
    frames = slice(clip.length)
    untrained = self._untrained(*found["decoder_inputs"])
    maps = (
      found["before"][0, frames],
      _pool(found["after"])[0, frames],
      _pool(np.asarray(untrained))[0, frames],
    )
    stride = patch_kernels.STRIDE
    maps = [x[:, : height // stride, : width // stride] for x in maps]
    rows = [x.reshape(-1, x.shape[-1]) for x in maps]
    random = np.random.default_rng(self._seed)
    order = random.permutation(len(rows[0]))[:max_pairs]
    j = [np.nan, np.nan]
    if example.masks is not None:
      j = [
        _region(logits[0, frames], clip.geometry, example.masks)
        for logits in found["logits"]
      ]
    return Pairs(*(x[order] for x in rows), *j)


def _decode(model: sgmg.SgMg, inputs, text) -> Mapping[str, Any]:
  """Maps before and behind the decoder, and masks of the same kernels."""
  *_, num_frames = inputs
  video = model.encode_video(*inputs)
  decoded = model.transform(model.fuse(video, text), video, text)
  query = sgmg.best_query(decoded.logits[-1], num_frames)
  memory, f4 = decoded.memory, video.low_levels[0]
  size = tuple(4 * side for side in f4.shape[2:4])

  def masks(decoded):
    labels = model.patch_masks(decoded, video, query=query)[:, :, 0]
    return patch_kernels.to_masks(labels, size)

  return {
    "before": added_up(memory),
    "after": decoded.mask_features,
    "decoder_inputs": (memory, f4, text),
    "logits": (masks(decoded.replace(mask_features=None)), masks(decoded)),
  }


def added_up(memory) -> jax.Array:
  """F_vl: the encoder's maps float[B, T, h, w, C] added up at stride 8."""
  b, t, h, w, c = memory[0].shape
  method = jax.image.ResizeMethod.CUBIC_PYTORCH
  flat = (x.reshape(b * t, *x.shape[2:]) for x in memory)
  maps = [resize.resize(x, (h, w), method) for x in flat]
  return jnp.reshape(sum(maps), (b, t, h, w, c))


def _pool(x: np.ndarray) -> np.ndarray:
  """Means of 2 x 2 positions of float[B, T, 2 h, 2 w, C]."""
  b, t, h, w, c = x.shape
  x = x[:, :, : h // 2 * 2, : w // 2 * 2]
  return x.reshape(b, t, h // 2, 2, w // 2, 2, c).mean((3, 5))


def _region(logits, geometry, truth) -> float:
  masks, _ = postprocess.threshold_masks(logits, geometry, 0.5)
  return float(measures.region_similarity(masks, truth).mean())


def means(
  records: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, float | None]]:
  """Means over videos of what `numbers` gives; None where nothing is known."""
  found = {}
  for name in ("decoder", "standardised", "untrained", "halves"):
    found[name] = {}
    for key in records[0][name]:
      values = [record[name][key] for record in records]
      known = [value for value in values if value is not None]
      found[name][key] = float(np.mean(known)) if known else None
  return found
