"""Maps around the spectrum augmentation, and what its filter has learned.

SgMg's Figure 7: the norm of every position's features at stride 8 before words
are fused into them, behind the fusion, and behind the augmentation after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from sgmg_jax.analysis.examples import Example
from sgmg_jax.analysis.probe import Probe
from sgmg_jax.checkpoints import native
from sgmg_jax.errors import UserError
from sgmg_jax.inference import postprocess, preprocess
from sgmg_jax.model import sgmg, variants

STAGES: Final = ("before fusion", "after fusion", "after augmentation")
_THRESHOLDS: Final = 64
_RINGS: Final = 16
_CAPTURED: Final = r"input_proj_\d_1|input_fft(_post)?_\d|fusion_module"


@dataclasses.dataclass(frozen=True)
class Maps:
  """What a model makes of an example.

  Attributes:
    norms: by `STAGES`, float32[T, H, W] at the size of the frames.
    masks: bool[T, H, W], the model's answer.
    strengths: by "pre" and "post" of each level ("pre 0"), float32[T]: how
      strongly each frame's high frequencies are damped; empty without a
      spectrum.
    powers: by the same names, float64[2, R]: the power of the map's spectrum
      by frequency, before and behind the augmentation; see `radial_power`.
  """

  norms: Mapping[str, np.ndarray]
  masks: np.ndarray
  strengths: Mapping[str, np.ndarray]
  powers: Mapping[str, np.ndarray]


class Features:
  """The maps of a model."""

  def __init__(self, checkpoint: native.Checkpoint):
    """Prepare; compile nothing yet.

    Raises:
      UserError: a model that fuses the words of several expressions at once.
    """
    if checkpoint.variant.decouple:
      raise UserError(
        f"{checkpoint.card['name']}: its maps are of several sentences at "
        "once, expected a model of one sentence"
      )
    self.name = checkpoint.card["name"]
    self.spectral = checkpoint.variant.spectral
    self._probe = Probe(checkpoint, _segment, _CAPTURED)

  def measure(self, example: Example) -> Maps:
    """All maps of an example."""
    clip, logits, captured = self._probe(example)
    geometry, frames = clip.geometry, slice(clip.length)

    def results(module, call=0):
      x = captured[module]["__call__"][call]
      return x.reshape(-1, *x.shape[-3:])[frames]

    levels = {}
    for i in range(variants.NUM_LEVELS):
      levels[f"pre {i}"] = (
        results(f"input_proj_{i}_1"),
        results(f"input_fft_{i}"),
      )
    for i in range(variants.NUM_LEVELS):
      levels[f"post {i}"] = (
        results("fusion_module", i),
        results(f"input_fft_post_{i}"),
      )
    chain = levels["pre 0"][1], *levels["post 0"]
    masks, _ = postprocess.threshold_masks(logits[0, frames], geometry, 0.5)
    strengths = {}
    for when, module in (("pre", "input_fft"), ("post", "input_fft_post")):
      for i in range(variants.NUM_LEVELS):
        sown = captured[f"{module}_{i}"].get("strength")
        if sown:
          strengths[f"{when} {i}"] = sown[0][frames]
    return Maps(
      {name: norm_map(x, geometry) for name, x in zip(STAGES, chain)},
      masks,
      strengths,
      {
        name: np.stack([radial_power(x) for x in pair])
        for name, pair in levels.items()
      },
    )


def _segment(model: sgmg.SgMg, inputs, text):
  video = model.encode_video(*inputs)
  decoded = model.transform(model.fuse(video, text), video, text)
  return model.segment(decoded, video)[0]


def norm_map(x: np.ndarray, geometry: preprocess.Geometry) -> np.ndarray:
  """L2 norms over channels of float[T, h, w, C], at the video's own size."""
  norms = np.linalg.norm(x.astype(np.float32), axis=-1)
  padded = postprocess.upsample_logits(norms, norms.shape[1:], geometry.padded)
  return postprocess.upsample_logits(padded, geometry.size, geometry.original)


