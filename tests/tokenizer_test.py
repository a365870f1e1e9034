"""Finding a tokenizer and encoding expressions."""

import json
import shutil
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from huggingface_hub import constants

from sgmg_jax import errors
from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax.checkpoints import native


@pytest.fixture
def no_network(monkeypatch):
  def fail(request, timeout):
    del timeout
    raise urllib.error.URLError(f"no route to {request.full_url}")

  monkeypatch.setattr(urllib.request, "urlopen", fail)


@pytest.fixture
def byte_level_folder(tmp_path):
  """vocab.json and merges.txt as roberta-base has them, but tiny."""
  import tokenizers

  bpe = tokenizers.ByteLevelBPETokenizer()
  bpe.train_from_iterator(
    ["a red ball", "the red dog"],
    vocab_size=280,
    special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    show_progress=False,
  )
  bpe.save_model(str(tmp_path))
  return tmp_path


def test_encode_pads_to_the_length(tokenizer):
  tokens, valid = tokenizer_lib.encode(tokenizer, ["a red ball", "the dog"], 7)
  assert tokens.dtype == np.int32 and valid.dtype == bool
  assert tokens.tolist() == [[0, 4, 5, 6, 2, 1, 1], [0, 7, 8, 2, 1, 1, 1]]
  assert valid.sum(1).tolist() == [5, 4]
  assert (valid == (tokens != 1)).all()


def test_case_and_order_are_kept(tokenizer):
  tokens, _ = tokenizer_lib.encode(tokenizer, ["A red dog"], 5)
  assert tokens.tolist() == [[0, 3, 5, 8, 2]]  # "A" is unknown, "a" is not


def test_saved_tokenizer_gives_the_same_ids(byte_level_folder, tmp_path):
  """As transformers', with what is special about roberta-base's."""
  config = {"tokenizer_class": "RobertaTokenizer", "model_max_length": 512}
  path = byte_level_folder / "tokenizer_config.json"
  path.write_text(json.dumps(config))
  folders = [native.PRETRAINED / "refshapes-mini" / "tokenizer"]
  folders.append(tmp_path / "saved")
  tokenizer_lib.load_tokenizer(byte_level_folder).save_pretrained(folders[1])
  sentences = [
    "a red ball",
    " The  RED dog, 2nd one!",
    "a <mask> and </s> in it",
    "ein gr\u00fcner B\u00e4r \U0001f43b",
    "a ball " * 50,
  ]
  for folder in folders:
    theirs = tokenizer_lib.load_tokenizer(folder)
    ours = tokenizer_lib.SavedTokenizer(folder)
    assert len(ours) == len(theirs)
    assert ours.pad_token_id == theirs.pad_token_id
    for found, expected in zip(
      tokenizer_lib.encode(ours, sentences, 512),
      tokenizer_lib.encode(theirs, sentences, 512),
    ):
      np.testing.assert_array_equal(found, expected)


def test_saved_tokenizer_saves_its_files(tokenizer, tmp_path):
  tokenizer.save_pretrained(tmp_path / "a")
  ours = tokenizer_lib.SavedTokenizer(tmp_path / "a")
  shutil.rmtree(tmp_path / "a")
  ours.save_pretrained(tmp_path / "b")
  again = tokenizer_lib.load_tokenizer(tmp_path / "b")
  assert again("a red ball")["input_ids"] == [0, 4, 5, 6, 2]


def test_saved_tokenizer_names_what_is_wrong(tokenizer, tmp_path):
  tokenizer.save_pretrained(tmp_path)
  config = tmp_path / "tokenizer_config.json"
  config.write_text("{}")
  with pytest.raises(errors.UserError, match="cannot be read: 'pad_token'"):
    tokenizer_lib.SavedTokenizer(tmp_path)
  config.unlink()
  with pytest.raises(errors.UserError, match="no tokenizer_config.json"):
    tokenizer_lib.SavedTokenizer(tmp_path)
  (tmp_path / "tokenizer.json").unlink()
  with pytest.raises(errors.UserError, match="no tokenizer in"):
    tokenizer_lib.SavedTokenizer(tmp_path)


