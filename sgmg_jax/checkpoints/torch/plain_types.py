"""Types that a weight file may name, with their plain counterparts.

Tensors become `Tensor`, which says where its numbers lie; they are read when
they are asked for. Plain objects of Python and NumPy become themselves or
something as plain: a path a `PurePath`, a defaultdict a dict.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import math
import pathlib
import re
from typing import Any

import ml_dtypes
import numpy as np

from sgmg_jax.checkpoints.torch import unpickle

Name = unpickle.Name

# Their storages by the names that PyTorch pickles them under.
STORAGES = {
  "torch.DoubleStorage": np.float64,
  "torch.FloatStorage": np.float32,
  "torch.HalfStorage": np.float16,
  "torch.BFloat16Storage": ml_dtypes.bfloat16,
  "torch.LongStorage": np.int64,
  "torch.IntStorage": np.int32,
  "torch.ShortStorage": np.int16,
  "torch.CharStorage": np.int8,
  "torch.ByteStorage": np.uint8,
  "torch.BoolStorage": np.bool_,
  "torch.ComplexFloatStorage": np.complex64,
  "torch.ComplexDoubleStorage": np.complex128,
  "torch.storage.UntypedStorage": np.uint8,
  # Of tensors that are refused by name where they are a weight.
  "torch.QInt8Storage": np.int8,
  "torch.QUInt8Storage": np.uint8,
  "torch.QInt32Storage": np.int32,
}
# Those of other names are known, so that an error can name them.
_DTYPES = {
  "torch.float64": np.float64,
  "torch.float32": np.float32,
  "torch.float16": np.float16,
  "torch.bfloat16": ml_dtypes.bfloat16,
  "torch.int64": np.int64,
  "torch.int32": np.int32,
  "torch.int16": np.int16,
  "torch.int8": np.int8,
  "torch.uint64": np.uint64,
  "torch.uint32": np.uint32,
  "torch.uint16": np.uint16,
  "torch.uint8": np.uint8,
  "torch.bool": np.bool_,
  "torch.complex64": np.complex64,
  "torch.complex128": np.complex128,
}
_OTHER_DTYPES = (
  "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu "
  "float4_e2m1fn_x2 complex32 qint8 quint8 qint32 quint4x2 quint2x4"
).split()
_EXOTIC = {
  "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without values "
  "(device meta)",
  "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
  "torch._utils._rebuild_sparse_csr_tensor": "a sparse tensor",
  "torch._utils._rebuild_nested_tensor": "a nested tensor",
  "torch._utils._rebuild_qtensor": "a quantised tensor",
  "torch._utils._rebuild_wrapper_subclass": "a tensor of another class",
  "torch._utils._rebuild_device_tensor_from_numpy": "a tensor of an XLA device",
}
# Elements by which all views together may exceed what is stored.
_MAX_REPEATED = 2**24
_MAX_RANK = 32
_DTYPE_SPEC = re.compile(r"[<>=|]?[biufcSU]\d{1,5}")


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
  """`size` bytes from `start` on of the numbers called `key`."""

  key: str
  start: int
  size: int
  dtype: np.dtype


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
  """A strided view of a storage; offset and strides count elements."""

  storage: Storage
  dtype: np.dtype
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  def array(self, data: np.ndarray) -> np.ndarray:
    """The view of `data`, the storage's bytes."""
    item = self.dtype.itemsize
    return np.ndarray(
      self.shape,
      self.dtype,
      data,
      self.offset * item,
      tuple(item * stride for stride in self.strides),
    )


@dataclasses.dataclass(frozen=True)
class Unsupported:
  """A tensor that is none of numbers in memory; `what` says which."""

  what: str


class _Dtype:
  """A NumPy dtype that learns its byte order after it is made."""

  def __init__(self, spec: str, align: Any = False, copy: Any = False):
    del align, copy
    if type(spec) is not str or not _DTYPE_SPEC.fullmatch(spec):
      raise ValueError(f"NumPy dtype {unpickle.brief(spec)}")
    self.dtype = np.dtype(spec)

  def set_state(self, state: tuple) -> None:
    if state[1] in ("<", ">"):
      self.dtype = self.dtype.newbyteorder(state[1])


