"""The tokenizer of a run, kept in its workdir."""

from __future__ import annotations

import pathlib
from typing import Any

from sgmg_jax.checkpoints import tokenizer as tokenizer_lib
from sgmg_jax.input_pipeline.refshapes import vocabulary
from sgmg_jax.model import variants


def get_tokenizer(
  folder: pathlib.Path,
  variant: variants.Variant,
  *,
  source: str,
  vocab_clips: int,
) -> Any:
  """The run's own tokenizer, copied or learned at its first start.

  Args:
    folder: where it is kept; as it is if it exists.
    variant: its vocabulary's size and padding id are the tokenizer's.
    source: a folder or a hub name; empty: learn one.
    vocab_clips: RefShapes clips whose sentences it is learned from.

  Raises:
    UserError: no tokenizer in `source`, or one that does not fit the variant.
  """
  if not folder.exists():
    temporary = folder.with_suffix(".tmp")
    if source:
      tokenizer_lib.load_tokenizer(source).save_pretrained(temporary)
    else:
      vocabulary.save_tokenizer(
        vocabulary.train_tokenizer(vocab_clips, vocab_size=variant.vocab_size),
        temporary,
      )
    temporary.rename(folder)
  tokenizer = tokenizer_lib.load_tokenizer(folder)
  tokenizer_lib.check(tokenizer, variant.vocab_size, variant.pad_token_id)
  return tokenizer