@pytest.mark.parametrize("expression", ["", "  \n", None])
def test_empty_expression_is_named(tokenizer, expression):
  with pytest.raises(errors.UserError, match="is empty") as error:
    tokenizer_lib.encode(tokenizer, ["the dog", expression], 8)
  assert repr(expression) in str(error.value)


def test_over_long_expression_is_truncated_and_keeps_its_end_token(tokenizer):
  said = []
  sentences = ["the dog " * 3, "a " + "the dog " * 3]
  tokens, valid = tokenizer_lib.encode(tokenizer, sentences, 8, said.append)
  assert tokens.tolist() == [
    [0, 7, 8, 7, 8, 7, 8, 2],
    [0, 4, 7, 8, 7, 8, 7, 2],
  ]
  assert valid.all()
  assert len(said) == 1
  assert "'a the dog the dog the dog '" in said[0]
  assert "9 tokens, the model takes 8" in said[0]


def test_truncation_is_a_warning_by_default(tokenizer, caplog):
  tokenizer_lib.encode(tokenizer, ["the dog " * 9], 8)
  (record,) = caplog.records
  assert record.levelname == "WARNING" and "20 tokens" in record.message


def test_folder_of_roberta_files(byte_level_folder):
  config = {"tokenizer_class": "RobertaTokenizer"}
  (byte_level_folder / "tokenizer_config.json").write_text(json.dumps(config))
  tokenizer = tokenizer_lib.load_tokenizer(byte_level_folder)
  tokens, valid = tokenizer_lib.encode(tokenizer, ["a red ball"], 16)
  ids = tokens[0][valid[0]]
  assert (ids[0], ids[-1], tokenizer.pad_token_id) == (0, 2, 1)
  text = tokenizer.decode(ids, skip_special_tokens=True)
  assert text == "a red ball"


# roberta-base of the hub.
HUB = {"model_max_length": 512}
HUB_MODEL = {
  "architectures": ["RobertaForMaskedLM"],
  "bos_token_id": 0,
  "eos_token_id": 2,
  "max_position_embeddings": 514,
  "model_type": "roberta",
  "pad_token_id": 1,
  "type_vocab_size": 1,
  "vocab_size": 50265,
}


@pytest.mark.parametrize("files", ["vocab.json merges.txt", "tokenizer.json"])
@pytest.mark.parametrize("config", [HUB, {}, None])
@pytest.mark.parametrize("model_config", [True, False])
def test_files_of_the_hub(byte_level_folder, files, config, model_config):
  import transformers

  reference = transformers.RobertaTokenizerFast.from_pretrained(
    byte_level_folder
  )
  reference.backend_tokenizer.save(str(byte_level_folder / "tokenizer.json"))
  for path in list(byte_level_folder.iterdir()):
    if path.name not in files.split():
      path.unlink()
  if config is not None:
    path = byte_level_folder / "tokenizer_config.json"
    path.write_text(json.dumps(config))
  if model_config:
    (byte_level_folder / "config.json").write_text(json.dumps(HUB_MODEL))
  tokenizer = tokenizer_lib.load_tokenizer(byte_level_folder)
  for sentence in ("a red ball", " The  RED dog, 2nd!", "a <mask> b\u00e4r"):
    ids = tokenizer(sentence)["input_ids"]
    assert ids == reference(sentence)["input_ids"]
    assert (ids[0], ids[-1], tokenizer.pad_token_id) == (0, 2, 1)
  # What conversion writes into the checkpoint gives the same.
  tokenizer.save_pretrained(byte_level_folder / "saved")
  saved = tokenizer_lib.SavedTokenizer(byte_level_folder / "saved")
  assert (
    saved("a red ball")["input_ids"] == tokenizer("a red ball")["input_ids"]
  )
  assert saved.pad_token_id == 1


