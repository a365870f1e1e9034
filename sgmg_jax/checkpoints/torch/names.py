"""Released PyTorch state dict <-> Flax parameter tree, bit for bit.

The parameter tree mirrors the released names, so this file has rules and no
table of layers:

  * a torch key is split at its dots; an integer part joins the part before
    it: `layers.0.blocks.1` is `layers_0/blocks_1`;
  * `weight` is `kernel` (linear and convolution layers, output axis last),
    `scale` (norms) or `embedding`; which of the three, the Flax tree knows;
  * packed attention `in_proj_weight` is `in_proj/kernel`;
  * any other parameter keeps its name and shape.

Two things in a released state dict are no parameters here. Buffers
(`relative_position_index`, `position_ids`, `num_batches_tracked`) are constants
of the architecture or of a training that is over, and
`transformer.decoder.bbox_embed.*` is `bbox_embed.*` a second time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from sgmg_jax import errors
from sgmg_jax.model import window_attention

Path = tuple[str, ...]
Array = Any  # numpy.ndarray, jax.Array or jax.ShapeDtypeStruct

_LEAVES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
_INDEXED = re.compile(r"^(.+?)((?:_\d+)+)$")
_BUFFERS = ("relative_position_index", "position_ids", "num_batches_tracked")
_TWIN = "transformer.decoder."


def torch_key(path: Path) -> str:
  """Name in the released state dict of the parameter at a Flax path."""
  *modules, leaf = path
  if modules and modules[-1] == "in_proj":
    leaf = {"kernel": "weight", "bias": "bias"}[leaf]
    modules, leaf = modules[:-1], f"in_proj_{leaf}"
  parts = []
  for module in modules:
    indexed = _INDEXED.match(module)
    if indexed:
      name, indices = indexed.groups()
      parts += [name, *indices[1:].split("_")]
    else:
      parts.append(module)
  return ".".join([*parts, _LEAVES.get(leaf, leaf)])


def is_buffer(key: str) -> bool:
  """Whether a released name is a constant rather than a parameter."""
  return key.rpartition(".")[2] in _BUFFERS


def from_torch(
  state_dict: Mapping[str, np.ndarray],
  abstract_params: Mapping,
  *,
  source: str = "state dict",
) -> dict:
  """Parameters from a released state dict, in the tree's own layout.

  Args:
    state_dict: numpy arrays by released name. Buffers are ignored; the second
      name of the box heads may be absent.
    abstract_params: nested dict of anything with a `shape`, as returned by
      `jax.eval_shape` of the model's `init`.
    source: what to call the state dict in an error.

  Returns:
    Nested dict of numpy arrays like `abstract_params`; dtypes as given.

  Raises:
    UserError: lists every missing, unexpected, mis-shaped or contradictory
      entry.
  """
  target = traverse_util.flatten_dict(abstract_params)
  keys = {path: torch_key(path) for path in target}
  known = set(keys.values())
  params, missing, misfits = {}, [], []
  for path, key in keys.items():
    if key not in state_dict:
      missing.append(key)
      continue
    array = np.asarray(state_dict[key])
    expected = _torch_shape(path, target[path].shape)
    if array.shape != expected:
      misfits.append(f"{key} is {array.shape}, expected {expected}")
      continue
    params[path] = _to_flax(path, array)
  unexpected, contradictory = [], []
  for key in state_dict:
    if is_buffer(key):
      continue
    if _untwinned(key) not in known:
      unexpected.append(key)
    elif key != _untwinned(key) and _untwinned(key) in state_dict:
      if not _same(state_dict[key], state_dict[_untwinned(key)]):
        contradictory.append(f"{key} differs from {_untwinned(key)}")
  raise_misfits(source, missing, unexpected, misfits + contradictory)
  return traverse_util.unflatten_dict(params)


def to_torch(params: Mapping) -> dict[str, np.ndarray]:
  """Released state dict of a parameter tree, buffers and twins included.

  Inverse of `from_torch`, bit for bit; the released code loads the result of
  a whole model strictly.
  """
  state_dict = {}
  for path, array in traverse_util.flatten_dict(params).items():
    key = torch_key(path)
    array = _to_torch(path, np.asarray(array))
    state_dict[key] = array
    if path[0].startswith("bbox_embed_"):
      state_dict[_TWIN + key] = array
    if path[-1] == "relative_position_bias_table":
      index = key.replace("_bias_table", "_index")
      window = window_attention.window_of_table(len(array))
      state_dict[index] = window_attention.relative_position_index(window)
  return state_dict


def raise_misfits(
  source: str, missing: list[str], unexpected: list[str], misfits: list[str]
) -> None:
  """Raise one UserError that lists every entry, if there is any."""
  kinds = (
    ("missing", missing),
    ("unexpected", unexpected),
    ("wrong", misfits),
  )
  report = [
    f"{len(entries)} {kind}: {', '.join(entries)}"
    for kind, entries in kinds
    if entries
  ]
  if report:
    raise errors.UserError(
      f"{source} does not fit the model: {'; '.join(report)}"
    )


def _untwinned(key: str) -> str:
  return key.removeprefix(_TWIN) if ".bbox_embed." in key else key


def _to_flax(path: Path, array: np.ndarray) -> np.ndarray:
  # (out, in, *window) -> (*window, in, out)
  if path[-1] != "kernel":
    return array
  return np.ascontiguousarray(np.moveaxis(array, (1, 0), (-2, -1)))


def _to_torch(path: Path, array: np.ndarray) -> np.ndarray:
  if path[-1] != "kernel":
    return array
  return np.ascontiguousarray(np.moveaxis(array, (-2, -1), (1, 0)))


def _torch_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
  if path[-1] != "kernel":
    return tuple(shape)
  *window, inputs, outputs = shape
  return (outputs, inputs, *window)


def _same(a: Array, b: Array) -> bool:
  # Bytes, so that NaN equals itself and -0 differs from 0.
  a, b = np.asarray(a), np.asarray(b)
  return a.shape == b.shape and a.tobytes() == b.tobytes()