def scaled(x: np.ndarray) -> np.ndarray:
  """To [0, 1] between the percentiles 1 and 99 of each frame."""
  low, high = np.percentile(x, [1, 99], axis=(-2, -1), keepdims=True)
  return np.clip((x - low) / np.where(high > low, high - low, 1.0), 0, 1)


def radial_power(x: np.ndarray) -> np.ndarray:
  """Power of the spectrum by distance from its zero frequency.

  Args:
    x: float[T, h, w, C].

  Returns:
    float64[R]: shares of R rings around the frequencies i / (2 R) of all power
    but the constant's, the last at half a cycle a position; the corners beyond
    are left out. Maps of fewer than 32 positions have fewer rings, each with a
    frequency of theirs.
  """
  h, w = x.shape[1:3]
  rings = min(_RINGS, max(1, min(h, w) // 2))
  spectrum = np.abs(np.fft.fft2(x.astype(np.float64), axes=(1, 2))) ** 2
  power = spectrum.mean((0, 3))
  radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.fftfreq(w))
  ring = np.maximum(np.floor(radius * 2 * rings + 0.5).astype(int) - 1, 0)
  inside = (radius > 0) & (radius <= 0.5)
  sums = np.bincount(ring[inside], power[inside], rings)
  return sums / max(sums.sum(), np.finfo(float).tiny)


def localisation(norms: np.ndarray, masks: np.ndarray) -> dict[str, float]:
  """How well maps show where the object is, over frames that show it.

  Args:
    norms: float[T, H, W].
    masks: bool[T, H, W] of the object.

  Returns:
    "pointing" (share of frames whose highest value lies inside), "energy" (the
    share of each map's sum that is inside), "area" (the object's share of the
    frame, which is the energy of a flat map) and "iou" (the best over
    thresholds); NaN if no frame shows it.
  """
  found = []
  for x, mask in zip(norms, masks, strict=True):
    if not mask.any():
      continue
    cuts = np.linspace(x.min(), x.max(), _THRESHOLDS, endpoint=False)
    above = x[None] >= cuts[:, None, None]
    inter = (above & mask).sum((1, 2))
    union = (above | mask).sum((1, 2))
    found.append(
      (
        mask[np.unravel_index(x.argmax(), x.shape)],
        x[mask].sum() / x.sum(),
        mask.mean(),
        (inter / union).max(),
      )
    )
  means = np.mean(found, 0) if found else np.full(4, np.nan)
  return dict(zip(("pointing", "energy", "area", "iou"), map(float, means)))


def summarise(
  examples: Sequence[Example], maps: Sequence[Maps]
) -> dict[str, Any]:
  """Means over examples, for JSON.

  Returns:
    "localisation" by `STAGES` (empty where no masks are known), "strengths"
    (mean, least and greatest by filter) and "high_frequencies" (the share of
    power in the upper half of frequencies, before and behind each filter).
  """
  known = [
    (one, example.masks)
    for one, example in zip(maps, examples, strict=True)
    if example.masks is not None and example.masks.any()
  ]
  found = {}
  for stage in STAGES if known else ():
    rows = [localisation(one.norms[stage], masks) for one, masks in known]
    found[stage] = {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
  strengths = {}
  for name in maps[0].strengths:
    values = np.concatenate([one.strengths[name] for one in maps])
    strengths[name] = {
      "mean": float(values.mean()),
      "least": float(values.min()),
      "greatest": float(values.max()),
    }
  high = {}
  for name in maps[0].powers:
    power = np.mean([one.powers[name] for one in maps], 0)
    before, behind = (float(x[-(-len(x) // 2) :].sum()) for x in power)
    high[name] = {"before": before, "behind": behind}
  return {
    "localisation": found,
    "strengths": strengths,
    "high_frequencies": high,
  }


def shown_frames(count: int, most: int = 3) -> list[int]:
  """Indices of up to `most` of `count` frames, evenly."""
  return sorted(set(np.linspace(0, count - 1, min(count, most)).astype(int)))
