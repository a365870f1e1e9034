"""Tokenizers: found locally or on the Hugging Face hub, used one way.

The released models use roberta-base's byte-level BPE; any fast tokenizer with
a padding token will do.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sgmg_jax import errors
from sgmg_jax.files import json_object

Tokenizer = Any  # transformers.PreTrainedTokenizerFast or SavedTokenizer

_logger = logging.getLogger(__name__)
warn = _logger.warning

_PROBE_SECONDS = 5
_FILES = "tokenizer.json (or vocab.json and merges.txt), tokenizer_config.json"


def load_tokenizer(name: str | os.PathLike) -> Tokenizer:
  """The tokenizer of a local folder or a Hugging Face hub name.

  A hub name is looked up in the local Hugging Face cache first, so that a
  machine without network does not wait for one.

  Raises:
    UserError: no tokenizer there; says which files to put where.
  """
  folder = pathlib.Path(name).expanduser()
  if folder.is_dir():
    return _from_folder(folder)
  name = str(name)
  if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
    raise errors.UserError(f"no tokenizer folder {name}: expected {_FILES}")
  try:
    return _pretrained(name, local_files_only=True)
  except Exception:  # not in the cache, or only in part
    _require_hub(name)
  try:
    return _pretrained(name)
  except Exception as error:
    raise errors.UserError(
      f"tokenizer {name!r} of the hub cannot be used: "
      f"{errors.first_line(error, 200)}"
    ) from error


class SavedTokenizer:
  """A tokenizer of a native checkpoint, without waiting for transformers.

  What `save_pretrained` of a fast tokenizer wrote gives the same ids through
  the tokenizers library alone. It has what `encode` and `native.save` need.
  """

  def __init__(self, folder: pathlib.Path):
    """Reads a folder.

    Raises:
      UserError: no tokenizer there, or it is damaged.
    """
    import tokenizers

    _require_files(folder, {"tokenizer.json"})
    if not (folder / "tokenizer_config.json").is_file():
      raise errors.UserError(f"no tokenizer_config.json in {folder}")
    # In memory: the folder may be replaced by what is saved from it.
    self._files = {
      path.name: path.read_bytes()
      for path in sorted(folder.iterdir())
      if path.is_file()
    }
    with _naming_damage(folder):
      self._backend = tokenizers.Tokenizer.from_buffer(
        self._files["tokenizer.json"]
      )
      config = json.loads(self._files["tokenizer_config.json"])
      pad_token = config["pad_token"]
      if isinstance(pad_token, dict):
        pad_token = pad_token["content"]
      self.pad_token_id = self._backend.token_to_id(pad_token)
    self._backend.no_truncation()
    self._backend.no_padding()

  def __len__(self) -> int:
    return self._backend.get_vocab_size(with_added_tokens=True)

  def get_vocab(self) -> dict[str, int]:
    return self._backend.get_vocab(with_added_tokens=True)

  def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
    return {"input_ids": self._backend.encode(text).ids}

  def save_pretrained(self, folder: str | os.PathLike) -> None:
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in self._files.items():
      (folder / name).write_bytes(data)


def encode(
  tokenizer: Tokenizer,
  expressions: Sequence[str],
  length: int,
  on_truncation: Callable[[str], None] = warn,
) -> tuple[np.ndarray, np.ndarray]:
  """Token ids of expressions, padded or truncated to one static length.

  The text is taken as it is; lower-casing is the data set's business.

  Args:
    expressions: B sentences.
    length: L, tokens per sentence with the special ones.
    on_truncation: called with a message for every sentence of more tokens: it
      keeps the first L - 1 and its end token.

  Returns:
    tokens int32[B, L] and token_valid bool[B, L].

  Raises:
    UserError: names an expression that is empty or not valid Unicode.
  """
  for expression in expressions:
    if not isinstance(expression, str) or not expression.strip():
      raise errors.UserError(
        f"expression {expression!r} is empty: expected a sentence"
      )
    # What Python makes of bytes in another encoding, or of half a character.
    if any("\ud800" <= character <= "\udfff" for character in expression):
      raise errors.UserError(
        f"expression {expression!r} is not text in UTF-8: expected a sentence"
      )
  tokens = np.full((len(expressions), length), tokenizer.pad_token_id, np.int32)
  token_valid = np.zeros((len(expressions), length), bool)
  for row, expression in enumerate(expressions):
    ids = tokenizer(expression, truncation=False, verbose=False)["input_ids"]
    if len(ids) > length:
      on_truncation(
        f"expression {_shortened(expression)!r} has {len(ids)} tokens, the "
        f"model takes {length}: its end is cut off"
      )
      ids = [*ids[: length - 1], ids[-1]]
    tokens[row, : len(ids)] = ids
    token_valid[row, : len(ids)] = True
  return tokens, token_valid


def check_same(tokenizer: Tokenizer, other: Tokenizer, source: object) -> None:
  """Raises a UserError unless both give every token the same id.

  Args:
    other: that the text encoder in `source` was trained with.
  """
  ours, theirs = tokenizer.get_vocab(), other.get_vocab()
  if ours == theirs:
    return
  moved = [t for t in sorted(theirs) if ours.get(t, theirs[t]) != theirs[t]]
  only = sorted(ours.keys() ^ theirs.keys())
  token = (moved or only)[0]
  number = lambda ids: ids.get(token, "none")
  raise errors.UserError(
    f"tokenizer.source: expected {source}, which the text encoder to start "
    f"from was trained with; token {token!r} has number {number(theirs)} there "
    f"and {number(ours)} here"
  )


def check(tokenizer: Tokenizer, vocab_size: int, pad_token_id: int) -> None:
  """Raises a UserError unless the tokenizer fits a model's embeddings."""
  most = max(tokenizer.get_vocab().values(), default=-1)
  if most >= vocab_size or tokenizer.pad_token_id != pad_token_id:
    raise errors.UserError(
      f"the tokenizer (token ids up to {most}, padding id "
      f"{tokenizer.pad_token_id}) does not fit the model, expected ids below "
      f"{vocab_size} and padding id {pad_token_id}"
    )