def test_another_tokenizer_must_name_its_class(tokenizer, tmp_path):
  tokenizer.save_pretrained(tmp_path)
  config = tmp_path / "tokenizer_config.json"
  assert len(tokenizer_lib.load_tokenizer(tmp_path)) == 9
  content = json.loads((tmp_path / "tokenizer.json").read_text())
  vocab = content["model"]["vocab"]
  vocab["<s>"], vocab["a"] = vocab["a"], vocab["<s>"]
  content["added_tokens"] = []
  (tmp_path / "tokenizer.json").write_text(json.dumps(content))
  config.write_text(json.dumps(HUB))
  with pytest.raises(errors.UserError, match="not RoBERTa's: expected tokeni"):
    tokenizer_lib.load_tokenizer(tmp_path)


def test_code_beside_a_tokenizer_is_not_run(byte_level_folder):
  """Also where the folder asks for it, and whatever the environment says."""
  (byte_level_folder / "evil.py").write_text(
    f"open({str(byte_level_folder / 'mark')!r}, 'w')\nclass Evil: pass\n"
  )
  config = {
    "tokenizer_class": "Evil",
    "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},
  }
  path = byte_level_folder / "tokenizer_config.json"
  path.write_text(json.dumps(config))
  try:
    tokenizer_lib.load_tokenizer(byte_level_folder)
  except errors.UserError as error:
    assert "\n" not in str(error)
  assert not (byte_level_folder / "mark").exists()


def test_folder_says_which_files_are_missing(byte_level_folder):
  (byte_level_folder / "merges.txt").unlink()
  with pytest.raises(errors.UserError, match="vocab.json and merges.txt"):
    tokenizer_lib.load_tokenizer(byte_level_folder)


def test_no_network_and_no_cache_says_what_to_put_where(
  no_network, monkeypatch, tmp_path
):
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
  started = time.monotonic()
  with pytest.raises(errors.UserError) as error:
    tokenizer_lib.load_tokenizer("nobody/no-such-tokenizer")
  assert time.monotonic() - started < 20  # the hub's own retries take 45
  message = str(error.value)
  for part in (
    "nobody/no-such-tokenizer",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    str(constants.HF_HUB_CACHE),
  ):
    assert part in message
  assert "\n" not in message


def test_offline_mode_asks_nobody(monkeypatch):
  def fail(*_, **__):
    raise AssertionError("asked the network")

  monkeypatch.setattr(urllib.request, "urlopen", fail)
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
  with pytest.raises(errors.UserError, match="HF_HUB_OFFLINE"):
    tokenizer_lib.load_tokenizer("nobody/no-such-tokenizer")


def test_name_unknown_to_the_hub(monkeypatch):
  def not_found(request, timeout):
    del timeout
    raise urllib.error.HTTPError(request.full_url, 404, "", {}, None)

  monkeypatch.setattr(urllib.request, "urlopen", not_found)
  monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
  with pytest.raises(errors.UserError, match="the hub has no tokenizer"):
    tokenizer_lib.load_tokenizer("nobody/no-such-tokenizer")


def test_missing_folder_is_not_looked_up_on_the_hub(tmp_path):
  with pytest.raises(errors.UserError, match="no tokenizer folder"):
    tokenizer_lib.load_tokenizer(tmp_path / "none")


def test_check_against_the_model(tokenizer):
  tokenizer_lib.check(tokenizer, 9, 1)
  for vocab_size, pad in ((8, 1), (9, 0)):
    with pytest.raises(errors.UserError, match="does not fit"):
      tokenizer_lib.check(tokenizer, vocab_size, pad)
  # Nine tokens, one of which no embedding has.
  tokenizer.get_vocab = lambda: {"a": 0, "b": 10**6}
  with pytest.raises(errors.UserError, match="ids up to 1000000"):
    tokenizer_lib.check(tokenizer, 9, 1)
