"""Weight files of the PyTorch world: .pth, .pt, .bin and .safetensors.

Files of pickles are read with PyTorch's weights-only reader, which runs no
code of theirs; `argparse.Namespace`, in which released checkpoints keep their
command line, is the one addition. Safetensors files need no PyTorch.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import pathlib
import pickle
import re
import warnings
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from safetensors import numpy as safetensors_numpy

from sgmg_jax import errors

PICKLED = (".pth", ".pt", ".bin")
SAFE = (".safetensors",)
SUFFIXES = PICKLED + SAFE

# Where published checkpoints keep their state dict.
_HOLDERS = ("model", "state_dict")
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
  """A file's state dict: numpy arrays by name, and the other entries."""

  state_dict: dict[str, np.ndarray]
  extras: dict[str, Any]


def read(path: str | os.PathLike) -> WeightFile:
  """Reads a weight file, running none of the code it may carry.

  Raises:
    UserError: no such file, not a weight file, damaged, in need of PyTorch
      where that is not installed, or holding more than weights.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise errors.UserError(f"no such file: {path}")
  if path.suffix in SAFE:
    return WeightFile(_read_safetensors(path), {})
  if path.suffix not in PICKLED:
    raise errors.UserError(
      f"{path} is no weight file: expected one of {', '.join(SUFFIXES)}"
    )
  content = _unpickle(path)
  if not isinstance(content, Mapping):
    raise errors.UserError(
      f"{path} holds a {type(content).__name__}, expected a state dict"
    )
  holder = next((k for k in _HOLDERS if _is_mapping(content.get(k))), None)
  entries = content[holder] if holder else content
  extras = {k: v for k, v in content.items() if k != holder} if holder else {}
  return WeightFile(_arrays(path, entries), extras)


def write(
  path: str | os.PathLike, state_dict: Mapping[str, np.ndarray], kind: str
) -> None:
  """Writes a state dict as kind "safetensors" or "pth" ({"model": …}).

  Raises:
    UserError: "pth" without PyTorch.
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
    entries = safetensors.deserialize(path.read_bytes())
    return {
      name: np.frombuffer(entry["data"], _SAFE_DTYPES[entry["dtype"]]).reshape(
        entry["shape"]
      )
      for name, entry in entries
    }
  except KeyError as error:
    raise errors.UserError(
      f"{path} holds arrays of type {error}, which is not supported"
    ) from error
  except safetensors.SafetensorError as error:
    raise errors.UserError(
      f"{path} is damaged or no safetensors file ({error})"
    ) from error


def _unpickle(path: pathlib.Path) -> Any:
  torch = _torch(f"reading {path.name}")
  try:
    with (
      warnings.catch_warnings(),
      torch.serialization.safe_globals([argparse.Namespace]),
    ):
      warnings.simplefilter("ignore")
      return torch.load(path, map_location="cpu", weights_only=True)
  except pickle.UnpicklingError as error:
    code = re.search(r"GLOBAL (\S+)", str(error))
    raise errors.UserError(
      f"{path} refused: it holds {code[1] if code else 'a pickle'}, which "
      "could run code; expected weights only"
    ) from error
  # A damaged file makes the reader raise whatever its content leads to.
  except Exception as error:
    reason = str(error).strip().partition("\n")[0][:120]
    raise errors.UserError(
      f"{path} is damaged or no PyTorch weight file "
      f"({type(error).__name__}: {reason})"
    ) from error


def _arrays(path: pathlib.Path, entries: Mapping) -> dict[str, np.ndarray]:
  torch = _torch(f"reading {path.name}")
  others = [k for k, v in entries.items() if not torch.is_tensor(v)]
  if others or not entries:
    raise errors.UserError(
      f"{path} holds no state dict: expected tensors only, got "
      f"{', '.join(map(str, others)) or 'nothing'}"
    )
  # DistributedDataParallel puts "module." before every name.
  wrapped = all(str(k).startswith("module.") for k in entries)
  return {
    str(k).removeprefix("module." if wrapped else ""): _array(torch, v)
    for k, v in entries.items()
  }


def _array(torch, tensor) -> np.ndarray:
  tensor = tensor.detach()
  if tensor.dtype == torch.bfloat16:
    return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
  return tensor.numpy()


def _tensor(torch, array: np.ndarray):
  if array.dtype == ml_dtypes.bfloat16:
    return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
  return torch.from_numpy(array.copy())  # a copy: jax arrays are read-only


def _torch(purpose: str):
  try:
    import torch
  except ImportError as error:
    raise errors.UserError(
      f"{purpose} needs PyTorch: pip install sgmg_jax[convert] "
      "(.safetensors files need none)"
    ) from error
  return torch


def _is_mapping(value: Any) -> bool:
  return isinstance(value, Mapping)