def _require_files(folder: pathlib.Path, *choices: set[str]) -> None:
  """Raises a UserError unless one of the sets of files exists."""
  have = {path.name for path in folder.iterdir()}
  if not any(files <= have for files in choices):
    raise errors.UserError(f"no tokenizer in {folder}: put {_FILES} there")


def _from_folder(folder: pathlib.Path) -> Tokenizer:
  _require_files(folder, {"tokenizer.json"}, {"vocab.json", "merges.txt"})
  with _naming_damage(folder):
    # roberta-base's own tokenizer_config.json names no class.
    if _names_class(folder):
      return _pretrained(str(folder), local_files_only=True)
    return _roberta(folder)


@contextlib.contextmanager
def _naming_damage(folder: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except (errors.UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
    raise
  # A panic of the tokenizers library is no Exception.
  except BaseException as error:
    raise errors.UserError(
      f"the tokenizer in {folder} cannot be read: "
      f"{errors.first_line(error, 200)}"
    ) from error


def _names_class(folder: pathlib.Path) -> bool:
  """Whether the files beside a tokenizer say of which class it is."""
  for name, key in (
    ("tokenizer_config.json", "tokenizer_class"),
    ("config.json", "model_type"),
  ):
    path = folder / name
    if path.is_file() and json_object.read(path).get(key):
      return True
  return False


def _roberta(folder: pathlib.Path) -> Tokenizer:
  with _quiet_transformers():
    from transformers import RobertaTokenizerFast

    tokenizer = RobertaTokenizerFast.from_pretrained(
      str(folder), local_files_only=True, trust_remote_code=False
    )
  special = ["<s>", "<pad>", "</s>", "<unk>"]
  if tokenizer.convert_tokens_to_ids(special) != [0, 1, 2, 3]:
    raise errors.UserError(
      f"the tokenizer in {folder} is not RoBERTa's: expected tokenizer_class "
      "in tokenizer_config.json, or its config.json beside it"
    )
  return tokenizer


def _pretrained(name: str, **kwargs) -> Tokenizer:
  with _quiet_transformers():
    from transformers import AutoTokenizer

    # Never code of the folder or the hub.
    tokenizer = AutoTokenizer.from_pretrained(
      name, use_fast=True, trust_remote_code=False, **kwargs
    )
  if not tokenizer.is_fast or tokenizer.pad_token_id is None:
    raise ValueError("expected a fast tokenizer with a padding token")
  return tokenizer


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
  # Without PyTorch, transformers warns at import that there will be no models;
  # there are none to come.
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
  logger = logging.getLogger("transformers")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


def _require_hub(name: str) -> None:
  """Raises a UserError unless the hub answers and has the name.

  One request: the hub's own client retries a dead network for 45 seconds.
  """
  from huggingface_hub import constants

  how = (
    f"put {_FILES} of {name!r} into a folder and name that folder instead, "
    f"or copy the Hugging Face cache of a machine that has it to "
    f"{constants.HF_HUB_CACHE}"
  )
  if constants.HF_HUB_OFFLINE:
    raise errors.UserError(
      f"tokenizer {name!r} is not cached and HF_HUB_OFFLINE is set: {how}"
    )
  url = f"{constants.ENDPOINT}/{name}/resolve/main/tokenizer_config.json"
  request = urllib.request.Request(url, method="HEAD")
  try:
    urllib.request.urlopen(request, timeout=_PROBE_SECONDS).close()
  except urllib.error.HTTPError as error:
    if error.code in (401, 404):  # the hub hides private names behind 401
      raise errors.UserError(
        f"the hub has no tokenizer {name!r}: expected a hub name such as "
        f"roberta-base or a folder with {_FILES}"
      ) from error
  except OSError as error:
    raise errors.UserError(
      f"tokenizer {name!r} is not cached and {constants.ENDPOINT} cannot be "
      f"reached: {how}"
    ) from error


def _shortened(text: str) -> str:
  return text if len(text) <= 60 else f"{text[:57]}..."
