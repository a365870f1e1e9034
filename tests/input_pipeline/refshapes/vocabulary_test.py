"""The tokenizer trained on the grammar, through AutoTokenizer."""

import pytest
import transformers

from sgmg_jax.input_pipeline.refshapes import dataset, vocabulary


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  tokenizer = vocabulary.train_tokenizer(250)
  folder = tmp_path_factory.mktemp("tokenizer")
  return vocabulary.save_tokenizer(tokenizer, folder)


@pytest.fixture(scope="module")
def tokenizer(folder):
  return transformers.AutoTokenizer.from_pretrained(folder)


def test_loads_with_the_ids_of_roberta(folder, tokenizer):
  assert sorted(p.name for p in folder.iterdir()) == [
    "tokenizer.json",
    "tokenizer_config.json",
  ]
  assert tokenizer.is_fast
  assert len(tokenizer) <= vocabulary.VOCAB_SIZE
  ids = tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"])
  assert ids == [0, 1, 2, 3]
  assert tokenizer.pad_token_id == 1
  assert tokenizer.model_max_length == 32


def test_sentence_is_framed_and_padded(tokenizer):
  batch = tokenizer(["a red ball", "the star"], padding=True)
  assert batch.input_ids[0][0] == 0
  assert batch.input_ids[0][-1] == 2
  assert batch.input_ids[1][-2:] == [2, 1]
  assert batch.attention_mask[1] == [1, 1, 1, 1, 0]
  # The first word is the same token as inside a sentence.
  inside = tokenizer("red ball").input_ids[1:-1]
  assert batch.input_ids[0][2:-1] == inside


def test_words_of_unseen_sentences_are_mostly_single_tokens(tokenizer):
  words, longest = set(), 0
  for index in range(60):
    clip = dataset.generate_clip(
      "test", index, num_frames=6, height=64, width=64
    )
    for expression in clip.expressions:
      words |= set(expression.text.split())
      longest = max(longest, len(tokenizer(expression.text).input_ids))
  single = [w for w in words if len(tokenizer(w).input_ids) == 3]
  assert len(single) > 0.95 * len(words)
  assert longest <= 20


@pytest.mark.parametrize("text", ["naïve Zürich 猫 😀", "UPPER, case!", "\t"])
def test_encodes_any_text(tokenizer, text):
  ids = tokenizer(text).input_ids
  assert 3 not in ids
  decoded = tokenizer.decode(ids, skip_special_tokens=True)
  assert decoded.strip() == text.strip().lower()


def test_training_is_deterministic():
  sentences = ["a red ball", "the blue star", "a red star"] * 5
  first, again = (
    vocabulary.learn(sentences, vocab_size=280).to_str() for _ in range(2)
  )
  assert first == again


def test_case_and_white_space_do_not_matter():
  tokenizer = vocabulary.train_tokenizer(50)
  plain = tokenizer.encode("the red ball moving left").ids
  assert tokenizer.encode("  The RED ball\n moving  left ").ids == plain
