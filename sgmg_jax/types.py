"""Structs that cross package borders, and the conventions they follow.

Letters used in shapes, everywhere:
  B clips, E expressions, T frames, H W pixels (h w: a feature map),
  C channels, Q instance queries per frame, L word tokens, M heads,
  P sampling points, V feature levels, N decoder layers.

Masks: True = valid, everywhere. Boxes: (cx, cy, w, h) normalised to [0, 1]
inside the model and the losses; (x1, y1, x2, y2) pixels in results.
Layouts are channels-last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Array = jax.Array
Params = Any

# The stride-64 map of a padded frame needs 3x3 cells, which an unpadded 3x3
# convolution reads.
MIN_PADDED_SIDE = 144


@struct.dataclass
class VideoFeatures:
  """Output of `SgMg.encode_video`, independent of any expression.

  Attributes:
    levels: four projected, pre-augmented maps, strides 8, 16, 32 and 64,
      each float[B, T, h, w, C].
    low_levels: raw Swin outputs of strides 4 and 8 for the segmentation
      optimiser, each float[B, T, h, w, C'].
    level_valid: bool[B, h, w] of each of the four levels.
    size: int[B, 2], (height, width) of each clip before padding.
    num_frames: int[], real frames; later ones only pad the clip in time.
  """

  levels: tuple[Array, ...]
  low_levels: tuple[Array, Array]
  level_valid: tuple[Array, ...]
  size: Array
  num_frames: Array


@struct.dataclass
class TextFeatures:
  """Encoded expressions: words float[B, L, C], word_pos float[B, L, C],
  word_valid bool[B, L], sentence float[B, C]."""

  words: Array
  word_pos: Array
  word_valid: Array
  sentence: Array


@struct.dataclass
class DecoderOutput:
  """Output of `SgMg.transform`, stacked over the decoder layers.

  With several expressions of a clip B counts the expressions.

  Attributes:
    hidden: float[N, B, T, Q, C].
    logits: float[N, B, T, Q], class logits before the sigmoid.
    boxes: float[N, B, T, Q, 4], (cx, cy, w, h) over the unpadded size.
    references: float[N, B, T, Q, 4], boxes as refined by layer n, with
      stopped gradients.
    init_reference: float[B, T, Q, 2], (cx, cy) that enters layer 0.
    memory: encoder output at strides 8, 16, 32, each float[B, T, h, w, C].
    mask_features: float[B, T, h, w, C] at stride 4, the output of a decoder
      that some ablations have; None: kernels are applied to `memory`.
  """

  hidden: Array
  logits: Array
  boxes: Array
  references: Array
  init_reference: Array
  memory: tuple[Array, ...]
  mask_features: Array | None = None


@struct.dataclass
class LayerPredictions:
  """One decoder layer's predictions, as matching and losses take them:
  logits float[B, T, Q], boxes float[B, T, Q, 4] and masks_low
  float[B, T, Q, H/2, W/2] (patch-mask logits after the pixel shuffle)."""

  logits: Array
  boxes: Array
  masks_low: Array


@struct.dataclass
class Targets:
  """Ground truth of a batch, one object per clip.

  Where only K of a clip's frames are annotated, T is K here.

  Attributes:
    boxes: float[B, T, 4], (cx, cy, w, h) over the clip's unpadded size.
    masks: bool[B, T, H, W] at padded size (a multiple of 32).
    valid: bool[B, T], False where the object is absent.
  """

  boxes: Array
  masks: Array
  valid: Array


@struct.dataclass
class Batch:
  """One training batch.

  `frames` holds B clips and `tokens` B * E expressions, expression e of clip
  b at row b * E + e; targets are per expression. With E = 1 this is the
  paper's batch.

  Attributes:
    frames: float[B, T, H, W, 3], normalised, padded with zeros.
    pixel_valid: bool[B, H, W].
    size: int[B, 2], (height, width) before padding.
    tokens: int[B * E, L].
    token_valid: bool[B * E, L]; rows without a valid word only fill.
    targets: `Targets` with leading dimension B * E.
    annotated: int[B, K], the frames that `targets` are about; None: all T.
    labels: labels for auxiliary losses by name, arrays or trees of them whose
      first axis is B or B * E; empty: there are none.
    expression_valid: bool[B, E], False for rows that count in no loss, whose
      targets are valid nowhere; None: all True. Fast SgMg sees their words all
      the same, unless they only fill.
  """

  frames: Array
  pixel_valid: Array
  size: Array
  tokens: Array
  token_valid: Array
  targets: Targets
  annotated: Array | None = None
  labels: Mapping[str, Any] = struct.field(default_factory=dict)
  expression_valid: Array | None = None


def take_query(values: Array, query: Array, axis: int = 2) -> Array:
  """Selects one query of each batch entry.

  Args:
    values: [B, ..., Q, ...] with the queries on `axis`.
    query: int[B].

  Returns:
    `values` without `axis`.
  """
  index = query.reshape((-1,) + (1,) * (values.ndim - 1))
  return jnp.take_along_axis(values, index, axis).squeeze(axis)


def take_frames(maps: Sequence[Array], frames: Array) -> tuple[Array, ...]:
  """Selects the frames int[B, K] of maps [B, T, ...]."""
  index = lambda x: frames.reshape(*frames.shape, *(1,) * (x.ndim - 2))
  return tuple(jnp.take_along_axis(x, index(x), 1) for x in maps)


def repeat_rows(x: Array, rows: int) -> Array:
  """Repeats what each clip has for its expressions: [B, ...] to [B * E, ...],
  row b to rows b * E to (b + 1) * E - 1."""
  return x if len(x) == rows else jnp.repeat(x, rows // len(x), axis=0)
