"""The tokenizer of a run, kept in its workdir."""

from __future__ import annotations

import logging
import pathlib
from typing import Any

from sgmg_jax import distributed
from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native
from sgmg_jax.files import atomic
from sgmg_jax.input_pipeline.refshapes import vocabulary
from sgmg_jax.model import variants

_logger = logging.getLogger(__name__)


class TruncationCounter:
  """Counts sentences of too many tokens and warns about the first one.

  It is what `tokenizer.encode` calls about them.

  Batches repeat sentences, so a message for each would fill the log.
  """

  def __init__(self):
    self._warned, self._count = False, 0

  def __call__(self, message: str) -> None:
    self._count += 1
    if not self._warned:
      _logger.warning("%s (said once; tokenizer.max_tokens)", message)
    self._warned = True

  def take(self) -> int:
    """Returns their number since the last call."""
    count, self._count = self._count, 0
    return count


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
    source: a tokenizer's or a checkpoint's folder, a bundled checkpoint, or a
      hub name; empty: learn one.
    vocab_clips: RefShapes clips whose sentences it is learned from.

  Raises:
    UserError: no tokenizer in `source`, or one that does not fit the variant.
  """
  with distributed.leader_first("tokenizer"):
    if not folder.exists():
      _make(folder, variant, source, vocab_clips)
  tokenizer = tokenizer_lib.load_tokenizer(folder)
  tokenizer_lib.check(tokenizer, variant.vocab_size, variant.pad_token_id)
  return tokenizer


def _make(folder, variant, source, vocab_clips) -> None:
  with atomic.output(folder) as new:
    if source:
      tokenizer_lib.load_tokenizer(_find(source)).save_pretrained(new)
    else:
      vocabulary.save_tokenizer(
        vocabulary.train_tokenizer(vocab_clips, vocab_size=variant.vocab_size),
        new,
      )


def _find(source: str) -> str | pathlib.Path:
  """Returns where a tokenizer lies: that of a checkpoint is inside it."""
  folder = pathlib.Path(source).expanduser()
  if (folder / card_lib.FILE).is_file() or source in native.bundled():
    return native.locate(source) / "tokenizer"
  return source