class NumpyArray:
  """A NumPy array that is told what it holds after it is made."""

  def __init__(self, *_: Any):
    self.array = np.zeros(0)

  def set_state(self, state: tuple) -> None:
    _, shape, dtype, fortran, data = state
    order = "F" if fortran else "C"
    self.array = _from_buffer(data, dtype, shape, order)


TENSORS = (Tensor, NumpyArray)


def table() -> dict[str, Any]:
  """The names for one file; it counts what its views repeat."""
  views = _Views()
  mentioned = [
    *STORAGES,
    *_DTYPES,
    *(f"torch.{name}" for name in _OTHER_DTYPES),
    "torch._tensor.Tensor",
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.per_tensor_affine",
    "torch.per_channel_affine",
    "numpy.ndarray",
    *(
      f"{module}.{name}"
      for module in ("builtins", "__builtin__")
      for name in (
        "int",
        "float",
        "str",
        "unicode",
        "bool",
        "list",
        "tuple",
        "object",
      )
    ),
  ]
  return {
    **dict.fromkeys(mentioned),
    **{name: _exotic(what) for name, what in _EXOTIC.items()},
    "torch._utils._rebuild_tensor": views.rebuild,
    "torch._utils._rebuild_tensor_v2": views.rebuild,
    "torch._utils._rebuild_tensor_v3": views.rebuild_untyped,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": views.rebuild_from_type,
    "torch.Size": tuple,
    "torch.device": lambda kind, *index: ":".join(map(_short, (kind, *index))),
    "torch.serialization._get_layout": lambda name: name,
    "torch.torch_version.TorchVersion": _short,
    **_PLAIN,
  }


class _Views:
  """Tensors of one file."""

  def __init__(self):
    self._repeated = 0

  def rebuild(
    self, storage, offset, size, stride, grad=False, hooks=None, flags=None
  ) -> Tensor | Unsupported:
    del grad, hooks
    if isinstance(storage, Unsupported):
      return storage
    if not isinstance(storage, Storage):
      raise ValueError("a tensor without storage")
    if flags:
      return Unsupported(f"a tensor with {', '.join(map(_short, flags))}")
    return self._view(storage, storage.dtype, offset, size, stride)

  def rebuild_untyped(
    self, storage, offset, size, stride, grad, hooks, dtype, flags=None
  ) -> Tensor | Unsupported:
    del grad, hooks, flags
    if dtype.name not in _DTYPES:
      return Unsupported(f"a tensor of {dtype.name.removeprefix('torch.')}")
    dtype = np.dtype(_DTYPES[dtype.name])
    return self._view(storage, dtype, offset, size, stride)

  def rebuild_from_type(self, function, kind, arguments, state) -> Any:
    del kind, state
    rebuild = {
      "torch._utils._rebuild_tensor_v2": self.rebuild,
      "torch._utils._rebuild_tensor_v3": self.rebuild_untyped,
    }
    if function.name in rebuild:
      return rebuild[function.name](*arguments)
    return Unsupported(_EXOTIC.get(function.name, "a tensor of another class"))

  def _view(self, storage, dtype, offset, size, stride) -> Tensor:
    shape, strides = _sizes(size), _sizes(stride)
    (offset,) = _sizes((offset,))
    if len(shape) != len(strides) or len(shape) > _MAX_RANK:
      raise ValueError(
        f"a tensor of {len(shape)} sizes and {len(strides)} strides"
      )
    held = storage.size // dtype.itemsize
    count = math.prod(shape)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides))
    if count and last >= held or not count and offset > held:
      raise ValueError(
        f"a tensor of shape {shape} in a storage of {held} numbers"
      )
    # One number may be shown as billions, which to copy takes memory.
    self._repeated += max(0, count - held)
    if self._repeated > _MAX_REPEATED:
      raise ValueError(
        f"a tensor of shape {shape} that repeats the {held} numbers it has"
      )
    return Tensor(storage, dtype, offset, shape, strides)


def _sizes(values: Any) -> tuple[int, ...]:
  if type(values) not in (tuple, list) or not all(
    type(x) is int and 0 <= x < 2**62 for x in values
  ):
    raise ValueError(f"sizes {unpickle.brief(values)}")
  return tuple(values)


def _exotic(what: str):
  return lambda *_: Unsupported(what)


