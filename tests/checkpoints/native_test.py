"""Native checkpoint directories."""

import dataclasses
import json
import shutil
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest

from sgmg_jax import errors
from sgmg_jax.checkpoints import card, expected_shapes, native
from sgmg_jax.model import variants

MU = variants.get_variant("mu")


def mu_card(**kwargs):
  return card.make(MU, name="mu", source={}, licence="none", **kwargs)


@pytest.fixture
def params():
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: rng.standard_normal(x.shape).astype(np.float32),
    expected_shapes.model(MU),
  )


@pytest.fixture
def directory(tmp_path, params, tokenizer):
  native.save(tmp_path / "mu", params, mu_card(), tokenizer)
  return tmp_path / "mu"


def same(a, b):
  assert jax.tree.structure(a) == jax.tree.structure(b)
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
    assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


def test_round_trip_is_bit_exact_and_self_contained(directory, params):
  moved = directory.parent / "elsewhere" / "model"
  moved.parent.mkdir()
  shutil.move(directory, moved)
  checkpoint = native.load(moved)
  same(checkpoint.params, params)
  assert checkpoint.variant == MU
  assert checkpoint.card["preprocess"]["window"] == 36
  assert checkpoint.tokenizer("a red ball")["input_ids"] == [0, 4, 5, 6, 2]
  assert sorted(p.name for p in moved.iterdir()) == [
    "card.json",
    "params",
    "tokenizer",
  ]


def test_half_precision_stays_half_precision(tmp_path, params, tokenizer):
  params = jax.tree.map(lambda x: x.astype(ml_dtypes.bfloat16), params)
  native.save(tmp_path / "half", params, mu_card(), tokenizer)
  same(native.load(tmp_path / "half").params, params)
  count = sum(x.size for x in jax.tree.leaves(params))
  size = sum(p.stat().st_size for p in (tmp_path / "half").rglob("*"))
  assert size < 2.3 * count


def test_jax_arrays_are_saved_too(tmp_path, params, tokenizer):
  native.save(
    tmp_path / "x", jax.tree.map(jax.device_put, params), mu_card(), tokenizer
  )
  same(native.load(tmp_path / "x").params, params)


def test_existing_directory_is_kept_unless_told(directory, params, tokenizer):
  with pytest.raises(errors.UserError, match="exists"):
    native.save(directory, params, mu_card(), tokenizer)
  new = jax.tree.map(np.zeros_like, params)
  (directory / ".DS_Store").touch()  # Of macOS, anywhere.
  native.save(directory, new, mu_card(), tokenizer, overwrite=True)
  same(native.load(directory).params, new)
  assert [p.name for p in directory.parent.iterdir()] == ["mu"]


def test_only_checkpoints_are_overwritten(tmp_path, params, tokenizer):
  for name in ("home", "home/photos"):
    (tmp_path / name).mkdir()
  with pytest.raises(errors.UserError, match=r"photos\): not overwritten"):
    native.save(tmp_path / "home", params, mu_card(), tokenizer, overwrite=True)
  assert (tmp_path / "home" / "photos").is_dir()


@pytest.mark.parametrize("overwrite", [False, True])
def test_failed_save_leaves_what_was_there(
  directory, params, tokenizer, monkeypatch, overwrite
):
  def fail(_):
    raise OSError("disk full")

  monkeypatch.setattr(tokenizer, "save_pretrained", fail)
  target = directory if overwrite else directory.parent / "new"
  with pytest.raises(OSError, match="disk full"):
    native.save(
      target,
      jax.tree.map(np.zeros_like, params),
      mu_card(),
      tokenizer,
      overwrite=overwrite,
    )
  assert [p.name for p in directory.parent.iterdir()] == ["mu"]
  same(native.load(directory).params, params)


def test_misfitting_parameters_are_all_listed(tmp_path, params, tokenizer):
  del params["query_embed"]
  params["extra"] = {"bias": np.zeros(2)}
  params["transformer"]["level_embed"] = np.zeros((3, 64))
  with pytest.raises(errors.UserError) as error:
    native.save(tmp_path / "x", params, mu_card(), tokenizer)
  message = str(error.value)
  for part in (
    "1 missing: query_embed/embedding",
    "1 unexpected: extra/bias",
    "transformer/level_embed is (3, 64), expected (4, 64)",
  ):
    assert part in message
  assert "\n" not in message and not list(tmp_path.iterdir())


