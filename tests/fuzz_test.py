"""Damaged files of every kind: each is read or refused in one line.

Whatever else a reader raises, a hang or a large allocation is a fault. The
damage follows from a seed, which the failure names.
"""

import contextlib
import io
import json
import pathlib
import resource
import shutil
import signal
import zipfile

import numpy as np
import PIL.Image
import pytest

from sgmg_jax import errors
from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import native
from sgmg_jax.checkpoints.torch import convert
from sgmg_jax.checkpoints.torch import files as torch_file
from sgmg_jax.evaluation import detections_file, mask_files
from sgmg_jax.files import json_object
from sgmg_jax.inference import open_video as video_lib
from sgmg_jax.inference import results
from sgmg_jax.input_pipeline.layouts import mask_dict, meta_expressions

GOLDEN = pathlib.Path(__file__).parent / "golden"
MINI = native.PRETRAINED / "refshapes-mini"
SECONDS = 10
MEGABYTES = 400
# What a careless reader multiplies, indexes with or prints.
LEAVES = (
  *(None, True, -1, 0, 1.5, 1e308, float("nan"), 10**9, 10**30),
  *("", "x" * 300, "\ud800", "\x00", "../..", [], [[]], {}, {"size": 1}),
)


def damaged(data, rng):
  """The bytes with one to three faults, most of them a flipped bit."""
  data = bytearray(data)
  for _ in range(rng.integers(1, 4)):
    at, end = sorted(rng.integers(0, len(data) + 1, 2))
    at, end = int(at), int(min(end, at + rng.integers(1, 64)))
    match rng.integers(6) if rng.integers(2) else 0:
      case 0:
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
      case 1:
        del data[max(at, 1) :]
      case 2:
        data[at:end] = bytes(end - at)
      case 3:
        data[at:end] = b"\xff" * (end - at)
      case 4:
        data[at:at] = rng.bytes(rng.integers(1, 16))
      case 5:
        data[at:end] = b""
    data = data or bytearray(b"\0")
  return bytes(data)


def changed(value, rng):
  """A JSON value with one part replaced, removed or doubled."""
  if isinstance(value, dict) and value and rng.integers(8):
    key = sorted(value)[rng.integers(len(value))]
    kept = {k: v for k, v in value.items() if k != key}
    if not rng.integers(6):
      return kept
    return {**value, key: changed(value[key], rng)}
  if isinstance(value, list) and value and rng.integers(8):
    index = rng.integers(len(value))
    if not rng.integers(4):
      return value[:index]
    new = changed(value[index], rng)
    return [*value[:index], new, *value[index + 1 :]]
  return LEAVES[rng.integers(len(LEAVES))]


@contextlib.contextmanager
def bounded(what):
  """Fails where the block takes long, takes memory or raises anything else."""

  def hang(*_):
    raise TimeoutError(f"{what}: over {SECONDS} s")

  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  previous = signal.signal(signal.SIGALRM, hang)
  signal.alarm(SECONDS)
  try:
    yield
  except errors.UserError as error:
    assert "\n" not in str(error) and len(str(error)) < 3000, what
  except BaseException as error:
    raise AssertionError(f"{what}: {error!r}") from error
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
  grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
  assert grown < 1024 * MEGABYTES, f"{what}: {grown // 1024} MB"


def run(path, data, read, seeds, start=0):
  """Reads the sound file, then a damaged one for every seed."""
  write = path.write_bytes if isinstance(data, bytes) else path.write_text
  write(data if isinstance(data, bytes) else json.dumps(data))
  read(path)
  for seed in range(start, start + seeds):
    rng = np.random.default_rng(seed)
    if isinstance(data, bytes) or not rng.integers(3):
      whole = data if isinstance(data, bytes) else json.dumps(data).encode()
      path.write_bytes(damaged(whole, rng))
    else:
      path.write_text(json.dumps(changed(data, rng)))
    with bounded(f"{path.name}, seed {seed}"):
      read(path)


@pytest.mark.parametrize("form", ["zip", "stream"])
def test_torch_files(tmp_path, form):
  data = (GOLDEN / f"torch_{form}.pth").read_bytes()
  run(tmp_path / "x.pth", data, torch_file.read, 150)


def test_pickles(tmp_path):
  """Damage inside of an archive whose checksums are right."""
  with zipfile.ZipFile(GOLDEN / "torch_zip.pth") as archive:
    entries = {name: archive.read(name) for name in archive.namelist()}
  (name,) = [name for name in entries if name.endswith("data.pkl")]

  def read(path):
    with zipfile.ZipFile(tmp_path / "y.pth", "w") as archive:
      for entry, content in entries.items():
        archive.writestr(entry, path.read_bytes() if entry == name else content)
    torch_file.read(tmp_path / "y.pth")

  run(tmp_path / "data.pkl", entries[name], read, 200)


def test_safetensors(tmp_path):
  path = tmp_path / "x.safetensors"
  arrays = {"a": np.ones((2, 3), np.float32), "b": np.arange(4)}
  torch_file.write(path, arrays, "safetensors")
  run(path, path.read_bytes(), torch_file.read, 60)
  header = {
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "I64", "shape": [2], "data_offsets": [16, 32]},
  }

  def read(source):
    text = source.read_bytes()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(32))
    torch_file.read(path)

  run(tmp_path / "header", header, read, 60)


def test_cards(tmp_path):
  content = json.loads((MINI / "card.json").read_text())
  for large in ("curve", "files", "sha256"):
    del content[large]

  def read(path):
    card = card_lib.read(path.parent)
    card_lib.variant_of(card, path)
    if not card.get("part"):
      card_lib.preprocess_of(card, path)

  run(tmp_path / "card.json", content, read, 150)