def _short(value: Any) -> str:
  if type(value) not in (str, int) or len(str(value)) > 100:
    raise ValueError("a long name")
  return str(value)


def _from_buffer(data, dtype, shape, order="C") -> np.ndarray:
  if type(data) not in (bytes, bytearray) or not isinstance(dtype, _Dtype):
    raise ValueError("a NumPy array of objects")
  flat = np.frombuffer(data, dtype.dtype)
  return flat.reshape(_sizes(shape), order="F" if order == "F" else "C")


def _scalar(dtype, data) -> Any:
  return _from_buffer(data, dtype, (1,))[0]


def _encode(text: str, encoding: str) -> bytes:
  # How protocol 2 pickles bytes.
  if encoding not in ("latin1", "utf-8"):
    raise ValueError(f"bytes in encoding {unpickle.brief(encoding)}")
  return text.encode(encoding)


def _mapping(kind: type):
  def make(*arguments):
    items = arguments[-1] if arguments else {}
    if isinstance(items, Name | None):  # the factory of a defaultdict
      items = {}
    pairs = items.items() if isinstance(items, dict) else items
    return kind((unpickle.check_key(key), value) for key, value in pairs)

  return make


def _set(kind: type):
  return lambda items=(): kind(map(unpickle.check_key, items))


def _bytearray(*arguments) -> bytearray:
  # A number would ask for that many bytes.
  data = arguments[0] if arguments else b""
  return bytearray(_encode(*arguments) if type(data) is str else _bytes(data))


def _bytes(value: Any) -> bytes:
  if type(value) not in (bytes, bytearray):
    raise ValueError("bytes expected")
  return bytes(value)


def _path(kind: type):
  return lambda *parts: kind(*map(_text, parts))


def _text(value: Any) -> str:
  if type(value) is not str:
    raise ValueError("text expected")
  return value


def _namespace(*arguments, **entries) -> argparse.Namespace:
  del arguments
  space = argparse.Namespace()
  vars(space).update(entries)
  return space


def _reconstructor(kind, base, state) -> argparse.Namespace:
  # How protocols 0 and 1 pickle an object of a class.
  del base, state
  if kind.name not in ("argparse.Namespace", "types.SimpleNamespace"):
    raise ValueError(f"an object of {kind.name}")
  return argparse.Namespace()


def _moment(kind: type):
  def make(*arguments):
    plain = (int, bytes, str, datetime.tzinfo, datetime.timedelta)
    if not all(isinstance(x, plain) for x in arguments):
      raise ValueError(f"a {kind.__name__} of other types")
    return kind(*arguments)

  return make


_PLAIN = {
  "argparse.Namespace": _namespace,
  "types.SimpleNamespace": _namespace,
  "copyreg._reconstructor": _reconstructor,
  "copy_reg._reconstructor": _reconstructor,
  "collections.OrderedDict": _mapping(collections.OrderedDict),
  "collections.defaultdict": _mapping(dict),
  "collections.Counter": _mapping(dict),
  "_codecs.encode": _encode,
  **{
    f"{module}.{name}": make
    for module in ("builtins", "__builtin__")
    for name, make in (
      ("dict", _mapping(dict)),
      ("set", _set(set)),
      ("frozenset", _set(frozenset)),
      ("bytearray", _bytearray),
      ("bytes", lambda data=b"": _bytes(data)),
      ("complex", lambda real, imag: complex(float(real), float(imag))),
    )
  },
  **{
    f"datetime.{kind.__name__}": _moment(kind)
    for kind in (
      datetime.date,
      datetime.datetime,
      datetime.time,
      datetime.timedelta,
      datetime.timezone,
    )
  },
  **{
    f"{module}.{name}": _path(
      pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath
    )
    for module in ("pathlib", "pathlib._local")
    for name in (
      "Path",
      "PosixPath",
      "WindowsPath",
      "PurePath",
      "PurePosixPath",
      "PureWindowsPath",
    )
  },
  "numpy.dtype": _Dtype,
  **{
    f"numpy.{core}.{name}": make
    for core in ("core", "_core")
    for name, make in (
      ("multiarray.scalar", _scalar),
      ("multiarray._reconstruct", NumpyArray),
      ("numeric._frombuffer", _from_buffer),
    )
  },
}