def test_params_that_do_not_fit_the_card_do_not_load(directory):
  edit_card(directory, lambda c: c["variant"].update(num_queries=7))
  with pytest.raises(errors.UserError, match=r"\(5, 64\), expected \(7, 64\)"):
    native.load(directory)


def test_what_was_checked_when_saved_is_not_traced_again(
  directory, params, monkeypatch
):
  class Traced(Exception):
    pass

  def trace(variant):
    raise Traced

  monkeypatch.setattr(expected_shapes, "model", trace)
  same(native.load(directory).params, params)
  for name in native.bundled():
    native.load(name)
  edit_card(directory, lambda c: c.pop("shapes"))
  with pytest.raises(Traced):
    native.load(directory)


def test_loading_does_not_wait_for_other_frameworks():
  check = (
    "import sys; from sgmg_jax.checkpoints import native\n"
    "native.load('refshapes-mini')\n"
    "heavy = {'transformers', 'torch', 'tensorflow'} & set(sys.modules)\n"
    "assert not heavy, heavy"
  )
  subprocess.run([sys.executable, "-c", check], check=True)


def test_tokenizer_must_fit(tmp_path, params, tokenizer):
  with pytest.raises(errors.UserError, match="lacks its tokenizer"):
    native.save(tmp_path / "x", params, mu_card(), None)
  tokenizer.pad_token = "<s>"
  with pytest.raises(errors.UserError, match="padding id 0"):
    native.save(tmp_path / "x", params, mu_card(), tokenizer)


def edit_card(directory, edit):
  path = directory / "card.json"
  content = json.loads(path.read_text())
  edit(content)
  path.write_text(json.dumps(content))


def cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite_with_zeros(path):
  path.write_bytes(bytes(path.stat().st_size))


def largest(directory):
  files = [p for p in (directory / "params").rglob("*") if p.is_file()]
  return max(files, key=lambda p: p.stat().st_size)


@pytest.mark.parametrize(
  "damage,expected",
  [
    (lambda d: (d / "card.json").unlink(), "no native checkpoint"),
    (lambda d: cut(d / "card.json"), "card.json is damaged"),
    (lambda d: edit_card(d, lambda c: c.update(format=9)), "format 9"),
    (lambda d: edit_card(d, lambda c: c.pop("variant")), "field variant"),
    (
      lambda d: edit_card(d, lambda c: c["variant"].update(width="64")),
      "width is '64'",
    ),
    (
      lambda d: edit_card(d, lambda c: c["variant"].update(wings=2)),
      "unknown size 'wings'",
    ),
    (lambda d: shutil.rmtree(d / "params"), "missing or incomplete params/"),
    (lambda d: largest(d).unlink(), "missing or incomplete params/"),
    (lambda d: cut(largest(d)), "missing or incomplete params/"),
    (lambda d: (d / "params" / "_METADATA").unlink(), "params/_METADATA"),
    (
      lambda d: overwrite_with_zeros(d / "params" / "_METADATA"),
      "is damaged: params/_METADATA is changed$",
    ),
    (
      lambda d: shutil.rmtree(d / "tokenizer"),
      "damaged: tokenizer/tokenizer.json is missing",
    ),
    (
      lambda d: cut(d / "tokenizer" / "tokenizer.json"),
      "is damaged: tokenizer/tokenizer.json is changed$",
    ),
    (
      lambda d: (d / "params" / "more").touch(),
      "is damaged: params/more is not part of it$",
    ),
    (
      lambda d: edit_card(d, lambda c: c.pop("name")),
      "card.json is damaged: field name is missing or no str",
    ),
    (
      lambda d: edit_card(d, lambda c: c.update(part=["x"])),
      r"card names part \['x'\], expected one of backbone, video",
    ),
    (
      lambda d: (d / "card.json").write_text("[" * 10**5),
      "card.json is damaged",
    ),
    (
      lambda d: edit_card(d, lambda c: c.update(sha256=1)),
      "card field sha256 is no object",
    ),
  ],
)
def test_damaged_directory_is_one_line(directory, damage, expected):
  damage(directory)
  with pytest.raises(errors.UserError, match=expected) as error:
    native.load(directory)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_names_its_file(directory, seed):
  rng = np.random.default_rng(seed)
  files = [
    p for n in ("params", "tokenizer") for p in (directory / n).rglob("*")
  ]
  files = sorted(p for p in files if p.is_file() and p.stat().st_size)
  path = files[rng.integers(len(files))] if seed % 2 else largest(directory)
  flip(path, rng)
  name = path.relative_to(directory).as_posix()
  with pytest.raises(errors.UserError) as error:
    native.load(directory)
  assert str(error.value) == f"{directory} is damaged: {name} is changed"


