"""Files of `torch.save` without PyTorch: .pth, .pt and .bin.

Since PyTorch 1.6 such a file is a zip archive, with a pickle (`data.pkl`) of
everything but the numbers and an entry (`data/KEY`) for each storage. Before,
it was a stream: four pickles, the storages' names, then their bytes. Nothing
in a file is executed, see `unpickle`; nothing is read that is not asked for,
and no more than the file has.
"""

from __future__ import annotations

import io
import os
import pathlib
import zipfile
from typing import Any

import numpy as np

from sgmg_jax import errors
from sgmg_jax.checkpoints.torch import lookalikes, plain_types, unpickle

_MAGIC = 0x1950A86A20F9469CFC6C
_STREAM_VERSION = 1001


class PthFile:
  """An open file.

  Attributes:
    content: what was saved; tensors are `plain_types.Tensor`.
  """

  def __init__(self, path: str | os.PathLike):
    """Open a file and read all but the tensors' numbers.

    Raises:
      UserError: another kind of file, a damaged one, or one that holds more
        than weights and plain objects.
    """
    self._path = pathlib.Path(path)
    self._bytes: dict[str, np.ndarray] = {}
    self._storages: dict[str, int] = {}
    self._offsets: dict[str, int] = {}
    lookalikes.refuse(self._path)
    self._file = open(self._path, "rb")
    self._unread = os.fstat(self._file.fileno()).st_size
    try:
      self._archive = None
      if self._file.read(4) == b"PK\3\4":
        self._archive = zipfile.ZipFile(self._file)
        self._folder = self._find_folder()
        content = self._read_archive()
      else:
        self._file.seek(0)
        content = self._read_stream()
    except Exception as error:
      self._file.close()
      raise self._as_user_error(error) from error
    self.content: Any = content

  def __enter__(self) -> PthFile:
    return self

  def __exit__(self, *_: Any) -> None:
    self._file.close()

  def array(
    self, tensor: plain_types.Tensor | plain_types.NumpyArray
  ) -> np.ndarray:
    """A tensor's numbers; tensors that share a storage share memory.

    Raises:
      UserError: the file is damaged there.
    """
    if not isinstance(tensor, plain_types.Tensor):
      return tensor.array
    storage = tensor.storage
    try:
      if storage.key not in self._bytes:
        self._bytes[storage.key] = self._read_storage(storage.key)
      data = self._bytes[storage.key]
      return tensor.array(data[storage.start : storage.start + storage.size])
    except Exception as error:
      raise self._as_user_error(error) from error

  def _as_user_error(self, error: Exception) -> errors.UserError:
    if isinstance(error, errors.UserError):
      return error
    if isinstance(error, unpickle.RefusedError):
      return errors.UserError(
        f"{self._path} refused: it holds {error}, expected tensors and plain "
        "values only (nothing of it was run); if you trust its source, load "
        "it with torch.load(OLD, weights_only=False) and save its state dict "
        "alone with torch.save(STATE_DICT, NEW)"
      )
    if isinstance(error, zipfile.BadZipFile | EOFError):
      return errors.UserError(
        f"{self._path} is damaged or incomplete "
        f"({errors.first_line(error, 120)}): download it again"
      )
    return errors.UserError(
      f"{self._path} is damaged or no PyTorch weight file "
      f"({type(error).__name__}: {errors.first_line(error, 120)})"
    )

  def _find_folder(self) -> str:
    """Name of the archive's folder, which every entry's name begins with."""
    names = self._archive.namelist()
    found = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
    if not found:
      raise errors.UserError(
        f"{self._path} is a zip archive that PyTorch did not write: expected a "
        "weight file; unpack it if that is inside"
      )
    folder = found[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in names:
      raise errors.UserError(
        f"{self._path} is a TorchScript program: expected a state dict, as "
        "torch.save(model.state_dict(), …) writes it"
      )
    return folder

  def _read_archive(self) -> Any:
    if f"{self._folder}byteorder" in self._archive.namelist():
      if self._read_entry("byteorder") != b"little":
        raise errors.UserError(
          f"{self._path} holds big-endian numbers, which are not supported: "
          "load and save it with PyTorch on another machine"
        )
    pickled = io.BytesIO(self._read_entry("data.pkl"))
    return unpickle.load(pickled, plain_types.table(), self._storage)

  def _read_entry(self, name: str) -> bytes:
    entry = self._archive.getinfo(self._folder + name)
    # Stored as they are, entries cannot be larger than the file.
    if entry.compress_type != zipfile.ZIP_STORED:
      raise errors.UserError(
        f"{self._path} was compressed after PyTorch wrote it: load and save it "
        "with PyTorch"
      )
    if not entry.CRC:  # left out by the writer
      entry.CRC = None
    data = self._archive.read(entry)
    # Entries that share bytes would multiply what the file has.
    self._unread -= len(data)
    if self._unread < 0:
      raise zipfile.BadZipFile("Overlapped entries")
    return data

  def _read_stream(self) -> Any:
    def load(persistent):
      return unpickle.load(self._file, plain_types.table(), persistent)

    first = load(_no_storage)
    if first != _MAGIC:
      return first  # a plain pickle, perhaps of NumPy arrays
    version, system = load(_no_storage), load(_no_storage)
    if version != _STREAM_VERSION or system.get("little_endian") is not True:
      raise ValueError(f"stream of version {unpickle.brief(version)}")
    content, keys = load(self._storage), load(_no_storage)
    for key in keys:
      offset = self._file.tell() + 8  # the number of elements comes first
      if key not in self._storages:
        raise ValueError(f"storage {unpickle.brief(key)} has no tensor")
      self._offsets[key] = offset
      self._file.seek(offset + self._storages[key])
    return content

  def _storage(self, identity: Any) -> Any:
    """The storage of a persistent id."""
    kind, dtype, key, _, count, *view = identity
    if kind != "storage" or type(key) is not str or type(count) is not int:
      raise ValueError("a persistent id that is none of a storage")
    dtype = np.dtype(plain_types.STORAGES[dtype.name])
    size = count * dtype.itemsize
    if self._archive:
      held = self._archive.getinfo(f"{self._folder}data/{key}").compress_size
    else:
      held = self._unread
    if not 0 <= size <= held:
      raise EOFError(f"storage {key:.20} has {held} bytes, expected {size}")
    self._storages[key] = max(size, self._storages.get(key, 0))
    start = 0
    if view and view[0] is not None:
      _, first, count = view[0]
      start, end = first * dtype.itemsize, (first + count) * dtype.itemsize
      if not 0 <= start <= end <= size:
        raise ValueError(f"a view of storage {key:.20} outside of it")
      size = end - start
    return plain_types.Storage(key, start, size, dtype)

  def _read_storage(self, key: str) -> np.ndarray:
    if self._archive:
      data = self._read_entry(f"data/{key}")
    else:
      size = self._storages[key]
      self._file.seek(self._offsets[key])
      data = self._file.read(size)
      if len(data) < size:
        raise EOFError(f"storage {key:.20} has {len(data)} bytes of {size}")
    return np.frombuffer(data, np.uint8)


def _no_storage(_: Any) -> Any:
  raise ValueError("a tensor outside of the stream's main pickle")
