"""Golden numbers of the released implementation, and its made-up weights."""

import json
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sgmg_jax import platforms
from sgmg_jax.checkpoints.torch import names
from sgmg_jax.model import sgmg, variants

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def golden_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
  """The made-up value of a released parameter; see the rule in README.md
  beside the golden files."""
  name = name.removeprefix("transformer.decoder.") if "bbox" in name else name
  random = np.random.RandomState(zlib.crc32(name.encode()))
  z = random.standard_normal(shape).astype(np.float32)
  if "relative_position_bias_table" in name:
    return np.float32(0.5) * z
  if len(shape) > 1:
    return z / np.sqrt(np.prod(shape[1:], dtype=np.float32))
  return (name.endswith("weight") + np.float32(0.2) * z).astype(np.float32)


def golden_state_dict(shapes: dict) -> dict[str, np.ndarray]:
  return {
    name: golden_weight(name, tuple(shape))
    for name, shape in shapes.items()
    if not names.is_buffer(name)
  }


class Golden:
  """Loads a golden file and compares with it."""

  def load(self, name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as file:
      return dict(file)

  def shapes(self, fixture: str) -> dict:
    path = GOLDEN / "state_dict_shapes.json"
    return json.loads(path.read_text())[fixture]

  def params(self, shapes, module, *args, **kwargs):
    """Golden weights for `module.init(key, *args, **kwargs)`; shapes by
    released name, or the name of a fixture."""
    shapes = self.shapes(shapes) if isinstance(shapes, str) else shapes
    abstract = jax.eval_shape(
      lambda: module.init(jax.random.key(0), *args, **kwargs)
    )["params"]
    return names.from_torch(golden_state_dict(shapes), abstract)

  def small_model(self, dtype, **sizes):
    """The small golden model that computes in `dtype`, and its weights; of
    Fast SgMg with random ones of what decouples, behind zeros."""
    model = sgmg.SgMg(variants.get_variant("mu", **sizes), dtype=dtype)
    abstract = jax.eval_shape(
      lambda: sgmg.init_params(model, jax.random.key(0))
    )
    decoupling = abstract.pop("decouple_module", None)
    state_dict = golden_state_dict(self.shapes("sgmg"))
    params = names.from_torch(state_dict, abstract)
    if decoupling:
      fill = lambda value, tree: jax.tree.map(
        lambda x: np.full(x.shape, value), tree
      )
      attention = {
        name: fill(float(name == "in_proj"), part)
        for name, part in decoupling["multihead_attn"].items()
      }
      params["decouple_module"] = {"multihead_attn": attention}
    return model, jax.tree.map(lambda x: np.asarray(x, dtype), params)

  def close(self, actual, expected, bound=1e-4, what=""):
    """Largest difference within `bound` of the golden standard deviation."""
    actual = np.asarray(actual, np.float64)
    assert actual.shape == expected.shape, what
    error = np.abs(actual - expected).max() / expected.std()
    assert error <= bound, f"{what}: {error:.2e} of the std"


@pytest.fixture(scope="session")
def golden():
  return Golden()


class SmallModel:
  """The small golden model with jitted steps."""

  def __init__(self, golden, **sizes):
    self.model, self.params = golden.small_model(jnp.float32, **sizes)

  def __call__(self, method, *args, **kwargs):
    def run(params, *args):
      return self.model.apply(
        {"params": params}, *args, method=method, **kwargs
      )

    return jax.jit(run)(self.params, *args)


@pytest.fixture(scope="session")
def small_model(golden):
  return SmallModel(golden)


@pytest.fixture(scope="session")
def small_fast(golden):
  """The same as a Fast SgMg whose decoupling ends in zeros."""
  return SmallModel(golden, decouple="features")


@pytest.fixture(
  params=["small_model", pytest.param("small_fast", marks=pytest.mark.slow)]
)
def either_model(request):
  """SgMg, and Fast SgMg, which of one sentence must give the same."""
  return request.getfixturevalue(request.param)


@pytest.fixture(params=["cpu", "cuda", "tpu"])
def platform(request):
  """Programs take the forms of each platform; Pallas kernels interpreted."""
  with platforms.assume(request.param):
    yield request.param


@pytest.fixture(scope="session")
def real_model():
  """(model, made-up parameters) of a released model's sizes."""

  def make(name):
    path = GOLDEN / f"state_dict_shapes_{name}.json"
    state_dict = golden_state_dict(json.loads(path.read_text()))
    model = sgmg.SgMg(variants.get_variant(name))
    abstract = jax.eval_shape(
      lambda: sgmg.init_params(model, jax.random.key(0))
    )
    return model, names.from_torch(state_dict, abstract)

  return make


def pad_clips(clips, multiple):
  """Frames (T, 3, H, W) of several clips as one batch.

  Returns (frames [B, T, H, W, 3], pixel_valid [B, H, W], size [B, 2]).
  """
  size = np.array([clip.shape[2:] for clip in clips])
  height, width = -(-size.max(0) // multiple) * multiple
  frames = np.zeros((len(clips), len(clips[0]), height, width, 3), np.float32)
  valid = np.zeros((len(clips), height, width), bool)
  for i, clip in enumerate(clips):
    h, w = size[i]
    frames[i, :, :h, :w] = clip.transpose(0, 2, 3, 1)
    valid[i, :h, :w] = True
  return jnp.asarray(frames), jnp.asarray(valid), jnp.asarray(size)


@pytest.fixture(scope="session")
def pad():
  return pad_clips


@pytest.fixture(scope="session")
def channels_first():
  """[B, T, h, w, C] or [F, h, w, C] -> [F, C, h, w], as golden files have."""
  return lambda x: np.moveaxis(np.asarray(x).reshape(-1, *x.shape[-3:]), -1, 1)
