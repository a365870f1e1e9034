"""Small made-up weights and a small tokenizer."""

import json
import pathlib
import zlib

import numpy as np
import pytest

from sgmg_jax.model import window_attention

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def made_up(shapes):
  """A released state dict of the given shapes, each entry its own values."""
  state_dict = {}
  for key, shape in shapes.items():
    if key.endswith("relative_position_index"):
      state_dict[key] = window_attention.relative_position_index()
      continue
    # The box heads are in there twice, with the same values.
    twin = key.replace("transformer.decoder.bbox_embed", "bbox_embed")
    seed = zlib.crc32(twin.encode())
    value = np.random.default_rng(seed).standard_normal(shape)
    state_dict[key] = value.astype(np.float32)
  return state_dict


@pytest.fixture
def released_shapes():
  """Names and shapes of the real models by name."""

  def read(name):
    path = GOLDEN / f"state_dict_shapes_{name}.json"
    return {k: tuple(v) for k, v in json.loads(path.read_text()).items()}

  return read


@pytest.fixture
def mu_shapes():
  path = GOLDEN / "state_dict_shapes.json"
  return {k: tuple(v) for k, v in json.loads(path.read_text())["sgmg"].items()}


@pytest.fixture
def mu_state_dict(mu_shapes):
  """A whole small model as the released code would save it."""
  return made_up(mu_shapes)
