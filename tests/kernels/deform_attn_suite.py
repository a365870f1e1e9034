"""What every implementation of deformable attention must do.

A test file of an implementation subclasses `Suite` and says which; the
numbers come from `reference` in float64 and from golden files.
"""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sgmg_jax.kernels import deform_attn
from sgmg_jax.kernels.deform_attn import reference as definition

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
# Odd sizes; the last level is smaller than a bilinear window.
SHAPES = ((7, 9), (4, 5), (3, 1))
NAMES = ("values", "locations", "weights")


def close(actual, expected, bound):
  """Largest difference within `bound` of the largest number."""
  actual, expected = (np.asarray(x, np.float64) for x in (actual, expected))
  assert actual.shape == expected.shape
  error = np.abs(actual - expected).max() / np.abs(expected).max()
  assert error <= bound, f"{error:.2e} > {bound:.0e}"


def random_inputs(queries, *, frames=2, heads=2, channels=8, points=3, seed=0):
  """Values, locations beyond the border on every side, weights."""
  random = np.random.RandomState(seed + queries)
  size = sum(h * w for h, w in SHAPES)
  samples = (frames, queries, heads, len(SHAPES), points)
  return [
    x.astype(np.float32)
    for x in (
      random.standard_normal((frames, size, heads, channels)),
      random.uniform(-0.4, 1.4, (*samples, 2)),
      random.standard_normal(samples),
    )
  ]


def random_cotangent(inputs):
  values, locations, _ = inputs
  n, _, m, d = values.shape
  shape = (n, locations.shape[1], m * d)
  return np.random.RandomState(1).standard_normal(shape).astype(np.float32)


def reference(
  values, locations, weights, cotangent=None, *, level_shapes=SHAPES
):
  """The definition in float64.

  Returns:
    The output [N, Q, M * D]; with a cotangent, the three gradients instead.
  """
  n, _, m, d = values.shape
  q = locations.shape[1]
  zero = np.zeros((n, q, m * d))
  # Queries of weight zero, so that most calls share a program.
  pad = lambda x: np.pad(
    np.float64(x), [(0, 0), (0, -q % 144)] + [(0, 0)] * (x.ndim - 2)
  )
  padded = (
    pad(locations),
    pad(weights),
    pad(zero if cotangent is None else cotangent),
  )
  with jax.enable_x64(True):
    out, (d_values, *others) = _exact(
      np.float64(values), *padded, tuple(map(tuple, level_shapes))
    )
  if cotangent is None:
    return out[:, :q]
  return [d_values, *(x[:, :q] for x in others)]


@functools.partial(jax.jit, static_argnums=4)
def _exact(values, locations, weights, cotangent, level_shapes):
  run = functools.partial(
    definition.deformable_attention, level_shapes=level_shapes
  )
  out, pull_back = jax.vjp(run, values, locations, weights)
  return out, pull_back(cotangent)


def gradients_of(function, inputs, cotangent):
  def loss(*args):
    out = function(*args).astype(jnp.float32)
    return jnp.vdot(out, jnp.asarray(cotangent, jnp.float32))

  return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*inputs)


def lowered_text(function, inputs, platform):
  """The program for a platform, which need not be here, with scopes."""
  traced = jax.jit(function).trace(*inputs)
  return traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)


