"""Weight files of the PyTorch world."""

import argparse
import json
import os
import pickle
import sys

import ml_dtypes
import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.checkpoints.torch import files as torch_file

torch = pytest.importorskip("torch")

ARRAYS = {
  "a.weight": np.array([[1.5, -0.0], [np.nan, 3e-42]], np.float32),
  "half": np.arange(3).astype(ml_dtypes.bfloat16),
  "index": np.arange(4, dtype=np.int64).reshape(2, 2),
  "scalar": np.float32(2).reshape(()),
}


class Malicious:
  """Runs a command when a careless reader unpickles it."""

  def __init__(self, command):
    self.command = command

  def __reduce__(self):
    return os.system, (self.command,)


def same(got, expected):
  assert list(got) == list(expected)
  for key, value in expected.items():
    assert got[key].dtype == value.dtype and got[key].shape == value.shape
    assert got[key].tobytes() == value.tobytes()


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_what_is_written_is_read_bit_for_bit(tmp_path, kind):
  path = tmp_path / f"x.{kind}"
  torch_file.write(path, dict(sorted(ARRAYS.items())), kind)
  read = torch_file.read(path).state_dict
  same(dict(sorted(read.items())), dict(sorted(ARRAYS.items())))


def test_pth_is_what_torch_loads_by_itself(tmp_path):
  torch_file.write(tmp_path / "x.pth", ARRAYS, "pth")
  content = torch.load(tmp_path / "x.pth", weights_only=True)
  assert content["model"]["half"].dtype == torch.bfloat16
  assert torch.equal(content["model"]["index"], torch.arange(4).view(2, 2))


@pytest.mark.parametrize("zipped", [True, False])
def test_released_form_with_namespace_and_optimizer(tmp_path, zipped):
  path = tmp_path / "released.pth"
  optimizer = {"state": {0: {"step": 1}}, "param_groups": [{"lr": 1e-4}]}
  torch.save(
    {
      "model": {"module.a": torch.ones(2)},
      "optimizer": optimizer,
      "epoch": 3,
      "args": argparse.Namespace(backbone="video_swin_t_p4w7"),
    },
    path,
    _use_new_zipfile_serialization=zipped,
  )
  file = torch_file.read(path)
  assert file.extras["args"].backbone == "video_swin_t_p4w7"
  assert list(file.state_dict) == ["a"]


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, zipped):
  path, mark = tmp_path / "evil.pth", tmp_path / "mark"
  evil = {"model": {"a": torch.ones(1)}, "x": Malicious(f"touch {mark}")}
  torch.save(evil, path, _use_new_zipfile_serialization=zipped)
  with pytest.raises(errors.UserError, match="refused: .*posix.system") as e:
    torch_file.read(path)
  assert "\n" not in str(e.value) and not mark.exists()
  pickle.loads(pickle.dumps(Malicious(f"touch {mark}")))
  assert mark.exists()  # the attack does work on a careless reader


def test_plain_pickle_is_refused(tmp_path):
  path, mark = tmp_path / "evil.bin", tmp_path / "mark"
  path.write_bytes(pickle.dumps(Malicious(f"touch {mark}")))
  with pytest.raises(errors.UserError, match="refused"):
    torch_file.read(path)
  assert not mark.exists()


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_damaged_file_is_one_line(tmp_path, kind, keep):
  path = tmp_path / f"x.{kind}"
  torch_file.write(path, ARRAYS, kind)
  content = path.read_bytes()
  path.write_bytes(content[: int(keep * len(content))])
  with pytest.raises(errors.UserError, match="damaged") as error:
    torch_file.read(path)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  "content,expected",
  [
    ([1], "holds a list"),
    ({"model": {}}, "got nothing"),
    ({"model": {"a": 1}}, "under model or state_dict or .*, got a"),
    ({"epoch": 1, "ema": {}}, "expected tensors, .*, got epoch, ema"),
    (
      {"a": torch.eye(2).to_sparse(), "b": torch.empty(1, device="meta")},
      "a is a sparse tensor, b is a tensor without values",
    ),
  ],
)
def test_no_state_dict_inside(tmp_path, content, expected):
  torch.save(content, tmp_path / "x.pth")
  with pytest.raises(errors.UserError, match=expected):
    torch_file.read(tmp_path / "x.pth")


