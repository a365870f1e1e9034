"""A small byte-level BPE tokenizer learned from RefShapes sentences.

Special tokens and their ids are RoBERTa's, so that the same code reads both:
`<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3; a sentence becomes `<s> ... </s>`.
Being byte-level it encodes any text, unknown words simply take more tokens.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Iterable

import tokenizers
from tokenizers import (
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
  trainers,
)

from sgmg_jax.input_pipeline.refshapes import dataset

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
# Enough for every word of the grammar to become one token.
VOCAB_SIZE = 768
MAX_LENGTH = 32


def train_tokenizer(
  num_clips: int = 2000, *, vocab_size: int = VOCAB_SIZE
) -> tokenizers.Tokenizer:
  """Learns merges from the sentences of the first training clips."""
  return learn(_sentences(num_clips), vocab_size=vocab_size)


def learn(
  sentences: Iterable[str], *, vocab_size: int = VOCAB_SIZE
) -> tokenizers.Tokenizer:
  """Learns merges from sentences.

  At most `vocab_size` tokens: 256 bytes, 4 special ones, the rest merges.
  """
  tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
  # As training captions are: "The  Red Ball" must give known words.
  tokenizer.normalizer = normalizers.Sequence(
    [
      normalizers.Lowercase(),
      normalizers.Strip(),
      normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
    ]
  )
  # A leading space makes the first word the same token as elsewhere.
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
  tokenizer.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=vocab_size,
    special_tokens=list(SPECIALS),
    initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    show_progress=False,
  )
  tokenizer.train_from_iterator(sentences, trainer)
  tokenizer.post_processor = processors.RobertaProcessing(
    ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True
  )
  return tokenizer


def save_tokenizer(
  tokenizer: tokenizers.Tokenizer, directory: str | os.PathLike
) -> pathlib.Path:
  """Writes the two files from which `AutoTokenizer` loads a fast tokenizer."""
  directory = pathlib.Path(directory)
  directory.mkdir(parents=True, exist_ok=True)
  config = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "model_max_length": MAX_LENGTH,
    "padding_side": "right",
    "bos_token": "<s>",
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "clean_up_tokenization_spaces": False,
  }
  files = {
    "tokenizer.json": tokenizer.to_str(pretty=True),
    "tokenizer_config.json": json.dumps(config, indent=2, allow_nan=False)
    + "\n",
  }
  for name, text in files.items():
    (directory / name).write_text(text, encoding="utf-8")
  return directory


def _sentences(num_clips: int) -> Iterable[str]:
  # Sentences need the outlines, not the pixels: small frames are enough.
  for index in range(num_clips):
    clip = dataset.generate_clip(
      "train", index, num_frames=6, height=64, width=64
    )
    for expression in clip.expressions:
      yield expression.text
