"""Tokenizers: found locally or on the Hugging Face hub, used one way.

The released models use roberta-base's byte-level BPE; any fast tokenizer with
a padding token will do.
"""

from __future__ import annotations

import logging
import os
import pathlib
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgmg_jax import errors

Tokenizer = Any  # transformers.PreTrainedTokenizerFast

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
      f"tokenizer {name!r} of the hub cannot be used: {_first_line(error)}"
    ) from error


def encode(
  tokenizer: Tokenizer, expressions: Sequence[str], length: int
) -> tuple[np.ndarray, np.ndarray]:
  """Token ids of expressions, padded to one static length.

  The text is taken as it is; lower-casing is the data set's business.

  Args:
    tokenizer: from `load_tokenizer`.
    expressions: B sentences.
    length: L, tokens per sentence with the special ones.

  Returns:
    tokens int32[B, L] and token_valid bool[B, L].

  Raises:
    UserError: names an expression that is empty or longer than `length`.
  """
  for expression in expressions:
    if not isinstance(expression, str) or not expression.strip():
      raise errors.UserError(
        f"expression {expression!r} is empty: expected a sentence"
      )
  tokens = np.full((len(expressions), length), tokenizer.pad_token_id, np.int32)
  token_valid = np.zeros((len(expressions), length), bool)
  for row, expression in enumerate(expressions):
    ids = tokenizer(expression, truncation=False, verbose=False)["input_ids"]
    if len(ids) > length:
      raise errors.UserError(
        f"expression {_shortened(expression)!r} has {len(ids)} tokens, "
        f"expected at most {length}"
      )
    tokens[row, : len(ids)] = ids
    token_valid[row, : len(ids)] = True
  return tokens, token_valid


def check(tokenizer: Tokenizer, vocab_size: int, pad_token_id: int) -> None:
  """Raises a UserError unless the tokenizer fits a model's embeddings."""
  if len(tokenizer) > vocab_size or tokenizer.pad_token_id != pad_token_id:
    raise errors.UserError(
      f"the tokenizer ({len(tokenizer)} tokens, padding id "
      f"{tokenizer.pad_token_id}) does not fit the model, expected at most "
      f"{vocab_size} tokens and padding id {pad_token_id}"
    )


def _from_folder(folder: pathlib.Path) -> Tokenizer:
  have = {path.name for path in folder.iterdir()}
  whole = "tokenizer.json" in have
  parts = {"vocab.json", "merges.txt"} <= have
  if not whole and not parts:
    raise errors.UserError(f"no tokenizer in {folder}: put {_FILES} there")
  if not have & {"tokenizer_config.json", "config.json"}:
    raise errors.UserError(
      f"no tokenizer_config.json in {folder}: put it beside the tokenizer"
    )
  try:
    return _pretrained(str(folder), local_files_only=True)
  except Exception as error:
    raise errors.UserError(
      f"the tokenizer in {folder} cannot be read: {_first_line(error)}"
    ) from error


def _pretrained(name: str, **kwargs) -> Tokenizer:
  # Without PyTorch, transformers warns at import that there will be no models;
  # there are none to come.
  os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
  from transformers import AutoTokenizer

  logger = logging.getLogger("transformers")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    tokenizer = AutoTokenizer.from_pretrained(name, use_fast=True, **kwargs)
  finally:
    logger.setLevel(level)
  if not tokenizer.is_fast or tokenizer.pad_token_id is None:
    raise ValueError("expected a fast tokenizer with a padding token")
  return tokenizer


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


def _first_line(error: Exception) -> str:
  return str(error).strip().partition("\n")[0][:200]