def test_wrong_paths(tmp_path):
  with pytest.raises(errors.UserError, match="no such file"):
    torch_file.read(tmp_path / "none.pth")
  with pytest.raises(errors.UserError, match="no such file"):
    torch_file.read(tmp_path / ("x" * 300 + ".pth"))
  os.mkfifo(tmp_path / "pipe.pth")
  with pytest.raises(errors.UserError, match="is no file"):
    torch_file.read(tmp_path / "pipe.pth")
  (tmp_path / "x.zip").touch()
  with pytest.raises(errors.UserError, match="no weight file"):
    torch_file.read(tmp_path / "x.zip")


@pytest.mark.parametrize("holder", ["model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "model.", "module._orig_mod."])
def test_wrappers_of_a_state_dict_are_taken_off(tmp_path, holder, prefix):
  entries = {f"{prefix}a.w": torch.ones(2), f"{prefix}b": torch.ones(1)}
  torch.save({"epoch": 1, holder: entries}, tmp_path / "x.pth")
  file = torch_file.read(tmp_path / "x.pth")
  assert list(file.state_dict) == ["a.w", "b"] and file.extras == {"epoch": 1}
  torch_file.write(
    tmp_path / "x.safetensors",
    {key: value.numpy() for key, value in entries.items()},
    "safetensors",
  )
  file = torch_file.read(tmp_path / "x.safetensors")
  assert sorted(file.state_dict) == ["a.w", "b"]


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_web_page_is_told_from_weights(tmp_path, kind):
  path = tmp_path / f"x.{kind}"
  path.write_text("<!DOCTYPE html><title>Quota exceeded</title>")
  with pytest.raises(errors.UserError) as error:
    torch_file.read(path)
  assert str(error.value) == (
    f"{path} is an HTML page, not a checkpoint: download it again"
  )


def safetensors_of(path, dtype, shape, data):
  entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}
  header = json.dumps({"a": entry}).encode()
  path.write_bytes(len(header).to_bytes(8, "little") + header + data)


@pytest.mark.parametrize(
  "dtype,shape,data,expected",
  [
    ("F32", [10**11], bytes(4), "damaged"),
    ("F32", [2**40, 2**40], bytes(4), "damaged"),
    ("F32", [0, 2**63], b"", "damaged"),
    ("F32", [1] * 80, bytes(4), "damaged"),
    ("F8_E4M3", [4], bytes(4), "not supported: a is of F8_E4M3; expected"),
    ("X7", [4], bytes(4), "damaged"),
  ],
)
def test_absurd_safetensors_are_one_line(
  tmp_path, dtype, shape, data, expected
):
  safetensors_of(tmp_path / "x.safetensors", dtype, shape, data)
  with pytest.raises(errors.UserError, match=expected) as error:
    torch_file.read(tmp_path / "x.safetensors")
  assert "\n" not in str(error.value)


def test_only_writing_pth_needs_torch(tmp_path, monkeypatch):
  for kind in ("pth", "safetensors"):
    torch_file.write(tmp_path / f"x.{kind}", ARRAYS, kind)
  monkeypatch.setitem(sys.modules, "torch", None)
  for kind in ("pth", "safetensors"):
    read = torch_file.read(tmp_path / f"x.{kind}").state_dict
    same({key: read[key] for key in ARRAYS}, ARRAYS)
  torch_file.write(tmp_path / "y.safetensors", ARRAYS, "safetensors")
  with pytest.raises(errors.UserError, match=r"sgmg_jax\[convert\]"):
    torch_file.write(tmp_path / "y.pth", ARRAYS, "pth")
