"""Fixtures that several areas share."""

import os
import signal
import struct
import zlib

# Before JAX starts: libtpu, here to compile for TPUs, is no TPU.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

# Tests send signals, to themselves and to programs that inherit what is
# ignored: SIGINT of a job in the background, SIGHUP under nohup.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Two, so that what is shared over devices is tested as such.
jax.config.update("jax_num_cpu_devices", 2)

WORDS = (
  "a the and of on to that from red green blue yellow white black dog cat ball "
  "circle square left right moving rolling small large"
).split()


@pytest.fixture(autouse=True, scope="session")
def _compilation_cache(tmp_path_factory):
  """Keeps tests, and what they start, out of the user's cache."""
  patch = pytest.MonkeyPatch()
  patch.setenv("SGMG_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
  yield
  patch.undo()


@pytest.fixture(scope="session")
def mu_checkpoint(tmp_path_factory):
  """Path of a native checkpoint of the tiny variant with random weights."""
  from sgmg_jax.checkpoints import card as card_lib
  from sgmg_jax.checkpoints import expected_shapes, native
  from sgmg_jax.model import variants

  variant = variants.get_variant("mu")
  rng = np.random.RandomState(0)

  def random_weights(leaf):
    z = rng.standard_normal(leaf.shape).astype(np.float32)
    return z / np.sqrt(leaf.size / leaf.shape[-1]) if leaf.ndim > 1 else z / 5

  params = jax.tree.map(random_weights, expected_shapes.model(variant))
  card = card_lib.make(
    variant,
    name="mu",
    source={"made": "random weights"},
    licence="Apache-2.0",
    preprocess={"short_side": 144, "long_side": 320, "window": 8},
  )
  path = tmp_path_factory.mktemp("checkpoint") / "mu"
  native.save(path, params, card, _word_tokenizer())
  return path


def _word_tokenizer():
  """Words of a short list, unknown ones as <unk>."""
  import tokenizers
  import transformers

  special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
  words = {word: 4 + index for index, word in enumerate(WORDS)}
  model = tokenizers.models.WordLevel(special | words, unk_token="<unk>")
  backend = tokenizers.Tokenizer(model)
  backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  backend.post_processor = tokenizers.processors.TemplateProcessing(
    single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
  )
  return transformers.PreTrainedTokenizerFast(
    tokenizer_object=backend,
    bos_token="<s>",
    eos_token="</s>",
    pad_token="<pad>",
    unk_token="<unk>",
  )


@pytest.fixture(scope="session")
def make_bomb():
  """`make_bomb(path, side)`: a PNG of 80 bytes, side x side pixels large."""

  def chunk(kind, content):
    body = kind + content
    check = struct.pack(">I", zlib.crc32(body))
    return struct.pack(">I", len(content)) + body + check

  def make(path, side=15000):
    path.write_bytes(
      b"\x89PNG\r\n\x1a\n"
      + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
      + chunk(b"IDAT", zlib.compress(b""))
      + chunk(b"IEND", b"")
    )
    return path

  return make