def flip(path, rng):
  data = bytearray(path.read_bytes())
  data[rng.integers(len(data))] ^= 1 << rng.integers(8)
  path.write_bytes(data)


def test_hidden_files_and_files_beside_are_no_harm(directory, params):
  (directory / "params" / ".DS_Store").touch()
  (directory / "README.md").touch()
  same(native.load(directory).params, params)


def test_cards_of_older_checkpoints_have_no_digests(directory, params):
  edit_card(directory, lambda c: c.pop("sha256"))
  same(native.load(directory).params, params)
  shutil.rmtree(directory / "tokenizer")
  with pytest.raises(errors.UserError, match="lacks its tokenizer"):
    native.load(directory)


def test_the_bundled_checkpoint_has_digests_of_all_its_files():
  for name in native.bundled():
    folder = native.PRETRAINED / name
    files = {
      path.relative_to(folder).as_posix()
      for path in folder.rglob("*")
      if path.is_file()
    }
    listed = card.read(folder)["sha256"]
    assert set(listed) == files - {"card.json"}


@pytest.mark.parametrize(
  "size,value,expected",
  [
    ("text_layers", 10**7, "text_layers is 10000000, expected 1 to 100"),
    ("vocab_size", 10**12, "vocab_size is 1000000000000, expected 1 to"),
    ("width", 0, "width is 0, expected 1 to 4096"),
    ("num_heads", -1, "num_heads is -1"),
    ("depths", [1, 1, 10**6, 1], r"depths is \[1, 1, 1000000, 1\]"),
    ("depths", [1, 1], "depths has 2 numbers, expected 4"),
    ("dropout", float("nan"), "dropout is nan, expected 0 to 1"),
    ("pad_token_id", 10**9, "pad_token_id is 1000000000"),
    ("width", 70, "width is 70, expected a multiple of num_heads, 8"),
    ("text_width", 50, "text_width is 50, expected a multiple of text_heads"),
    ("embed_dim", 25, r"embed_dim \* 1 is 25, expected .* swin_heads, 2"),
  ],
)
def test_absurd_sizes_are_one_line(directory, size, value, expected):
  edit_card(directory, lambda c: c["variant"].update({size: value}))
  edit_card(directory, lambda c: c.pop("shapes"))
  with pytest.raises(errors.UserError, match=expected) as error:
    native.load(directory)
  assert "\n" not in str(error.value)


def test_arrays_far_larger_than_their_files_are_not_allocated(
  directory, monkeypatch
):
  monkeypatch.setattr(native, "_SMALL_BYTES", 0)
  monkeypatch.setattr(native, "_MAX_COMPRESSION", 0.1)
  monkeypatch.setattr(ocp.Checkpointer, "restore", None)
  with pytest.raises(errors.UserError, match="8,.* bytes of arrays in"):
    native.load(directory)


def test_parameters_that_no_model_can_have_are_not_saved(
  tmp_path, params, tokenizer
):
  params["transformer"]["level_embed"][0, :3] = [np.nan, np.inf, -np.inf]
  params["query_embed"]["embedding"] = np.zeros((5, 64), np.int8)
  with pytest.raises(errors.UserError) as error:
    native.save(tmp_path / "x", params, mu_card(), tokenizer)
  message = str(error.value)
  assert "transformer/level_embed has 3 of 256" in message
  assert "query_embed/embedding is int8" in message
  assert not list(tmp_path.iterdir())


def test_unknown_name_lists_the_bundled_ones(tmp_path, directory, monkeypatch):
  monkeypatch.setattr(native, "PRETRAINED", tmp_path)
  with pytest.raises(errors.UserError, match=r"bundled name \(mu\)"):
    native.load("refshapes-maxi")
  assert native.load("mu").variant == MU


