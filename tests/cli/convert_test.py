"""`sgmg convert`, through its arguments."""

import argparse
import dataclasses
import json
import pathlib

import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import expected_shapes, native, random_weights
from sgmg_jax.checkpoints.torch import files as torch_file
from sgmg_jax.checkpoints.torch import names
from sgmg_jax.cli import convert
from sgmg_jax.model import variants, window_attention

torch = pytest.importorskip("torch")

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def run(*arguments):
  parser = argparse.ArgumentParser()
  convert.add_arguments(parser)
  return convert.run(parser.parse_args([str(a) for a in arguments]))


@pytest.fixture(scope="module")
def shapes():
  path = GOLDEN / "state_dict_shapes.json"
  return json.loads(path.read_text())["sgmg"]


@pytest.fixture(scope="module")
def released(tmp_path_factory, shapes):
  """A small released checkpoint file."""
  rng = np.random.default_rng(0)
  tensors = {
    key: torch.from_numpy(
      window_attention.relative_position_index()
      if names.is_buffer(key)
      else rng.standard_normal(shape).astype(np.float32)
    )
    for key, shape in shapes.items()
  }
  for key in tensors:
    if key.startswith("transformer.decoder.bbox_embed."):
      tensors[key] = tensors[key.removeprefix("transformer.decoder.")]
  path = tmp_path_factory.mktemp("released") / "mu.pth"
  torch.save({"model": tensors, "args": argparse.Namespace(x=1)}, path)
  return path


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
  """A tokenizer folder that fits the small model."""
  import tokenizers
  import transformers

  words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "dog": 4}
  folder = tmp_path_factory.mktemp("tokenizer")
  transformers.PreTrainedTokenizerFast(
    tokenizer_object=tokenizers.Tokenizer(
      tokenizers.models.WordLevel(words, "<unk>")
    ),
    pad_token="<pad>",
  ).save_pretrained(folder)
  return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, released, vocabulary):
  out = tmp_path_factory.mktemp("native") / "tiny"
  assert run(released, out, "--tokenizer", vocabulary) == 0
  return out


