"""Gradient norms and learning rates by part."""

import jax.numpy as jnp
import pytest

from sgmg_jax.training import parts

PARAMS = {
  "backbone_0": {"kernel": jnp.array([3.0, 4.0])},
  "input_proj_0": {"kernel": jnp.array([2.0]), "bias": jnp.array([1.0])},
  "input_proj_1_0": {"kernel": jnp.array([2.0])},
  "text_encoder": {"kernel": jnp.array([7.0])},
}


def test_norms_are_those_of_trained_parts():
  trainable = {
    "backbone_0": {"kernel": True},
    "input_proj_0": {"kernel": False, "bias": True},
    "input_proj_1_0": {"kernel": True},
    "text_encoder": {"kernel": False},
  }
  norms = parts.gradient_norms(PARAMS, trainable)
  assert {name: float(norm) for name, norm in norms.items()} == {
    "grad_norm/backbone": 5.0,
    "grad_norm/input_proj": pytest.approx(3.0),
  }


def test_learning_rates_that_are_not_the_schedules():
  groups = (
    ("backbone_0/.*", 0.5),
    (".*/bias", 2.0),
    ("text_encoder/.*", None),
    (".*", 1.0),
  )
  assert parts.rate_multipliers(PARAMS, groups) == {
    "backbone": 0.5,
    "input_proj": 2.0,
  }
