"""Operations counted from traced programs."""

import jax
import jax.numpy as jnp

from sgmg_jax.training import operations


def test_operations_are_counted_in_loops_and_branches():
  x = jnp.ones((3, 4))

  def loop(x):
    double = lambda x, _: (jnp.tanh(x @ jnp.ones((4, 4))), None)
    return jax.lax.scan(double, x, length=5)[0]

  def branches(x):
    more = lambda x: loop(x) + loop(x)
    return jax.lax.platform_dependent(x, cpu=more, default=loop)

  count = lambda f, *args: operations.count_flops(
    jax.make_jaxpr(f)(*args).jaxpr
  )
  assert count(loop, x) == 5 * 2 * 3 * 4 * 4
  assert count(jax.jit(branches), x) == count(loop, x)
  kernel = jnp.ones((3, 3, 4, 8))
  conv = lambda x: jax.lax.conv_general_dilated(
    x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  assert count(conv, jnp.ones((1, 5, 6, 4))) == 2 * 9 * 4 * 8 * 3 * 4
