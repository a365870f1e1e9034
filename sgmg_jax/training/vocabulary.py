"""The small byte-level BPE tokenizer that RefShapes models are trained with.

Built from the training sentences, so that a run needs no download; text is
lower-cased and its white space collapsed, as training captions are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tokenizers
import transformers
from tokenizers import (
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
  trainers,
)

# Their positions are RoBERTa's: padding is 1.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")


def train_tokenizer(
  sentences: Iterable[str], vocab_size: int, max_tokens: int
) -> Any:
  """A `transformers` fast tokenizer with at most `vocab_size` tokens.

  Args:
    sentences: what the merges are learned from.
    vocab_size: with the 256 bytes and the special tokens.
    max_tokens: longest sentence the model can take, with `<s>` and `</s>`.
  """
  bpe = tokenizers.Tokenizer(models.BPE())
  bpe.normalizer = normalizers.Sequence(
    [
      normalizers.Lowercase(),
      normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
      normalizers.Strip(),
    ]
  )
  bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
  bpe.decoder = decoders.ByteLevel()
  bpe.train_from_iterator(
    sentences,
    trainers.BpeTrainer(
      vocab_size=vocab_size,
      special_tokens=list(SPECIAL_TOKENS),
      initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
      show_progress=False,
    ),
  )
  bpe.post_processor = processors.RobertaProcessing(
    ("</s>", bpe.token_to_id("</s>")),
    ("<s>", bpe.token_to_id("<s>")),
    add_prefix_space=True,
  )
  return transformers.PreTrainedTokenizerFast(
    tokenizer_object=bpe,
    bos_token="<s>",
    cls_token="<s>",
    eos_token="</s>",
    sep_token="</s>",
    pad_token="<pad>",
    unk_token="<unk>",
    model_max_length=max_tokens,
  )