class Suite:
  """Set `implementation` and, as needed, the rest.

  Attributes:
    implementation: its name.
    interpret: whether it runs in the interpreter here.
    platform: what it is for.
    marker: what the program for that platform has only if it is used.
    channels: per head, of random inputs.
    queries: numbers of queries; one of them 1, and some no multiple of what
      the implementation takes at once.
    bound: of float32 results relative to the largest.
  """

  implementation: str
  interpret = False
  platform = "cpu"
  marker: str
  channels = 8
  queries = (1, 5, 63, 64, 131)
  bound = 1e-5
  bound_bfloat16 = 2**-7

  def attend(self, *inputs, level_shapes=SHAPES):
    return deform_attn.deformable_attention(
      *inputs,
      level_shapes=level_shapes,
      implementation=self.implementation,
      interpret=self.interpret,
    )

  def inputs(self, queries=70, **sizes):
    return random_inputs(queries, channels=self.channels, **sizes)

  def check(self, inputs, bound=None):
    """Values and gradients against the reference."""
    bound = bound or self.bound
    out = jax.jit(self.attend)(*inputs)
    assert out.dtype == inputs[0].dtype
    close(out, reference(*inputs), bound)
    cotangent = random_cotangent(inputs)
    ours = gradients_of(self.attend, inputs, cotangent)
    expected = reference(*inputs, cotangent)
    for array, gradient, exact in zip(inputs, ours, expected, strict=True):
      assert gradient.dtype == array.dtype
      close(gradient, exact, bound)

  def test_golden_values_and_gradients(self):
    data = np.load(GOLDEN / "deformable_sampling.npz")
    inputs = [data[name] for name in ("value", "locations", "weights")]
    shapes = tuple(map(tuple, data["level_shapes"].tolist()))
    run = functools.partial(self.attend, level_shapes=shapes)
    close(jax.jit(run)(*inputs), data["out"], self.bound)
    ours = gradients_of(run, inputs, data["cotangent"])
    for name, gradient in zip(("value", "locations", "weights"), ours):
      close(gradient, data[f"grad_{name}"], self.bound)

  def test_values_and_gradients(self, subtests):
    for queries in self.queries:
      with subtests.test(queries=queries):
        self.check(self.inputs(queries))

  def test_one_head_one_point_one_frame(self):
    self.check(self.inputs(9, frames=1, heads=1, points=1))

  def test_locations_on_pixels_have_the_slope_from_above(self):
    values, locations, weights = self.inputs()
    sizes = np.array(SHAPES, np.float32)[:, None, ::-1]
    # Exactly representable, unlike most fractions of 7: x * 8 / 8 - 0.5.
    shapes = ((8, 8), (4, 4), (2, 2))
    random = np.random.RandomState(0)
    n, q, m, v, p, _ = locations.shape
    sizes = np.array(shapes)[:, None, ::-1]
    pixel = random.randint(-1, 9, (n, q, m, v, p, 2))
    locations = ((pixel + 0.5) / sizes).astype(np.float32)
    rows = sum(h * w for h, w in shapes)
    shape = (n, rows, m, self.channels)
    values = random.standard_normal(shape).astype(np.float32)
    inputs = (values, locations, weights)
    run = functools.partial(self.attend, level_shapes=shapes)
    exact = functools.partial(reference, level_shapes=shapes)
    close(run(*inputs), exact(*inputs), self.bound)
    cotangent = random_cotangent(inputs)
    ours = gradients_of(run, inputs, cotangent)
    for gradient, expected in zip(ours, exact(*inputs, cotangent)):
      close(gradient, expected, self.bound)

  def test_far_off_and_infinite_locations_read_zero(self):
    values, locations, weights = self.inputs(64)
    for far in (1e30, -1e30, np.inf, -np.inf):
      inputs = (values, np.full_like(locations, far), weights)
      assert not np.any(self.attend(*inputs)), far
      cotangent = random_cotangent(inputs)
      for gradient in gradients_of(self.attend, inputs, cotangent):
        assert not np.any(gradient), far

  def test_bfloat16_values_accumulate_in_float32(self):
    values, *others = self.inputs()
    self.check((values.astype(jnp.bfloat16), *others), self.bound_bfloat16)

  def test_float32_coordinates_whatever_the_values(self):
    """bfloat16 coordinates would be off by a third of a pixel here."""
    values, locations, weights = self.inputs()
    values = np.float32(values.astype(jnp.bfloat16))
    out = self.attend(values.astype(jnp.bfloat16), locations, weights)
    close(out, reference(values, locations, weights), self.bound_bfloat16)

  def test_vmap(self):
    first, second = (self.inputs(seed=seed) for seed in (0, 1))
    cotangent = random_cotangent(first)

    def both(*args):
      return self.attend(*args), gradients_of(self.attend, args, cotangent)

    stacked = jax.vmap(both)(*(np.stack(x) for x in zip(first, second)))
    for index, inputs in enumerate((first, second)):
      for mapped, alone in zip(
        jax.tree.leaves(stacked), jax.tree.leaves(both(*inputs))
      ):
        close(mapped[index], alone, self.bound)

  def test_nested_vmap_and_unmapped_arguments(self):
    values, locations, weights = self.inputs()
    weights = np.stack([weights, 2 * weights, 3 * weights]).reshape(
      3, 1, *weights.shape
    )
    inner = jax.vmap(self.attend, (None, None, 0))
    out = jax.vmap(inner, (None, None, 0))(values, locations, weights)
    expected = reference(values, locations, weights[0, 0])
    for factor in (1, 2, 3):
      close(out[factor - 1, 0], factor * expected, self.bound)

  def test_remat_has_the_same_gradients(self):
    inputs = self.inputs()
    cotangent = random_cotangent(inputs)
    plain = gradients_of(self.attend, inputs, cotangent)
    again = gradients_of(jax.checkpoint(self.attend), inputs, cotangent)
    for one, other in zip(plain, again):
      np.testing.assert_array_equal(one, other)

  def test_deterministic(self):
    inputs = self.inputs()
    cotangent = random_cotangent(inputs)
    first, second = (
      gradients_of(self.attend, inputs, cotangent) for _ in range(2)
    )
    for one, other in zip(first, second):
      np.testing.assert_array_equal(one, other)

  def test_sharded_frames_and_heads_are_not_gathered(self):
    inputs = self.inputs()
    cotangent = random_cotangent(inputs)
    gradients = functools.partial(gradients_of, self.attend)
    expected = gradients(inputs, cotangent)
    frames, heads = PartitionSpec("data"), PartitionSpec(None, None, "data")
    for spec, axis_type in (
      (frames, AxisType.Auto),
      (heads, AxisType.Auto),
      (frames, AxisType.Explicit),
    ):
      devices = jax.make_mesh((2,), ("data",), axis_types=(axis_type,))
      sharding = NamedSharding(devices, spec)
      placed = [jax.device_put(x, sharding) for x in inputs]
      run = jax.jit(lambda *args: gradients(args, cotangent))
      program = run.lower(*placed).compile()
      for collective in ("all-gather", "all-to-all", "collective-permute"):
        assert collective not in program.as_text(), spec
      for array, gradient, alone in zip(placed, program(*placed), expected):
        assert gradient.sharding.is_equivalent_to(array.sharding, array.ndim)
        close(gradient, alone, self.bound)

  def test_sharded_frames_of_one_head(self):
    inputs = [x[:, :, :1] for x in self.inputs()]
    devices = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(devices, PartitionSpec("data"))
    placed = [jax.device_put(x, sharding) for x in inputs]
    actual = jax.jit(self.attend)(*placed)
    close(actual, jax.jit(self.attend)(*inputs), self.bound)

  def test_inside_shard_map(self):
    inputs = self.inputs()
    devices = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec("data")
    run = jax.shard_map(
      lambda *args: jax.grad(lambda *args: self.attend(*args).sum(), 1)(*args),
      mesh=devices,
      in_specs=spec,
      out_specs=spec,
      check_vma=False,
    )
    expected = reference(*inputs, np.ones_like(random_cotangent(inputs)))
    close(jax.jit(run)(*inputs), expected[1], self.bound)

  def test_is_what_runs(self):
    """In the program, forward and backward; not in one of something else."""
    inputs = self.inputs()

    def forward(*args):
      return deform_attn.deformable_attention(
        *args, level_shapes=SHAPES, implementation=self.implementation
      )

    def backward(*args):
      _, pull = jax.vjp(forward, *args)
      return pull(random_cotangent(inputs))

    for function in (forward, backward):
      assert self.marker in lowered_text(function, inputs, self.platform)
