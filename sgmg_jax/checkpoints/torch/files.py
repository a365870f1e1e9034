"""Weight files of the PyTorch world: .pth, .pt, .bin and .safetensors.

All are read without PyTorch; `checkpoints/torch` reads what `torch.save` wrote
and runs nothing of it. Only writing .pth needs PyTorch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from sgmg_jax import errors
from sgmg_jax.checkpoints.torch import lookalikes, plain_types, pth

PICKLED = (".pth", ".pt", ".bin")
SAFE = (".safetensors",)
SUFFIXES = PICKLED + SAFE

# Where published checkpoints keep their state dict.
_HOLDERS = ("model", "state_dict", "model_state_dict")
# What wrappers of a model put before every name: DistributedDataParallel,
# torch.compile, a class that keeps the model in an attribute.
_WRAPPERS = ("module.", "_orig_mod.", "model.")
_SAFE_DTYPES = {
  "F64": np.float64,
  "F32": np.float32,
  "F16": np.float16,
  "BF16": ml_dtypes.bfloat16,
  "I64": np.int64,
  "I32": np.int32,
  "I16": np.int16,
  "I8": np.int8,
  "U8": np.uint8,
  "BOOL": np.bool_,
}


@dataclasses.dataclass(frozen=True)
class WeightFile:
  """A file's state dict: numpy arrays by name, and the other entries.

  Tensors among these are descriptions, their numbers were not read.
  """

  state_dict: dict[str, np.ndarray]
  extras: dict[str, Any]


def read(path: str | os.PathLike) -> WeightFile:
  """Read a weight file, running none of the code it may carry.

  Raises:
    UserError: no such file, not a weight file, damaged, or holding more than
      weights and plain values.
  """
  path = pathlib.Path(path)
  if not os.path.isfile(path):
    what = "is no file" if os.path.exists(path) else "no such file"
    raise errors.UserError(f"{what}: {path}")
  if path.suffix not in SUFFIXES:
    raise errors.UserError(
      f"{path} is no weight file: expected one of {', '.join(SUFFIXES)}"
    )
  lookalikes.refuse(path)
  if path.suffix in SAFE:
    return WeightFile(_unwrapped(_read_safetensors(path)), {})
  with pth.PthFile(path) as file:
    content = file.content
    if not isinstance(content, Mapping):
      raise errors.UserError(
        f"{path} holds a {type(content).__name__}, expected a state dict"
      )
    for holder in _HOLDERS:
      if isinstance(content.get(holder), Mapping):
        extras = {k: v for k, v in content.items() if k != holder}
        arrays = _arrays(path, file, content[holder])
        return WeightFile(_unwrapped(arrays), extras)
    return WeightFile(_unwrapped(_arrays(path, file, content)), {})


def write(
  path: str | os.PathLike, state_dict: Mapping[str, np.ndarray], kind: str
) -> None:
  """Write a state dict as kind "safetensors" or "pth" ({"model": …}).

  Raises:
    UserError: "pth" where PyTorch is not installed.
  """
  arrays = {k: np.asarray(v, order="C") for k, v in state_dict.items()}
  if kind == "safetensors":
    # "pt" is what PyTorch loaders look for before they accept the file.
    content = safetensors_numpy.save(arrays, metadata={"format": "pt"})
    # Not its save_file, which makes files that only their owner can read.
    pathlib.Path(path).write_bytes(content)
    return
  torch = _torch(f"writing {kind}")
  torch.save({"model": {k: _tensor(torch, v) for k, v in arrays.items()}}, path)


def sha256(path: str | os.PathLike) -> str:
  """Hex digest of a file's content."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  # By hand: safetensors' own numpy reader does not know bfloat16.
  try:
    entries = dict(safetensors.deserialize(path.read_bytes()))
    arrays = {
      name: np.frombuffer(entry["data"], _SAFE_DTYPES[entry["dtype"]]).reshape(
        entry["shape"]
      )
      for name, entry in entries.items()
      if entry["dtype"] in _SAFE_DTYPES
    }
  # ValueError and OverflowError: shapes that NumPy does not take.
  except (safetensors.SafetensorError, ValueError, OverflowError) as error:
    reason = errors.first_line(error, 120)
    raise errors.UserError(
      f"{path} is damaged, incomplete or no safetensors file ({reason})"
    ) from error
  special = [
    f"{name} is of {entry['dtype']}"
    for name, entry in entries.items()
    if name not in arrays
  ]
  _raise_on_misfits(path, special, [] if entries else ["nothing"])
  return arrays


def _arrays(
  path: pathlib.Path, file: pth.PthFile, entries: Mapping
) -> dict[str, np.ndarray]:
  special, others = [], [] if entries else ["nothing"]
  for key, value in entries.items():
    if isinstance(value, plain_types.Unsupported):
      special.append(f"{key} is {value.what}")
    elif not isinstance(value, plain_types.TENSORS):
      others.append(str(key))
  _raise_on_misfits(path, special, others)
  return {str(key): file.array(value) for key, value in entries.items()}


def _raise_on_misfits(path, special: list[str], others: list[str]) -> None:
  """Raise a UserError that lists what is no dense tensor, if anything."""
  if others:
    raise errors.UserError(
      f"{path} holds no state dict: expected tensors, or a dict of them under "
      f"{' or '.join(_HOLDERS)}, got {', '.join(others)}"
    )
  if special:
    raise errors.UserError(
      f"{path} holds what is not supported: {', '.join(special)}; expected "
      "dense tensors of float32, bfloat16 or float16"
    )


def _unwrapped(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The same by the names that the model itself gives."""
  while arrays:
    for prefix in _WRAPPERS:
      if all(name.startswith(prefix) for name in arrays):
        arrays = {k.removeprefix(prefix): v for k, v in arrays.items()}
        break
    else:
      break
  return arrays


def _tensor(torch, array: np.ndarray):
  if array.dtype == ml_dtypes.bfloat16:
    return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
  return torch.from_numpy(array.copy())  # a copy: jax arrays are read-only


def _torch(purpose: str):
  try:
    import torch
  except ImportError as error:
    raise errors.UserError(
      f"{purpose} needs PyTorch, its build for CPUs is enough: pip install "
      '"sgmg_jax[convert]" (--to safetensors needs none, PyTorch reads both)'
    ) from error
  return torch