def test_released_file_becomes_a_model(checkpoint, released):
  loaded = native.load(checkpoint)
  assert loaded.variant == variants.get_variant("mu")
  assert loaded.card["name"] == "tiny"
  assert loaded.card["source"]["sha256"] == torch_file.sha256(released)
  assert len(loaded.tokenizer) == 5


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_and_back_bit_for_bit(checkpoint, released, tmp_path, suffix):
  out = tmp_path / f"back.{suffix}"
  assert run(checkpoint, out) == 0
  expected = torch.load(released, weights_only=False)["model"]
  got = torch_file.read(out).state_dict
  assert got.keys() == expected.keys()
  for key, value in expected.items():
    assert got[key].dtype == value.numpy().dtype
    assert got[key].tobytes() == value.numpy().tobytes(), key
  assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_back_again_is_the_same_checkpoint(checkpoint, vocabulary, tmp_path):
  run(checkpoint, tmp_path / "x.safetensors")
  run(tmp_path / "x.safetensors", tmp_path / "x", "--tokenizer", vocabulary)
  a, b = native.load(checkpoint).params, native.load(tmp_path / "x").params
  expected_shapes.check(a, b, "x")
  assert (a["query_embed"]["embedding"] == b["query_embed"]["embedding"]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_the_size(checkpoint, tmp_path, dtype):
  run(checkpoint, tmp_path / "half", "--dtype", dtype)
  half, whole = native.load(tmp_path / "half"), native.load(checkpoint)
  a, b = (x.params["query_embed"]["embedding"] for x in (half, whole))
  assert a.dtype == dtype and (a == b.astype(dtype)).all()
  assert half.card["source"] == whole.card["source"]


def edited(released, path, key, value):
  content = torch.load(released, weights_only=False)
  content["model"][key] = content["model"][key].clone()
  content["model"][key].view(-1)[:2] = value
  torch.save(content, path)


@pytest.mark.parametrize("out", ["x", "x.safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_listed(
  released, vocabulary, tmp_path, value, out
):
  edited(released, tmp_path / "bad.pth", "controller.layers.0.weight", value)
  with pytest.raises(
    errors.UserError, match=r"bad.pth .*: controller.layers.0.weight has 2 of"
  ):
    run(tmp_path / "bad.pth", tmp_path / out, "--tokenizer", vocabulary)
  assert [p.name for p in tmp_path.iterdir()] == ["bad.pth"]


def test_weights_that_half_precision_cannot_hold(
  released, vocabulary, tmp_path
):
  edited(released, tmp_path / "big.pth", "transformer.level_embed", 1e5)
  convert_to = lambda dtype: run(
    *(tmp_path / "big.pth", tmp_path / dtype, "--tokenizer", vocabulary),
    *("--dtype", dtype),
  )
  with pytest.raises(errors.UserError, match="transformer/level_embed .up to"):
    convert_to("float16")
  convert_to("bfloat16")
  with pytest.raises(SystemExit):  # argparse's own line
    convert_to("int8")


def test_says_what_was_done(released, vocabulary, tmp_path, capsys):
  run(released, tmp_path / "out", "--tokenizer", vocabulary)
  printed = capsys.readouterr().out
  for part in (
    "whole model",
    "embed_dim 24, depths 1-1-2-1",
    "2,070,758",
    torch_file.sha256(released),
    "CC-BY-NC 4.0",
  ):
    assert part in printed


def test_existing_output_is_kept_unless_told(released, vocabulary, tmp_path):
  out = tmp_path / "out"
  out.write_text("precious")
  with pytest.raises(errors.UserError, match="--overwrite"):
    run(released, out, "--tokenizer", vocabulary)
  # No file becomes a folder, whatever it holds.
  with pytest.raises(errors.UserError, match="is a file, expected a folder"):
    run(released, out, "--tokenizer", vocabulary, "--overwrite")
  assert out.read_text() == "precious"
  out.unlink()
  run(released, out, "--tokenizer", vocabulary)
  with pytest.raises(errors.UserError, match="--overwrite"):
    run(released, out, "--tokenizer", vocabulary)
  run(released, out, "--tokenizer", vocabulary, "--overwrite")
  native.load(out)


@pytest.mark.parametrize(
  "arguments,expected",
  [
    (["none.pth", "out"], "no such file, folder or bundled"),
    (["{released}", "out", "--tokenizer", "./none"], "no tokenizer folder"),
    (["{released}", "out", "--kind", "kinetics"], "no Swin"),
    (["{released}", "out", "--size", "num_heads=x"], "expected FIELD=N"),
    (["{released}", "out", "--size", "wings=2"], "unknown size .wings."),
    (["{checkpoint}", "out"], "native checkpoint already"),
  ],
)
def test_mistakes_are_one_line_and_leave_nothing(
  released, checkpoint, tmp_path, monkeypatch, arguments, expected
):
  monkeypatch.chdir(tmp_path)
  paths = {"released": released, "checkpoint": checkpoint}
  with pytest.raises(errors.UserError, match=expected) as error:
    run(*(a.format(**paths) for a in arguments))
  assert "\n" not in str(error.value)
  assert not list(tmp_path.iterdir())


def test_interrupted_writing_leaves_nothing(checkpoint, tmp_path, monkeypatch):
  def fail(path, *_):
    pathlib.Path(path).write_bytes(b"half")
    raise KeyboardInterrupt

  monkeypatch.setattr(torch_file, "write", fail)
  with pytest.raises(KeyboardInterrupt):
    run(checkpoint, tmp_path / "x.pth")
  assert not list(tmp_path.iterdir())


def test_image_swin_becomes_a_part(released, tmp_path):
  prefix = "backbone.0.body."
  body = {}
  for key, value in torch_file.read(released).state_dict.items():
    if key.startswith(prefix) and not names.is_buffer(key):
      key = key.removeprefix(prefix)
      key = key.replace("downsamples.0", "layers.0.downsample")
      key = key.replace("downsamples.1", "layers.1.downsample")
      key = key.replace("downsamples.2", "layers.2.downsample")
      if key == "patch_embed.proj.weight":
        value = value[:, :, 0]
      if key.endswith("bias_table"):
        value = value[:169]
      body[key] = value
  torch_file.write(tmp_path / "swin.safetensors", body, "safetensors")
  run(tmp_path / "swin.safetensors", tmp_path / "swin")
  with pytest.raises(errors.UserError, match="holds only the backbone"):
    native.load(tmp_path / "swin")
  with pytest.raises(errors.UserError, match="holds only the backbone"):
    run(tmp_path / "swin", tmp_path / "x.pth")


@pytest.mark.parametrize(
  "changed, message",
  [
    ({"decouple": "features"}, "is a Fast SgMg, which has no released form"),
    (
      {"spectral": "none", "patch": 1, "refine": False, "decoder": "fpn"},
      "has no released form: spectral is 'none', expected 'fft'; patch is 1, "
      "expected 16; refine is False, expected True; decoder is 'fpn', "
      "expected 'none'",
    ),
  ],
)
def test_other_models_have_no_released_form(
  checkpoint, tmp_path, changed, message
):
  loaded = native.load(checkpoint)
  variant = dataclasses.replace(loaded.variant, **changed)
  card = card_lib.make(variant, name="other", source={}, licence="none")
  params = random_weights.make(variant)
  native.save(tmp_path / "other", params, card, loaded.tokenizer)
  for out in (tmp_path / "other.pth", tmp_path / "other.safetensors"):
    with pytest.raises(errors.UserError, match=message):
      run(tmp_path / "other", out)
    assert not out.exists()
  run(tmp_path / "other", tmp_path / "half", "--dtype", "bfloat16")
