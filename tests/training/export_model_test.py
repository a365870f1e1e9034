"""From a training run to a native checkpoint."""

import jax
import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.checkpoints import expected_shapes, native
from sgmg_jax.cli import train
from sgmg_jax.model import variants
from sgmg_jax.training import export_model, loop


def test_curve_keeps_names_and_rounds():
  entries = [
    {"step": 1, "total": 1.234567, "other": 3.0},
    {"step": 1, "val/j": 2.0},
    {"step": 2, "total": 0.5},
  ]
  assert export_model.thin(entries, ("total",)) == [
    {"step": 1, "total": 1.235},
    {"step": 2, "total": 0.5},
  ]


def test_curve_is_bounded_and_ends_with_the_end():
  entries = [{"step": i, "total": 1.0} for i in range(1, 1002)]
  curve = export_model.thin(entries, ("total",))
  assert 100 < len(curve) <= export_model.MAX_CURVE_POINTS
  assert curve[-1]["step"] == 1001
  assert export_model.thin([], ("total",)) == []


MU = variants.get_variant("mu")


def weights(**special):
  tree = jax.tree.map(
    lambda x: np.full(x.shape, 0.5, np.float32), expected_shapes.model(MU)
  )
  for name, value in special.items():
    tree["transformer"][name][0, 0] = value
  return tree


def run(folder, params, dtype, tokenizer):
  export_model.export(
    folder,
    params,
    MU,
    tokenizer,
    name="mine",
    licence="none",
    dtype=dtype,
    preprocess={"short_side": 144, "long_side": 320, "window": 8},
    config={"seed": 0},
    metrics=[],
  )


@pytest.fixture
def tokenizer(mu_checkpoint):
  return native.load(mu_checkpoint).tokenizer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_parameters_keep_their_values(tmp_path, tokenizer, dtype):
  run(tmp_path / "x", weights(level_embed=60000), dtype, tokenizer)
  leaf = native.load(tmp_path / "x").params["transformer"]["level_embed"]
  assert leaf.dtype == dtype and leaf[1, 1] == 0.5
  assert abs(float(leaf[0, 0]) - 60000) < 200


@pytest.mark.parametrize(
  "dtype,value,expected",
  [
    (
      "float16",
      70000,
      r"mine does not fit into float16, .*: transformer/level_embed \(up to 7e",
    ),
    ("bfloat16", 3.4e38, "fit into bfloat16, .*level_embed"),
    ("float32", np.inf, "mine has NaN.*transformer/level_embed has 1 of 256"),
    ("int8", 1, "dtype is 'int8', expected one of float32, bfloat16, float16"),
    ("float64", 1, "dtype is 'float64'"),
  ],
)
def test_what_a_dtype_cannot_hold_is_named(
  tmp_path, tokenizer, dtype, value, expected
):
  with pytest.raises(errors.UserError, match=expected):
    run(tmp_path / "x", weights(level_embed=value), dtype, tokenizer)
  assert not list(tmp_path.iterdir())


def test_a_run_refuses_its_exports_dtype_before_it_starts(tmp_path):
  config = train.load_config("refshapes:runlocal")
  config.export.dtype = "int8"
  with pytest.raises(errors.UserError, match="export.dtype is 'int8'"):
    loop.train(config, tmp_path / "run")
