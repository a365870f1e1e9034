"""SgMg (Miao et al., ICCV 2023): masks of what expressions refer to in a video.

The model runs in steps, so that a video is encoded once and queried with
many expressions:

  video = encode_video(frames)      backbone, projections, pre-augmentation
  text = encode_text(tokens)
  fused = fuse(video, text)         words into pixels, post-augmentation
  decoded = transform(fused, …)     deformable transformer, scores and boxes
  masks = segment(decoded, video)   conditional patch kernels, optimiser

The features of B clips go with those of B * E expressions, expression e of clip
b in row b * E + e; what is made of both has B * E rows. Fast SgMg, which has
the variant's `decouple`, keeps one row for each clip until the transformer's
encoder is through, see `multi_instance`.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from sgmg_jax import precision as precision_lib
from sgmg_jax import types
from sgmg_jax.model import (
  backbone,
  deformable_transformer,
  feature_augmentation,
  fpn,
  layers,
  multi_instance,
  patch_kernels,
  segmentation_optimiser,
  spectrum_augmentation,
  text_encoder,
  variants,
  vision_language_fusion,
)
from sgmg_jax.model import remat as remat_lib


class SgMg(nn.Module):
  """The whole model; see the module's docstring for how to run it.

  Attributes:
    variant: sizes, see `variants.get_variant`.
    dtype: computation; norms, softmax, FFT, coordinates stay float32, unless
      it is float64.
    param_dtype: storage of parameters.
    remat: what training computes a second time in the backward pass instead
      of keeping it, of the blocks of the backbone and the encoder: a policy of
      the module `remat`. With "blocks" it is all they compute: a third of the
      memory for a quarter more work.
    precision: of float32 products and convolutions, see the module
      `precision`. It holds in all that `apply` traces.
  """

  variant: variants.Variant
  dtype: Any = jnp.float32
  param_dtype: Any = jnp.float32
  remat: str = remat_lib.NONE
  precision: precision_lib.Policy = "highest"

  def setup(self):
    v = self.variant
    dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
    # Of what is float32 also under mixed precision.
    wide = dtypes | dict(dtype=precision_lib.wide(self.dtype))
    self.backbone_0 = backbone.Backbone(v, remat=self.remat, **dtypes)
    self.text_encoder = text_encoder.TextEncoder(
      dict(
        vocab_size=v.vocab_size,
        width=v.text_width,
        num_layers=v.text_layers,
        num_heads=v.text_heads,
        ffn=v.text_ffn,
        positions=v.text_positions,
        pad_token_id=v.pad_token_id,
        dropout=v.dropout,
        **dtypes,
      )
    )
    resizer = lambda: text_encoder.FeatureResizer(v.width, v.dropout, **dtypes)
    self.text_proj = resizer()
    self.sentence_proj = resizer()
    for i in range(variants.NUM_LEVELS):
      xavier = dict(
        kernel_init=layers.xavier_uniform, bias_init=nn.initializers.zeros
      )
      if i < variants.NUM_LEVELS - 1:
        conv = layers.ConvWeights((1, 1), v.width, **xavier, **dtypes)
      else:
        conv = nn.Conv(v.width, (3, 3), 2, padding=1, **xavier, **dtypes)
      setattr(self, f"input_proj_{i}_0", conv)
      setattr(self, f"input_proj_{i}_1", layers.GroupNorm(**dtypes))
    augment = lambda: [
      feature_augmentation.make(v.spectral, **dtypes)
      for _ in range(variants.NUM_LEVELS)
    ]
    self.input_fft = augment()
    self.input_fft_post = augment()
    self.fusion_module = vision_language_fusion.VisionLanguageFusion(
      v.width, v.num_heads, **dtypes
    )
    if v.decouple in ("features", "queries"):
      self.decouple_module = vision_language_fusion.VisionLanguageFusion(
        v.width,
        v.num_heads,
        out_kernel_init=nn.initializers.zeros,
        **dtypes,
      )
    self.transformer = deformable_transformer.DeformableTransformer(
      v.width,
      v.encoder_layers,
      v.decoder_layers,
      dict(
        num_heads=v.num_heads,
        ffn_dim=v.ffn_dim,
        num_points=v.num_points,
        dropout=v.dropout,
        **dtypes,
      ),
      self.remat,
    )
    self.query_embed = nn.Embed(
      v.num_queries,
      v.width,
      embedding_init=nn.initializers.normal(1.0),
      param_dtype=self.param_dtype,
    )
    self.class_embed = [
      layers.torch_dense(
        1,
        v.width,
        bias_init=nn.initializers.constant(-math.log(99)),
        **wide,
      )
      for _ in range(v.decoder_layers)
    ]
    self.bbox_embed = [
      layers.Mlp(
        (v.width, v.width, 4),
        last_kernel_init=nn.initializers.zeros,
        last_bias_init=_first_box_bias if i == 0 else nn.initializers.zeros,
        **wide,
      )
      for i in range(v.decoder_layers)
    ]
    num_parameters = patch_kernels.num_kernel_parameters(v.width, v.patch)
    self.controller = layers.Mlp(
      (v.width, v.width, num_parameters),
      kernel_init=layers.xavier_uniform,
      **dtypes,
    )
    if v.decoder == "fpn":
      self.pixel_decoder = fpn.CrossModalFpn(v.num_heads, **dtypes)
    if v.refine:
      self.mask_refine = segmentation_optimiser.SegmentationOptimiser(
        v.patch, **dtypes
      )

  @nn.nowrap
  def apply(self, *args, **kwargs):
    with precision_lib.scope(self.precision):
      return super().apply(*args, **kwargs)

  def encode_video(
    self, frames, pixel_valid, size, num_frames=None, *, train=False
  ) -> types.VideoFeatures:
    """Everything that depends on the video alone.

    Args:
      frames: float[B, T, H, W, 3], normalised, zero where padded. H and W of
        at least 144, or the stride-64 map is too small.
      pixel_valid: bool[B, H, W].
      size: int[B, 2], (height, width) before padding.
      num_frames: int[], real frames, the others only pad in time (see
        `video_swin.VideoSwin`); None: all.

    Raises:
      ValueError: frames are too small.
    """
    stages = self.backbone_0(frames.astype(self.dtype), num_frames, train=train)
    return self.project(
      stages,
      pixel_valid,
      size,
      frames.shape[1] if num_frames is None else num_frames,
    )

  def project(self, stages, pixel_valid, size, num_frames):
    """`VideoFeatures` of the backbone's four maps [B, T, h, w, C']."""
    b, t = stages[0].shape[:2]
    inputs = [*stages[1:], stages[-1]]
    levels = []
    for i, x in enumerate(inputs):
      x = x.reshape(b * t, *x.shape[2:])
      conv = getattr(self, f"input_proj_{i}_0")
      if i < variants.NUM_LEVELS - 1:
        kernel, bias = conv(x.shape[-1])
        x = layers.matmul(x, kernel[0, 0]) + bias
      else:
        x = conv(x)
      levels.append(getattr(self, f"input_proj_{i}_1")(x))
    sizes = [x.shape[1:3] for x in levels]
    if min(sizes[-1]) < 3:
      raise ValueError(
        f"frames with a padded side under {types.MIN_PADDED_SIDE} pixels: the "
        f"stride-64 map of {sizes[-1]} must be at least (3, 3); upsize them"
      )
    maps = spectrum_augmentation.gaussian_maps(sizes)
    levels = [
      augment(x, gaussian)
      for augment, x, gaussian in zip(self.input_fft, levels, maps)
    ]
    return types.VideoFeatures(
      levels=tuple(x.reshape(b, t, *x.shape[1:]) for x in levels),
      low_levels=tuple(stages[:2]),
      level_valid=tuple(_resize_valid(pixel_valid, s) for s in sizes),
      size=size,
      num_frames=jnp.asarray(num_frames, jnp.int32),
    )

  def encode_text(
    self, tokens, token_valid, *, train=False, encoder_dropout=True
  ):
    """`TextFeatures` of tokens int[B, L] with token_valid bool[B, L].

    Without `encoder_dropout` only the projections drop out in training, as
    suits a frozen encoder.
    """
    hidden, pooled = self.text_encoder(
      tokens, token_valid, train=train and encoder_dropout
    )
    return types.TextFeatures(
      words=self.text_proj(hidden, train=train),
      word_pos=layers.word_positions(token_valid, self.variant.width).astype(
        self.dtype
      ),
      word_valid=token_valid,
      sentence=self.sentence_proj(pooled, train=train),
    )

  def fuse(self, video: types.VideoFeatures, text: types.TextFeatures):
    """Four maps float[B * E, T, h, w, C] with the expressions' words in them;
    of Fast SgMg float[B, T, h, w, C], with the words of all.

    Rows without a valid word only fill the batch: Fast SgMg does not see them.
    """
    maps = spectrum_augmentation.gaussian_maps(
      [x.shape[2:4] for x in video.levels]
    )
    fused = []
    for augment, x, gaussian in zip(self.input_fft_post, video.levels, maps):
      if self.variant.decouple:
        x = multi_instance.fuse(
          self.fusion_module,
          x,
          text,
          self.variant.fusion_scale,
        )
      else:
        x = self.fusion_module(x, text)
      flat = x.reshape(-1, *x.shape[2:])
      fused.append(augment(flat, gaussian).reshape(x.shape))
    return tuple(fused)

  def transform(
    self,
    fused,
    video: types.VideoFeatures,
    text: types.TextFeatures,
    *,
    train=False,
  ) -> types.DecoderOutput:
    """The deformable transformer, frame by frame, with scores and boxes."""
    memory = self.encode_maps(fused, video, train=train)
    memory = self.decouple(memory, text)
    return self.decode(memory, video, text, train=train)

  def encode_maps(self, fused, video: types.VideoFeatures, *, train=False):
    """The transformer's encoder: four maps with the shapes of `fused`."""
    b, t = fused[0].shape[:2]
    per_frame = lambda x: jnp.repeat(types.repeat_rows(x, b), t, 0)
    positions = [
      per_frame(layers.pixel_positions(valid, self.variant.width))
      for valid in video.level_valid
    ]
    memory = self.transformer.encode(
      [x.reshape(b * t, *x.shape[2:]) for x in fused],
      positions,
      [per_frame(valid) for valid in video.level_valid],
      train=train,
    )
    return tuple(x.reshape(b, t, *x.shape[1:]) for x in memory)

  def decouple(self, memory, text: types.TextFeatures):
    """Encoded maps float[B * E, T, h, w, C] of each expression; those of SgMg
    stay as they are."""
    if self.variant.decouple == "features":
      return multi_instance.decouple(self.decouple_module, memory, text)
    return tuple(types.repeat_rows(x, len(text.sentence)) for x in memory)

  def decode(
    self,
    memory,
    video: types.VideoFeatures,
    text: types.TextFeatures,
    *,
    train=False,
  ) -> types.DecoderOutput:
    """The transformer's decoder on the encoded maps, scores and boxes."""
    b, t = memory[0].shape[:2]
    per_frame = lambda x: jnp.repeat(types.repeat_rows(x, b), t, 0)
    query_embed = self.query_embed.embedding
    if self.variant.decouple == "queries":
      queries = multi_instance.decouple_queries(
        self.decouple_module, query_embed, text
      )
    else:
      queries = jnp.repeat(text.sentence[:, None], len(query_embed), 1)
    hidden, boxes, reference = self.transformer.decode(
      [x.reshape(b * t, *x.shape[2:]) for x in memory],
      [per_frame(valid) for valid in video.level_valid],
      per_frame(queries),
      query_embed,
      self.bbox_embed,
      train=train,
    )
    unfold = lambda x: x.reshape(*x.shape[:-3], b, t, *x.shape[-2:])
    with precision_lib.exact():
      logits = jnp.stack(
        [head(x)[..., 0] for head, x in zip(self.class_embed, hidden)]
      )
    boxes = unfold(boxes)
    mask_features = None
    if self.variant.decoder == "fpn":
      mask_features = self.pixel_decoder(memory[:3], video.low_levels[0], text)
    return types.DecoderOutput(
      hidden=unfold(hidden),
      logits=logits.reshape(-1, b, t, logits.shape[-1]),
      boxes=boxes,
      references=jax.lax.stop_gradient(boxes),
      init_reference=unfold(reference),
      memory=tuple(memory[:3]),
      mask_features=mask_features,
    )

  def patch_masks(self, decoded, video, layer: int = -1, query=None):
    """Patch logits float[B, T, Q, h/8, w/8, 16] of one decoder layer, or the
    labels that the variant's ablation gives in their place.

    With query int[B], only that query's: float[B, T, 1, h/8, w/8, 16].
    """
    hidden, references = decoded.hidden[layer], decoded.references[layer]
    if query is not None:
      hidden, references = (
        types.take_query(x, query, axis=2)[:, :, None]
        for x in (hidden, references)
      )
    return self._patch_masks(hidden, references, decoded, video)

  def patch_masks_of_layers(self, decoded, video):
    """Patch logits float[B, T, N, Q, h/8, w/8, 16] of all decoder layers."""
    n, b, t, q, _ = decoded.hidden.shape
    # As queries of one layer: the maps are then read once.
    join = lambda x: jnp.moveaxis(x, 0, 2).reshape(b, t, n * q, -1)
    patches = self._patch_masks(
      join(decoded.hidden), join(decoded.references), decoded, video
    )
    return patches.reshape(b, t, n, q, *patches.shape[3:])

  def _patch_masks(self, hidden, references, decoded, video):
    maps, stride = decoded.memory, patch_kernels.STRIDE
    if decoded.mask_features is not None:
      maps, stride = [decoded.mask_features], fpn.STRIDE
    return patch_kernels.apply_patch_kernels(
      maps,
      self.controller(hidden),
      references[..., :2],
      types.repeat_rows(video.size, len(hidden)),
      self.variant.patch,
      stride,
    )

  def refine(self, patches, video: types.VideoFeatures):
    """Full-resolution mask logits [B * E, T, ..., H, W], float32 or float64, of
    patch logits float[B * E, T, ..., h/8, w/8, 16], one or several a frame."""
    (b, t), shape = video.low_levels[0].shape[:2], patches.shape
    # All patches of a frame together: its features are convolved once.
    labels = patches.reshape(b, shape[0] // b, t, -1, *shape[-3:])
    labels = jnp.moveaxis(labels, 1, 2).reshape(-1, *shape[-3:])
    if self.variant.refine:
      labels = self.mask_refine(
        labels, [x.reshape(-1, *x.shape[2:]) for x in video.low_levels]
      )
    h, w = video.low_levels[0].shape[2:4]
    masks = patch_kernels.to_masks(
      precision_lib.at_least_float32(labels), (4 * h, 4 * w)
    )
    masks = masks.reshape(b, t, shape[0] // b, -1, *masks.shape[1:])
    masks = jnp.moveaxis(masks, 2, 1)
    return masks.reshape(*shape[:-3], *masks.shape[-2:])

  def segment(self, decoded: types.DecoderOutput, video: types.VideoFeatures):
    """Mask logits of the best query, and which one that is.

    The query with the highest mean score over the clip's real frames serves
    all frames.

    Returns:
      float32[B * E, T, H, W] at padded size, int32[B * E].
    """
    query = best_query(decoded.logits[-1], video.num_frames)
    patches = self.patch_masks(decoded, video, query=query)
    return self.refine(patches[:, :, 0], video), query

  def __call__(
    self,
    frames,
    pixel_valid,
    size,
    tokens,
    token_valid,
    num_frames=None,
    *,
    train=False,
  ):
    """All steps; returns (masks, query) of `segment` and the
    `DecoderOutput`."""
    video = self.encode_video(
      frames, pixel_valid, size, num_frames, train=train
    )
    text = self.encode_text(tokens, token_valid, train=train)
    fused = self.fuse(video, text)
    decoded = self.transform(fused, video, text, train=train)
    return self.segment(decoded, video), decoded


def _first_box_bias(key, shape, dtype=jnp.float32):
  """Boxes start small: the logits of width and height are -2."""
  del key
  return jnp.zeros(shape, dtype).at[2:].set(-2.0)


def _resize_valid(valid, size):
  """Nearest-neighbour resize of bool[B, H, W] to `size`, index floor(i H/h)."""
  rows = np.arange(size[0]) * valid.shape[1] // size[0]
  columns = np.arange(size[1]) * valid.shape[2] // size[1]
  return valid[:, rows][:, :, columns]


def best_query(logits, num_frames) -> jax.Array:
  """int32[B]: highest mean sigmoid of float[B, T, Q] over real frames."""
  real = jnp.arange(logits.shape[1]) < num_frames
  scores = jnp.where(real[:, None], nn.sigmoid(logits), 0)
  return jnp.argmax(jnp.sum(scores, 1), -1).astype(jnp.int32)


def init_params(model: SgMg, key: jax.Array):
  """Initial parameters; jit or `jax.eval_shape` it for large models."""
  side = types.MIN_PADDED_SIDE + 16
  frames = jnp.zeros((1, 1, side, side, 3))
  tokens = jnp.zeros((1, 4), jnp.int32)
  return model.init(
    key,
    frames,
    jnp.ones((1, side, side), bool),
    jnp.full((1, 2), side),
    tokens,
    jnp.ones((1, 4), bool),
  )["params"]