def test_weight_file_points_to_convert(tmp_path):
  (tmp_path / "x.pth").touch()
  with pytest.raises(errors.UserError, match="sgmg convert"):
    native.load(tmp_path / "x.pth")


def test_part_is_no_model_but_starts_one(tmp_path, params):
  backbone = jax.tree.map(lambda x: x + 1, params["backbone_0"])
  native.save(
    tmp_path / "swin",
    {"backbone_0": backbone},
    mu_card(part="backbone"),
    None,
  )
  with pytest.raises(errors.UserError, match="only the backbone"):
    native.load(tmp_path / "swin")
  started = native.start_from(params, tmp_path / "swin")
  same(started["backbone_0"], backbone)
  same(started["transformer"], params["transformer"])


def test_part_of_several_modules_replaces_them_and_no_others(tmp_path, params):
  modules = expected_shapes.part("video", MU)
  video = {k: jax.tree.map(lambda x: x + 1, params[k]) for k in modules}
  native.save(tmp_path / "video", video, mu_card(part="video"), None)
  started = native.start_from(params, tmp_path / "video")
  assert {name.rstrip("_0123456789") for name in modules} == {
    "backbone",
    "input_proj",
    "input_fft",
  }
  same(started, params | video)


def test_start_from_a_part_of_another_width(tmp_path, params):
  wide = variants.get_variant("mu", width=96)
  video = jax.tree.map(
    lambda x: np.zeros(x.shape, x.dtype), expected_shapes.part("video", wide)
  )
  made = card.make(wide, name="x", source={}, licence="none", part="video")
  native.save(tmp_path / "video", video, made, None)
  with pytest.raises(
    errors.UserError,
    match=r"input_proj_0_0/bias is \(96,\), expected \(64,\)",
  ):
    native.start_from(params, tmp_path / "video")


def test_start_from_another_size_lists_what_differs(tmp_path, params):
  native.save(
    tmp_path / "swin",
    {"backbone_0": params["backbone_0"]},
    mu_card(part="backbone"),
    None,
  )
  del params["backbone_0"]["body"]["layers_3"]
  with pytest.raises(errors.UserError, match="unexpected: backbone_0/body"):
    native.start_from(params, tmp_path / "swin")


def test_no_path_of_the_machine_is_kept(mu_checkpoint, tmp_path):
  checkpoint = native.load(mu_checkpoint)
  native.save(
    tmp_path / "copy", checkpoint.params, checkpoint.card, checkpoint.tokenizer
  )
  for file in (tmp_path / "copy").rglob("*"):
    if file.is_file():
      assert str(tmp_path).encode() not in file.read_bytes(), file


def test_sgmg_and_fast_sgmg_start_each_other(mu_checkpoint, tmp_path):
  sgmg = native.load(mu_checkpoint)
  fast_variant = dataclasses.replace(sgmg.variant, decouple="features")
  fast = native.start_from(
    expected_shapes.model(fast_variant), mu_checkpoint, tokenizer=sgmg.tokenizer
  )
  decoupling = jax.tree.map(
    lambda x: np.ones(x.shape, np.float32), fast.pop("decouple_module")
  )
  its_card = card.make(fast_variant, name="fast", source={}, licence="x")
  assert its_card["multi_object"] and its_card["max_group"] == 16
  path = tmp_path / "fast"
  native.save(
    path, {**fast, "decouple_module": decoupling}, its_card, sgmg.tokenizer
  )
  again = native.start_from(expected_shapes.model(sgmg.variant), path)
  jax.tree.map(np.testing.assert_array_equal, again, sgmg.params)
  # And a Fast SgMg gives all that it has.
  both = native.start_from(expected_shapes.model(fast_variant), path)
  jax.tree.map(
    np.testing.assert_array_equal, both["decouple_module"], decoupling
  )


@pytest.mark.parametrize(
  "field, value, message",
  [
    ("multi_object", True, "multi_object is True, expected False"),
    ("decouple", "words", "decouple is 'words', expected \"\", features"),
  ],
)
def test_a_card_that_confuses_sgmg_and_fast_sgmg(field, value, message):
  changed = mu_card()
  (changed["variant"] if field == "decouple" else changed)[field] = value
  with pytest.raises(errors.UserError, match=message):
    card.max_group_of(changed, "here")
