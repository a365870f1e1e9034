import numpy as np
import pytest

from sgmg_jax.pictures import colours, line_chart


@pytest.mark.parametrize(
  "largest, step, most",
  [(10, 2, 10), (0.9, 0.2, 1.0), (1234, 500, 1500), (47, 10, 50)],
)
def test_axes_have_round_numbers(largest, step, most):
  assert line_chart._ticks(largest) == pytest.approx((step, most))


def test_curves_are_where_their_numbers_are():
  image = np.asarray(
    line_chart.draw(
      {"up": [(0, 0), (10, 10)], "low": [(0, 1), (10, 1)]}, x="n", y="rate"
    )
  )
  left, top, right, bottom = line_chart._BOX

  def shows(x, y, curve):
    column = round(left + x / 10 * (right - left))
    row = round(bottom - y / 10 * (bottom - top))
    return image[row, column].tolist() == list(colours.colour_of(curve))

  assert shows(5, 5, 0) and shows(8, 8, 0) and shows(8, 1, 1)
  assert not shows(5, 8, 0) and not shows(8, 5, 1)
