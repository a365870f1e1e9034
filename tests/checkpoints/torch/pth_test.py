"""Files of torch.save, read as PyTorch reads them and without running them."""

import argparse
import collections
import datetime
import io
import os
import pathlib
import pickle
import sys
import zipfile

import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.checkpoints.torch import plain_types, pth, unpickle

torch = pytest.importorskip("torch")


def save(path, content, zipped=True, protocol=2):
  torch.save(
    content,
    path,
    _use_new_zipfile_serialization=zipped,
    pickle_protocol=protocol,
  )


def tensors():
  """Every dtype, shared storages, views, a parameter with an attribute."""
  base = torch.arange(24.0).reshape(4, 6)
  parameter = torch.nn.Parameter(torch.tensor([[1.5, -0.0], [np.nan, 3e-42]]))
  parameter.tag = "mine"
  return collections.OrderedDict(
    base=base,
    view=base[1:3, ::2],
    transposed=base.t(),
    repeated=torch.ones(2, 1).expand(2, 50),
    scalar=torch.tensor(2.5),
    empty=torch.zeros(0, 3),
    parameter=parameter,
    flags=torch.tensor([True, False]),
    complex=torch.tensor([1 + 2j]),
    **{
      str(dtype).removeprefix("torch."): torch.arange(5).to(dtype)
      for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
      )
    },
  )


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_bit_for_bit_what_torch_loads(tmp_path, zipped, protocol):
  path = tmp_path / "x.pth"
  save(path, {"model": tensors()}, zipped, protocol)
  # Its weights-only reader takes protocols 2 and 3 alone.
  expected = torch.load(path, weights_only=False)["model"]
  with pth.PthFile(path) as file:
    assert list(file.content["model"]) == list(expected)
    for name, tensor in expected.items():
      tensor = tensor.detach()
      want = (
        tensor if tensor.dtype != torch.bfloat16 else tensor.view(torch.int16)
      )
      got = file.array(file.content["model"][name])
      assert got.dtype.name == str(tensor.dtype).removeprefix("torch."), name
      assert got.shape == tuple(tensor.shape), name
      assert got.tobytes() == want.numpy().tobytes(), name
    arrays = [file.array(file.content["model"][n]) for n in ("base", "view")]
    assert np.shares_memory(*arrays)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_scripts_keep_beside_the_weights(tmp_path, zipped):
  optimizer = {
    "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.randn(2, 3)}},
    "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0]}],
  }
  schedule = {"milestones": collections.Counter([3, 5]), "last_epoch": 1}
  plain = {
    "epoch": 3,
    "big": 2**200,
    "none": None,
    "set": {1, 2},
    "frozen": frozenset("a"),
    "complex": 1j,
    "bytes": b"abc",
    "bytearray": bytearray(b"xy"),
    "date": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    "numpy": np.float64(0.5),
    "text": np.str_("x"),
    "nested": {"a": [1, (2.5, "b")]},
  }
  arguments = argparse.Namespace(lr=1e-4, out=pathlib.Path("a") / "b")
  path = tmp_path / "x.pth"
  save(
    path,
    {
      **plain,
      "model": torch.nn.Linear(2, 3).state_dict(),
      "optimizer": optimizer,
      "lr_scheduler": schedule,
      "args": arguments,
      "factory": collections.defaultdict(list, {1: [2]}),
      "array": np.arange(6, dtype=">i4").reshape(2, 3).T,
      "device": torch.device("cuda:0"),
      "size": torch.Size([1, 2]),
    },
    zipped,
  )
  with pth.PthFile(path) as file:
    content = file.content
    assert {key: content[key] for key in plain} == plain
    assert content["args"].lr == 1e-4
    assert content["args"].out == pathlib.PurePosixPath("a/b")
    assert content["factory"] == {1: [2]}
    assert content["array"].array.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert content["device"] == "cuda:0" and content["size"] == (1, 2)
    assert content["lr_scheduler"]["milestones"] == {3: 1, 5: 1}
    momentum = content["optimizer"]["state"][0]["exp_avg"]
    expected = optimizer["state"][0]["exp_avg"].numpy()
    assert file.array(momentum).tobytes() == expected.tobytes()


@pytest.mark.filterwarnings("ignore")
def test_special_tensors_are_told_apart(tmp_path):
  special = {
    "meta": torch.empty(3, device="meta"),
    "sparse": torch.eye(3).to_sparse(),
    "quantised": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
    "float8_e4m3fn": torch.ones(2).to(torch.float8_e4m3fn),
    "conj": torch.tensor([1j]).conj(),
  }
  save(tmp_path / "x.pth", special)
  with pth.PthFile(tmp_path / "x.pth") as file:
    for name, value in file.content.items():
      assert isinstance(value, plain_types.Unsupported)
      assert name in value.what


