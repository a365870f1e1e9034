"""Deformable attention against golden numbers and a plain float64 form."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sgmg_jax.kernels import deform_attn
from sgmg_jax.kernels.deform_attn import xla

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SHAPES = ((7, 9), (4, 5), (3, 3))


def close(actual, expected, bound=1e-5):
  error = np.abs(np.asarray(actual, np.float64) - expected).max()
  assert error <= bound * np.abs(expected).max()


def plain(values, locations, weights, level_shapes):
  """The definition, one sample at a time, in float64."""
  n, _, m, d = values.shape
  q, p = locations.shape[1], locations.shape[4]
  out = np.zeros((n, q, m, d))
  start = 0
  for level, (h, w) in enumerate(level_shapes):
    grid = values[:, start : start + h * w].reshape(n, h, w, m, d)
    start += h * w
    for i, j, k, o in np.ndindex(n, q, m, p):
      x, y = locations[i, j, k, level, o] * (w, h) - 0.5
      for column in (int(np.floor(x)), int(np.floor(x)) + 1):
        for line in (int(np.floor(y)), int(np.floor(y)) + 1):
          if 0 <= column < w and 0 <= line < h:
            share = (1 - abs(x - column)) * (1 - abs(y - line))
            share *= weights[i, j, k, level, o]
            out[i, j, k] += share * grid[i, line, column, k]
  return out.reshape(n, q, m * d)


def random_inputs(num_queries, shapes=SHAPES, n=2, m=2, d=4, p=3):
  random = np.random.RandomState(num_queries)
  size = sum(h * w for h, w in shapes)
  # Beyond the border on every side.
  locations = random.uniform(-0.4, 1.4, (n, num_queries, m, len(shapes), p, 2))
  return [
    x.astype(np.float32)
    for x in (
      random.standard_normal((n, size, m, d)),
      locations,
      random.standard_normal((n, num_queries, m, len(shapes), p)),
    )
  ]


def golden_inputs():
  data = np.load(GOLDEN / "deformable_sampling.npz")
  shapes = [tuple(shape) for shape in data["level_shapes"].tolist()]
  return data, shapes


def gradients(function, inputs, cotangent):
  loss = lambda *args: jnp.vdot(function(*args), cotangent)
  return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*inputs)


def test_golden_values_and_gradients():
  data, shapes = golden_inputs()
  inputs = [data[name] for name in ("value", "locations", "weights")]
  run = lambda *args: deform_attn.deformable_attention(
    *args, level_shapes=shapes
  )
  close(jax.jit(run)(*inputs), data["out"])
  for name, gradient in zip(
    ("value", "locations", "weights"), gradients(run, inputs, data["cotangent"])
  ):
    close(gradient, data[f"grad_{name}"])


# Both sides of the border between few and many queries, and many that no
# chunk of the backward pass divides.
@pytest.mark.parametrize("num_queries", [1, 5, 63, 64, 131])
def test_values(num_queries):
  inputs = random_inputs(num_queries)
  out = deform_attn.deformable_attention(*inputs, level_shapes=SHAPES)
  close(out, plain(*(x.astype(np.float64) for x in inputs), SHAPES))


@pytest.mark.parametrize("form", ["scan", "rows"])
def test_forms_agree(form):
  inputs = random_inputs(70)
  frame = [jnp.asarray(x[0]) for x in inputs]
  function = {"scan": xla._sample_scan, "rows": xla._sample_rows}[form]
  expected = plain(*(x.astype(np.float64) for x in inputs), SHAPES)[0]
  close(function(*frame, level_shapes=SHAPES), expected)


@pytest.mark.parametrize("chunk_bytes", [2**12, 2**22])
def test_chunked_gradients_are_autodiff_of_rows(chunk_bytes, monkeypatch):
  monkeypatch.setattr(xla, "_BACKWARD_CHUNK_BYTES", chunk_bytes)
  inputs = [jnp.asarray(x[0]) for x in random_inputs(131)]
  cotangent = np.random.RandomState(0).standard_normal((131, 8))
  cotangent = cotangent.astype(np.float32)
  rows = lambda *args: xla._sample_rows(*args, level_shapes=SHAPES)
  explicit = xla._gradients_chunks(*inputs, cotangent, level_shapes=SHAPES)
  for ours, autodiff in zip(explicit, gradients(rows, inputs, cotangent)):
    close(ours, np.asarray(autodiff, np.float64))


def test_far_off_and_infinite_locations_read_zero():
  values, locations, weights = random_inputs(64)
  for far in (1e30, -1e30, np.inf, -np.inf):
    out = deform_attn.deformable_attention(
      values, np.full_like(locations, far), weights, level_shapes=SHAPES
    )
    assert not np.any(out)


def test_bfloat16_values_accumulate_in_float32():
  values, locations, weights = random_inputs(64)
  values = values.astype(jnp.bfloat16)
  out = deform_attn.deformable_attention(
    values, locations, weights, level_shapes=SHAPES
  )
  assert out.dtype == jnp.bfloat16
  exact = plain(np.float64(values), locations, weights, SHAPES)
  close(out, exact, bound=2**-8)


def test_vmap():
  inputs = random_inputs(70)
  run = lambda *args: deform_attn.deformable_attention(
    *args, level_shapes=SHAPES
  )
  expected = run(*inputs)
  stacked = jax.vmap(run)(*(np.stack([x, x[::-1]]) for x in inputs))
  close(stacked[0], np.float64(expected))
  close(stacked[1], np.float64(expected)[::-1])


@pytest.mark.parametrize(
  "change, message",
  [
    (dict(values=np.zeros((2, 9, 2, 4))), "values.shape"),
    (dict(locations=np.zeros((2, 64, 2, 3, 3, 3))), "locations.shape"),
    (dict(weights=np.zeros((2, 64, 2, 3, 2))), "weights.shape"),
    (dict(implementation="fast"), "implementation"),
  ],
)
def test_wrong_arguments(change, message):
  names = ("values", "locations", "weights")
  arguments = dict(zip(names, random_inputs(64)), level_shapes=SHAPES)
  with pytest.raises(ValueError, match=message):
    deform_attn.deformable_attention(**(arguments | change))