def test_native_checkpoints(tmp_path):
  """Files of a checkpoint, with digests and, as in older ones, without."""
  folder = tmp_path / "mini"
  shutil.copytree(MINI, folder)
  files = sorted(path for path in folder.rglob("*") if path.is_file())
  content = json.loads((folder / "card.json").read_text())
  for seed in range(16):
    rng = np.random.default_rng(seed)
    path = files[rng.integers(len(files))]
    data = path.read_bytes()
    card = dict(content)
    if seed % 4:
      del card["sha256"]
      if path.parent.name != "tokenizer":
        # Of the same size, or the card's sizes tell.
        new = bytearray(data)
        for at in rng.integers(0, len(data), 8):
          new[at] ^= 1 << rng.integers(8)
        path.write_bytes(new)
    else:
      path.write_bytes(damaged(data, rng))
    if path.name != "card.json":
      (folder / "card.json").write_text(json.dumps(card))
    with bounded(f"{path.relative_to(folder)}, seed {seed}"):
      native.load(folder)
    path.write_bytes(data)
  (folder / "card.json").write_text(json.dumps(content))
  native.load(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_tokenizers(tmp_path, name):
  shutil.copytree(MINI / "tokenizer", tmp_path, dirs_exist_ok=True)
  content = json.loads((tmp_path / name).read_text())

  def read(path):
    tokenizer = tokenizer_lib.SavedTokenizer(path.parent)
    tokenizer_lib.check(tokenizer, 768, 1)
    tokenizer_lib.encode(tokenizer, ["the red circle"], 40)

  run(tmp_path / name, content, read, 40)


def test_roberta_configs(tmp_path):
  content = {
    "model_type": "roberta",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 1,
    "vocab_size": 120,
    "hidden_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "initializer_range": 0.02,
  }

  def read(path):
    with pytest.raises(errors.UserError):  # there are no weights
      convert.from_roberta({}, json_object.read(path), path)

  run(tmp_path / "config.json", content, read, 40)


def test_expressions(tmp_path):
  expression = {"exp": "a dog", "obj_id": "1"}
  video = {"expressions": {"0": expression}, "frames": ["00000", "00005"]}
  run(
    tmp_path / "meta_expressions.json",
    {"videos": {"a": video, "b": video}},
    lambda path: meta_expressions.read(path, objects="optional"),
    100,
  )


def test_run_lengths(tmp_path):
  mask = np.zeros((12, 16), bool)
  mask[3:7, 4:9] = True
  rle = results.encode_rle(mask)
  run(
    tmp_path / "rle.json",
    rle,
    lambda path: results.decode_rle(json_object.read(path)),
    100,
  )

  def read(path):
    masks = mask_dict.MaskDict(path)
    masks.decode(7, 0, (12, 16), "a dog")

  run(tmp_path / "mask_dict.json", {"7": [rle, None]}, read, 100)


def test_predicted_masks(tmp_path):
  """Zips of masks; half of the damage hits what lies within."""
  frames = ("00000", "00005")
  wanted = {(video, "0"): frames for video in "ab"}
  files = {}
  for (video, _), mode in zip(wanted, ("L", "P")):
    buffer = io.BytesIO()
    image = PIL.Image.fromarray(np.eye(12, 16, dtype=np.uint8))
    image.convert(mode).save(buffer, "png")
    for frame in frames:
      files[f"Annotations/{video}/0/{frame}.png"] = buffer.getvalue()

  def read(path):
    masks = mask_files.open_masks(str(path), wanted, "masks")
    faults = mask_files.check_names(masks, wanted)
    for key in wanted:
      names = masks.find(key, frames)
      mask_files.read_masks(masks.tree, names, (12, 16), faults)
    mask_files.accept(faults, path, False)

  def zipped(changed, data):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
      for name, content in files.items():
        archive.writestr(name, data if name == changed else content)
    return path

  run(tmp_path / "y.zip", zipped("", b"").read_bytes(), read, 100)
  first = next(iter(files))
  run(
    tmp_path / "x.png",
    files[first],
    lambda path: read(zipped(first, path.read_bytes())),
    100,
  )


def test_detections(tmp_path):
  mask = np.eye(12, 16, dtype=bool)
  entry = {
    "image_id": "v",
    "score": 0.5,
    "segmentation": results.encode_rle(mask),
    "bbox": [1, 2, 3, 4],
  }

  def read(path):
    found, faults = detections_file.read(path, {"v": (12, 16), "w": (12, 16)})
    mask_files.accept(faults, path, False)

  entries = [entry, {**entry, "image_id": "w"}]
  run(tmp_path / "x.json", entries, read, 150)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "tiff"])
def test_images(tmp_path, kind):
  pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
  buffer = io.BytesIO()
  PIL.Image.fromarray(pixels).save(buffer, kind)

  def read(path):
    for _ in video_lib.open_video(path):
      pass

  run(tmp_path / f"x.{kind}", buffer.getvalue(), read, 30)


def test_videos(tmp_path, capfd):
  import av

  path = tmp_path / "x.mp4"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("mpeg4", rate=8)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for index in range(6):
      picture = np.full((48, 64, 3), 40 * index, np.uint8)
      frame = av.VideoFrame.from_ndarray(picture, "rgb24")
      container.mux(stream.encode(frame))
    container.mux(stream.encode())

  def read(path):
    for _ in video_lib.open_video(path):
      pass

  run(path, path.read_bytes(), read, 60)
  capfd.readouterr()  # FFmpeg's own words