class Calls:
  """Calls a function when a careless reader unpickles it."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("form", ["zip", "stream", "pickle"])
@pytest.mark.parametrize(
  "function,arguments",
  [
    (os.system, ("touch mark",)),
    (eval, ("open('mark', 'w')",)),
    (getattr, ("x", "upper")),
    (pathlib.Path.touch, (pathlib.Path("mark"),)),
    (io.open, ("mark", "w")),
  ],
)
def test_code_is_named_and_not_run(
  tmp_path, monkeypatch, form, protocol, function, arguments
):
  monkeypatch.chdir(tmp_path)
  content = {"model": {"a": torch.ones(1)}, "x": Calls(function, *arguments)}
  if form == "pickle":
    pathlib.Path("x.pth").write_bytes(pickle.dumps(content["x"], protocol))
  else:
    save("x.pth", content, form == "zip", protocol)
  with pytest.raises(errors.UserError, match="nothing of it was run") as error:
    pth.PthFile("x.pth")
  # Protocol 2 finds a method through getattr.
  names = {function.__name__, "getattr"}
  assert any(f".{name}, expected" in str(error.value) for name in names)
  assert os.listdir() == ["x.pth"]


def test_attributes_of_what_is_there_cannot_be_set(tmp_path):
  """A state for a function or class would change it for the whole process."""
  for target in (b"ccollections\nOrderedDict\n", b"cargparse\nNamespace\n"):
    state = b"N}(X\x04\x00\x00\x00evilK\x01u\x86b"
    (tmp_path / "x.pth").write_bytes(b"\x80\x02" + target + state + b".")
    with pytest.raises(errors.UserError, match="a state for a Name"):
      pth.PthFile(tmp_path / "x.pth")
  assert not hasattr(collections.OrderedDict, "evil")
  assert not hasattr(argparse.Namespace, "evil")


def zip_of(path, pickled, storages=None, method=zipfile.ZIP_STORED):
  with zipfile.ZipFile(path, "w", method) as archive:
    archive.writestr("x/data.pkl", pickled)
    for key, data in (storages or {}).items():
      archive.writestr(f"x/data/{key}", data)


def tensor_pickle(count, size, stride, offset=0):
  """A float32 tensor of storage 0, in opcodes."""
  number = lambda n: b"\x8a\x08" + n.to_bytes(8, "little", signed=True)
  numbers = lambda values: b"(" + b"".join(map(number, values)) + b"t"
  return (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
    b"FloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    + number(count)
    + b"tQ"
    + number(offset)
    + numbers(size)
    + numbers(stride)
    + b"\x89N"
    + b"tR."
  )


@pytest.mark.parametrize(
  "count,size,stride,offset",
  [
    (10**11, (10**11,), (1,), 0),  # 373 GiB of storage that is not there
    (4, (10**11,), (0,), 0),  # 373 GiB from one number
    (4, (2**40, 2**40), (0, 0), 0),
    (4, (2,), (-1,), 1),
    (4, (5,), (1,), 0),
    (4, (2,), (1,), 3),
    (4, (2,), (2**61,), 0),
    (-4, (2,), (1,), 0),
    (4, (2,), (1, 1), 0),
    (4, (1,) * 40, (1,) * 40, 0),
  ],
)
def test_sizes_are_checked_before_anything_is_allocated(
  tmp_path, count, size, stride, offset
):
  path = tmp_path / "x.pth"
  zip_of(path, tensor_pickle(4, (2, 2), (2, 1)), {0: bytes(16)})
  with pth.PthFile(path) as file:
    assert file.array(file.content).shape == (2, 2)
  zip_of(path, tensor_pickle(count, size, stride, offset), {0: bytes(16)})
  with pytest.raises(errors.UserError, match="damaged") as error:
    pth.PthFile(path)
  assert "\n" not in str(error.value)


def test_a_flipped_bit_is_found(tmp_path):
  """The archive has a checksum of every entry."""
  path = tmp_path / "x.pth"
  save(path, {"a": torch.arange(1000.0)})
  data = bytearray(path.read_bytes())
  data[data.index(np.float32(500).tobytes())] ^= 4
  path.write_bytes(data)
  with pth.PthFile(path) as file:
    with pytest.raises(errors.UserError, match="CRC-32.*download it again"):
      file.array(file.content["a"])


def test_an_archive_without_checksums_is_read(tmp_path):
  from torch import serialization

  before = serialization.get_crc32_options()
  serialization.set_crc32_options(False)
  try:
    save(tmp_path / "x.pth", {"a": torch.arange(3.0)})
  finally:
    serialization.set_crc32_options(before)
  with pth.PthFile(tmp_path / "x.pth") as file:
    assert file.array(file.content["a"]).tolist() == [0, 1, 2]


def test_other_archives_are_named(tmp_path):
  path = tmp_path / "x.pth"
  zip_of(path, b"", method=zipfile.ZIP_DEFLATED)
  with pytest.raises(errors.UserError, match="was compressed after"):
    pth.PthFile(path)
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("readme.txt", "x")
  with pytest.raises(errors.UserError, match="a zip archive that PyTorch did"):
    pth.PthFile(path)
  torch.jit.script(torch.nn.Linear(1, 1)).save(path)
  with pytest.raises(errors.UserError, match="a TorchScript program"):
    pth.PthFile(path)


def test_entries_that_share_bytes_are_refused(tmp_path):
  path = tmp_path / "x.pth"
  zip_of(path, b"N.", {0: bytes(1000), 1: bytes(1000)})
  with zipfile.ZipFile(path) as archive:
    offsets = [entry.header_offset for entry in archive.infolist()[1:]]
  data = bytearray(path.read_bytes())
  at = data.rindex(offsets[1].to_bytes(4, "little"))
  data[at : at + 4] = offsets[0].to_bytes(4, "little")
  data[data.rindex(b"x/data/1") + 7] = ord("2")
  path.write_bytes(data)
  with pth.PthFile(path) as file, pytest.raises(zipfile.BadZipFile):
    for key in "02":
      file._read_entry(f"data/{key}")


@pytest.mark.parametrize(
  "opcodes,expected",
  [
    (b"]0" * 5_001, "more than 10,000 pickle opcodes"),
    (b"\x8b\xff\xff\xff\x7f" + bytes(9), "damaged"),  # a number of 2 GiB
    (b"\x8e" + b"\xff" * 7 + b"\x7f", "damaged"),  # bytes of 8 EiB
    (b"Nr\xff\xff\xff\x7f.", None),  # slot two billion of the memo
    (b"(c__builtin__\nbytearray\n(\x8a\x05" + bytes(4) + b"\1tR.", "damaged"),
    (b"}(" + b")" * 3 + b"\x85" * 9_000 + b"Nu.", "damaged"),
  ],
)
def test_small_pickles_that_ask_for_much(
  tmp_path, monkeypatch, opcodes, expected
):
  monkeypatch.setattr(unpickle, "MAX_OPCODES", 10_000)
  (tmp_path / "x.pth").write_bytes(b"\x80\x02" + opcodes)
  if expected is None:
    pth.PthFile(tmp_path / "x.pth")
    return
  with pytest.raises(errors.UserError, match=expected):
    pth.PthFile(tmp_path / "x.pth")


@pytest.mark.parametrize(
  "head,expected",
  [
    (b"", "is empty, not a checkpoint: download it again"),
    (bytes(100), "filled with zeros"),
    (b"<!DOCTYPE html><title>Quota exceeded</title>", "an HTML page"),
    (b"\xef\xbb\xbf\n <HTML>", "an HTML page, not a checkpoint: download it"),
    (b"<?xml version='1.0'?><Error/>", "an XML page"),
    (b"version https://git-lfs.github.com/spec/v1\noid", "`git lfs pull`"),
    (b'{"error": "Repository not found"}', "a JSON text"),
    (b"404: Not Found", "a text, perhaps a server's error message"),
    (b"\x1f\x8b\x08\x00", "a compressed archive, not a checkpoint: unpack it"),
    (b"\x93NUMPY\x01\x00", "a NumPy file"),
  ],
)
def test_what_a_download_left_is_told(tmp_path, head, expected):
  (tmp_path / "x.pth").write_bytes(head)
  with pytest.raises(errors.UserError, match=expected):
    pth.PthFile(tmp_path / "x.pth")


def test_torch_is_not_imported(tmp_path, monkeypatch):
  save(tmp_path / "x.pth", {"a": torch.ones(1)})
  monkeypatch.setitem(sys.modules, "torch", None)
  with pth.PthFile(tmp_path / "x.pth") as file:
    assert file.array(file.content["a"]).tolist() == [1]
