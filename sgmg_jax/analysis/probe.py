"""Run a part of a model on an example, and keep what modules return."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from sgmg_jax.analysis.examples import Example
from sgmg_jax.checkpoints import native
from sgmg_jax.inference import preprocess, stages
from sgmg_jax.model import sgmg


class Probe:
  """A checkpoint that answers one question about examples."""

  def __init__(
    self,
    checkpoint: native.Checkpoint,
    function: Callable[..., Any],
    capture: str = "",
  ):
    """Compile nothing yet.

    Args:
      checkpoint: a whole model.
      function: of the bound model, its input (frames, pixel_valid, size,
        num_frames) as of `SgMg.encode_video`, and `TextFeatures`.
      capture: regular expression on names of the model's modules whose results
        are kept, with what they `sow`.
    """
    self.stages = stages.Stages(checkpoint)
    self.model = sgmg.SgMg(checkpoint.variant)

    def is_captured(module, method):
      name = module.name or ""
      return method == "__call__" and bool(re.fullmatch(capture, name))

    def run(params, clip, size, num_frames, text):
      frames, valid = preprocess.normalise(clip, size)
      inputs = frames, valid, size, num_frames
      return self.model.apply(
        {"params": params},
        inputs,
        text,
        method=function,
        capture_intermediates=is_captured,
        mutable=["intermediates"],
      )

    self._run = jax.jit(run)

  def __call__(
    self, example: Example
  ) -> tuple[stages.PreparedClip, Any, Mapping[str, Any]]:
    """Ask about an example.

    Returns:
      The clip as the model saw it; the function's result; and, by the names of
      modules, {"__call__": what each call returned, and what was sown}. All
      arrays are numpy's.
    """
    (clip,) = self.stages.prepare(
      example.frames, window=len(example.frames), whole=False
    )
    (text,) = self.stages.encode_texts([example.sentence], group=1)
    result, state = self._run(
      self.stages.params,
      clip.pixels,
      np.array([clip.geometry.size], np.int32),
      np.int32(clip.length),
      text.features,
    )
    kept = state.get("intermediates", {})
    return clip, *jax.device_get((result, kept))
