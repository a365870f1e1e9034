"""The loss terms against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from sgmg_jax.losses import terms


def test_corners_of_known_boxes():
  boxes = jnp.array([[0.5, 0.4, 0.2, 0.6], [0.0, 0.0, 0.0, 0.0]])
  corners = terms.to_corners(boxes)
  np.testing.assert_allclose(corners[0], [0.4, 0.1, 0.6, 0.7], rtol=1e-6)
  np.testing.assert_array_equal(corners[1], np.zeros(4))


def test_l1_sums_the_coordinates():
  a, b = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.array([0.2, 0.0, 0.3, 0.8])
  np.testing.assert_allclose(terms.l1(a, b), 0.7, rtol=1e-6)


def test_giou_of_known_boxes():
  # Unit boxes one apart: no overlap, enclosing 3 x 1, union 2.
  a, b = jnp.array([0.5, 0.5, 1.0, 1.0]), jnp.array([2.5, 0.5, 1.0, 1.0])
  np.testing.assert_allclose(terms.giou(a, b), -1 / 3, atol=1e-5)
  # Half overlapping: inter .5, union 1.5, enclosing 1.5.
  c = jnp.array([1.0, 0.5, 1.0, 1.0])
  np.testing.assert_allclose(terms.giou(a, c), 1 / 3, atol=1e-5)
  np.testing.assert_allclose(terms.giou(a, a), 1.0, atol=1e-5)


def test_giou_and_its_gradient_are_finite_for_empty_boxes():
  zero = jnp.zeros(4)
  value, grad = jax.value_and_grad(lambda x: terms.giou(x, zero))(zero)
  assert np.isfinite(value) and np.isfinite(grad).all()


def test_focal_is_the_textbook_formula():
  logits = np.linspace(-6, 6, 13).astype(np.float32)
  for target in (0.0, 1.0):
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    p_t = p if target else 1 - p
    alpha_t = 0.25 if target else 0.75
    expected = -alpha_t * (1 - p_t) ** 2 * np.log(p_t)
    actual = terms.sigmoid_focal(jnp.array(logits), jnp.array(target))
    np.testing.assert_allclose(actual, expected, rtol=2e-5)


def test_focal_of_sure_logits():
  """Compiled; the reference keeps p and 1 - p apart, in float64."""
  logits = np.linspace(-40, 40, 161)
  p, rest = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits))
  focal = jax.jit(terms.sigmoid_focal)
  for target, right, wrong, alpha in ((1, p, rest, 0.25), (0, rest, p, 0.75)):
    actual = focal(jnp.asarray(logits, jnp.float32), jnp.full(161, target > 0))
    expected = -alpha * wrong**2 * np.log(right)
    np.testing.assert_allclose(actual, expected, rtol=3e-6, atol=1e-9)


def test_focal_stays_finite_for_large_logits():
  grad = jax.grad(lambda x: terms.sigmoid_focal(x, jnp.array(1.0)))(-1e4)
  assert np.isfinite(grad)
  np.testing.assert_allclose(
    terms.sigmoid_focal(jnp.array(-200.0), jnp.array(1.0)), 50.0, rtol=1e-6
  )


def test_dice_sums_frames_jointly():
  # Frame 0 is perfect, frame 1 wholly missed: 2*4+1 over 4 + 8 + 1.
  logits = jnp.stack([jnp.full((2, 2), 50.0), jnp.full((2, 2), -50.0)])
  targets = jnp.ones((2, 2, 2), bool)
  value = terms.dice(logits, targets, (0, 1, 2))
  np.testing.assert_allclose(value, 1 - 9 / 13, rtol=1e-6)
