"""The training curve that a checkpoint's card carries."""

from sgmg_jax.training import export


def test_curve_keeps_names_and_rounds():
  entries = [
    {"step": 1, "total": 1.234567, "other": 3.0},
    {"step": 1, "val/j": 2.0},
    {"step": 2, "total": 0.5},
  ]
  assert export.thin(entries, ("total",)) == [
    {"step": 1, "total": 1.235},
    {"step": 2, "total": 0.5},
  ]


def test_curve_is_bounded_and_ends_with_the_end():
  entries = [{"step": i, "total": 1.0} for i in range(1, 1002)]
  curve = export.thin(entries, ("total",))
  assert 100 < len(curve) <= export.MAX_CURVE_POINTS
  assert curve[-1]["step"] == 1001
  assert export.thin([], ("total",)) == []
