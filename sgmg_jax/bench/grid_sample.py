"""Deformable attention in PyTorch: the yardstick of `bench.kernels`.

As the Deformable DETR paper (Zhu et al., 2021, equation 3) says it, on
`torch.nn.functional.grid_sample`: what PyTorch models run where no compiled
operation is at hand.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sgmg_jax.evaluation import parallel

Call = Callable[[], Any]


def installed() -> bool:
  return importlib.util.find_spec("torch") is not None


def calls(
  values: np.ndarray,
  locations: np.ndarray,
  weights: np.ndarray,
  cotangent: np.ndarray,
  level_shapes: Sequence[tuple[int, int]],
  dtype: str,
  queued: int = 1,
) -> tuple[str, Call, Call]:
  """Functions to time, on a GPU if PyTorch sees one, else on all cores.

  Args:
    values, locations, weights: as `deform_attn.deformable_attention` takes
      them, float32.
    cotangent: float32[N, Q, M * D].
    level_shapes: V pairs (h, w).
    dtype: of values; float32 on CPUs, whose grid_sample has no other.
    queued: how often a function does its work before it waits for it.

  Returns:
    A name, and two functions without arguments that return, when done, the
    output, and the output with the gradients of the three inputs.
  """
  import torch

  device = "cuda" if torch.cuda.is_available() else "cpu"
  if device == "cpu":
    torch.set_num_threads(parallel.usable_cores())
    dtype = "float32"
  values, locations, weights, cotangent = (
    torch.tensor(x, device=device, dtype=getattr(torch, dtype))
    for x in (values, locations, weights, cotangent)
  )
  inputs = [values, locations, weights]

  def done(results):
    if device == "cuda":
      torch.cuda.synchronize()
    return results

  def forward():
    with torch.no_grad():
      for _ in range(queued):
        out = _attend(*inputs, level_shapes)
    return done(out)

  def gradient():
    for _ in range(queued):
      leaves = [x.detach().requires_grad_() for x in inputs]
      out = _attend(*leaves, level_shapes)
      out.backward(cotangent)
    return done((out.detach(), *(leaf.grad for leaf in leaves)))

  return f"torch {dtype}", forward, gradient


def _attend(values, locations, weights, level_shapes):
  import torch

  n, _, m, d = values.shape
  q, p = locations.shape[1], locations.shape[4]
  grids = 2 * locations - 1
  levels = values.split([h * w for h, w in level_shapes], 1)
  samples = []
  for level, ((h, w), rows) in enumerate(zip(level_shapes, levels)):
    # [N, h * w, M, D] -> [N * M, D, h, w]
    image = rows.permute(0, 2, 3, 1).reshape(n * m, d, h, w)
    # [N, Q, M, P, 2] -> [N * M, Q, P, 2]
    grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
    samples.append(
      torch.nn.functional.grid_sample(
        image, grid, "bilinear", "zeros", align_corners=False
      )
    )
  # [N * M, D, Q, V * P], weighted by [N * M, 1, Q, V * P]
  factors = weights.transpose(1, 2).reshape(n * m, 1, q, len(levels) * p)
  out = (torch.cat(samples, -1) * factors).sum(-1)
  return out.reshape(n, m * d, q).transpose(1, 2)
