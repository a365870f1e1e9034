"""Raw files -> build -> the same expressions, frames and masks."""

import collections
import dataclasses
import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_data_source
from etils import epath
from tensorflow_datasets.core import shuffle
from tensorflow_datasets.core.utils import shard_utils

from sgmg_jax.cli import main
from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import pipeline, recipes
from sgmg_jax.input_pipeline.built import build
from sgmg_jax.input_pipeline.built import builder as builders_base
from sgmg_jax.input_pipeline.built import reader as built
from sgmg_jax.input_pipeline.sets import registry

# Each set: maker, options of its raw reader, and splits to build (none: the
# data set's own).
SETS = {
  "refer_ytvos": ("make_refer_ytvos", {}, ("train", "valid", "test")),
  "refer_davis": ("make_refer_davis", {}, ()),
  "mevis": ("make_mevis", {}, ()),
  "a2d": ("make_a2d", {}, ()),
  "jhmdb": ("make_jhmdb", {}, ()),
  "refcoco": ("make_refcoco", {}, ()),
  "refcoco+": ("make_refcoco", {}, ()),
  "refcocog": ("make_refcoco", {}, ()),
  "own": ("make_own", {}, ()),
  "refshapes": (None, {"num_clips": 3, "num_frames": 4}, ("train", "test")),
}


@pytest.fixture(scope="module")
def built_sets(miniatures, tmp_path_factory):
  """Builds each set once: name -> (raw folder, data_dir, splits)."""
  done = {}

  def get(name):
    if name not in done:
      folder = tmp_path_factory.mktemp(name.replace("+", "_plus"))
      maker, options, splits = SETS[name]
      raw = getattr(miniatures, maker)(folder) if maker else None
      result = build.build(
        name, raw, folder / "data", splits=splits, options=options
      )
      done[name] = raw, folder / "data", tuple(result.splits)
    return done[name]

  return get


def fields(expression):
  e = expression
  return e.video, e.id, e.text, e.object_ids, e.frame


@pytest.mark.parametrize("name", SETS)
def test_equals_the_raw_source(built_sets, name):
  path, data_dir, splits = built_sets(name)
  assert splits
  for split in splits:
    raw = registry.open_source(name, path, split, **SETS[name][1])
    stored = registry.open_source(name, data_dir, split)
    assert isinstance(stored, built.BuiltSource)
    assert (stored.name, stored.split) == (name, split)
    assert len(stored.expressions) > 0
    assert [fields(e) for e in stored.expressions] == [
      fields(e) for e in raw.expressions
    ]
    public = any(e.object_ids for e in raw.expressions)
    for video in {e.video for e in raw.expressions}:
      assert stored.video(video) == raw.video(video)
      indices = range(len(raw.video(video).frames))
      frames = raw.read_frames(video, indices)
      if (name, split) == ("a2d", "train"):  # JPEG of quality 95.
        difference = stored.read_frames(video, indices) - frames.astype(int)
        assert 0 < np.abs(difference).mean() < 3
      else:
        np.testing.assert_array_equal(
          stored.read_frames(video, indices), frames
        )
    for e in raw.expressions:
      annotated = [e.frame]
      if e.frame is None:
        annotated = range(len(raw.video(e.video).frames))
      if not public:
        with pytest.raises(UserError, match="no ground truth"):
          stored.read_masks(e, [0])
        continue
      np.testing.assert_array_equal(
        stored.read_masks(e, annotated), raw.read_masks(e, annotated)
      )
      for index in annotated:
        expected = raw.objects(e.video, index)
        found = stored.objects(e.video, index)
        assert sorted(found) == sorted(expected)
        for object_id, mask in found.items():
          np.testing.assert_array_equal(mask, expected[object_id])
      expected = raw.box(e)
      assert (expected is None) == (raw.name not in recipes.IMAGES)
      np.testing.assert_array_equal(stored.box(e), expected)


@pytest.mark.parametrize("name", SETS)
def test_batches_are_those_of_the_raw_files(built_sets, name):
  raw, data_dir, _ = built_sets(name)
  split = "test" if name == "jhmdb" else "train"
  settings = dict(
    sets=((name, raw.name if raw else "", 1),),
    batch_size=2,
    num_frames=2,
    buckets=((96, 128), (128, 96), (128, 128), (160, 160)),
    sizes={"shorts": (64, 80), "longest": 112, "crop_shorts": (80,)},
  )
  if name.startswith("refcoco"):
    settings["sizes"] = {"shorts": (64, 80), "longest": 112}
  elif name == "jhmdb":
    settings["sizes"] = {"short": 64, "longest": 112}
  elif name == "refshapes":
    settings["sizes"] = {}
  batches = []
  for root in (raw.parent if raw else "", data_dir):
    options = {} if root == data_dir else {name: SETS[name][1]}
    config = pipeline.Config(root=str(root), options=options, **settings)
    pipe = pipeline.create(config, split, seed=3)
    batches.append([next(pipe) for _ in range(2)])
    pipe.close()
  for from_raw, from_built in zip(*batches):
    for field in dataclasses.fields(from_raw):
      a, b = (getattr(x, field.name) for x in (from_raw, from_built))
      if (name, field.name) == ("a2d", "frames"):  # JPEG there.
        assert np.median(np.abs(a.astype(int) - b)) < 4
      else:
        np.testing.assert_array_equal(a, b, err_msg=field.name)


def test_image_files_are_stored_unchanged(built_sets):
  path, data_dir, _ = built_sets("refer_ytvos")
  raw = registry.open_source("refer_ytvos", path, "train")
  stored = registry.open_source("refer_ytvos", data_dir, "train")
  video = raw.expressions[0].video
  assert stored.encoded_frame(video, 1) == raw.encoded_frame(video, 1)


def test_frames_without_ground_truth_have_none(built_sets):
  _, data_dir, _ = built_sets("a2d")
  stored = registry.open_source("a2d", data_dir, "train")
  e = stored.expressions[0]
  with pytest.raises(UserError, match=f"{e.video}.*no ground truth"):
    stored.objects(e.video, e.frame + 1)


def test_reads_only_the_records_asked_for(built_sets):
  _, data_dir, _ = built_sets("refer_ytvos")
  stored = built.BuiltSource(data_dir, "train", name="refer_ytvos")
  read = []
  records = stored._records
  stored._records = type(
    "Spy", (), {"__getitem__": lambda _, i: read.append(i) or records[i]}
  )()
  last = stored.expressions[-1]
  stored.read_frames(last.video, [0, 2])
  stored.read_masks(last, [0, 2])
  first = sum(
    len(stored.video(v).frames)
    for v in dict.fromkeys(e.video for e in stored.expressions)
    if v != last.video
  )
  assert read == [first, first + 2]


@pytest.mark.parametrize("level", ["", "own", "own/1.0.0"])
def test_is_built_takes_any_level(built_sets, level):
  path, data_dir, _ = built_sets("own")
  assert built.is_built(data_dir / level, "own")
  assert built.BuiltSource(data_dir / level, "train", name="own").expressions
  # Another set is not there, and raw files are no build.
  assert not built.is_built(data_dir / level, "mevis")
  assert not built.is_built(path, "own")


def test_refcoco_sets_do_not_mix(built_sets):
  _, data_dir, _ = built_sets("refcoco+")
  assert built.is_built(data_dir, "refcoco+")
  assert not built.is_built(data_dir, "refcoco")


def test_splits_are_named_when_one_is_missing(built_sets):
  _, data_dir, _ = built_sets("jhmdb")
  with pytest.raises(UserError, match="no split 'train', built were test"):
    built.BuiltSource(data_dir, "train", name="jhmdb")


def test_a_failed_build_leaves_nothing(miniatures, tmp_path):
  raw = miniatures.make_own(tmp_path)
  frame = sorted((raw / "train/JPEGImages").glob("*/*"))[-1]
  frame.unlink()
  with pytest.raises(UserError, match=frame.name):
    build.build("own", raw, tmp_path / "data")
  assert not built.is_built(tmp_path / "data", "own")
  assert not [p for p in (tmp_path / "data").rglob("*") if p.is_file()]


def test_an_interrupted_build_is_named(tmp_path):
  left = tmp_path / "own" / "1.0.0.incompleteABC_1.0.0"
  left.mkdir(parents=True)
  (left / "dataset_info.json").write_text("{}")
  with pytest.raises(UserError, match="interrupted build of own; remove"):
    built.is_built(tmp_path, "own")
  assert not built.is_built(left, "own")


def test_a_second_build_is_refused(built_sets):
  path, data_dir, _ = built_sets("own")
  with pytest.raises(UserError, match="built already .splits train, valid"):
    build.build("own", path, data_dir, splits=["train"])


def test_a_lost_record_file_is_named(built_sets, tmp_path):
  _, data_dir, _ = built_sets("own")
  copy = tmp_path / "data"
  shutil.copytree(data_dir, copy)
  (shard,) = (copy / "own/1.0.0").glob("own-train.array_record-*")
  shard.unlink()
  with pytest.raises(UserError, match=f"{shard.name}: no such file"):
    built.BuiltSource(copy, "train", name="own")


def test_a_cut_record_file_is_an_error_of_the_frame(built_sets, tmp_path):
  _, data_dir, _ = built_sets("own")
  copy = tmp_path / "data"
  shutil.copytree(data_dir, copy)
  (shard,) = (copy / "own/1.0.0").glob("own-train.array_record-*")
  shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
  stored = built.BuiltSource(copy, "train", name="own")
  with pytest.raises(
    UserError, match="video .* frame .*build the data set again"
  ):
    stored.encoded_frame(stored.expressions[0].video, 0)


def test_index_of_another_format_is_refused(built_sets, tmp_path):
  _, data_dir, _ = built_sets("own")
  copy = tmp_path / "data"
  shutil.copytree(data_dir, copy)
  index = copy / "own/1.0.0/index-train.json"
  index.write_text(index.read_text().replace('"format": 1', '"format": 2'))
  with pytest.raises(UserError, match="format 2, expected 1"):
    built.BuiltSource(copy / "own/1.0.0", "train", name="own")


def test_the_object_of_a_single_frame_must_be_there(miniatures, tmp_path):
  raw = miniatures.make_a2d(tmp_path)
  listed = raw / "a2d_sentences_single_frame_train_annotations.json"
  examples = json.loads(listed.read_text())
  examples[0][3] = 99
  listed.write_text(json.dumps(examples))
  with pytest.raises(UserError, match="lacks object 99"):
    build.build("a2d", raw, tmp_path / "data", splits=["train"])


def test_frames_of_another_size_stop_the_build(miniatures, tmp_path):
  raw = miniatures.make_own(tmp_path)
  frame = sorted((raw / "train/JPEGImages").glob("*/*"))[-1]
  width, height = PIL.Image.open(frame).size
  PIL.Image.new("RGB", (width + 1, height)).save(frame)
  with pytest.raises(UserError, match="image of .* pixels, expected"):
    build.build("own", raw, tmp_path / "data", splits=["train"])


def test_bad_requests(tmp_path):
  with pytest.raises(UserError, match="data set 'ytvos': expected one of"):
    build.build("ytvos", tmp_path, tmp_path / "data")
  with pytest.raises(UserError, match="no such folder.*Register"):
    build.build("refer_ytvos", tmp_path / "none", tmp_path / "data")
  with pytest.raises(UserError, match="split 'all'"):
    build.build("own", tmp_path, tmp_path / "data", splits=["all"])
  (tmp_path / "empty").mkdir()
  with pytest.raises(UserError, match="empty: no such folder, or empty; exp"):
    build.build("own", tmp_path / "empty", tmp_path / "data")


@pytest.mark.parametrize("value", ["x", "²", "1.5"])
def test_options_that_are_no_numbers(tmp_path, capsys, value):
  command = ["data", "build", "refshapes", "--data_dir", str(tmp_path)]
  assert main.main([*command, "--option", f"num_clips={value}"]) == 2
  error = capsys.readouterr().err
  assert f"num_clips {value!r}: expected an integer" in error


def test_missing_tensorflow_is_found_first(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "tensorflow", None)
  with pytest.raises(UserError, match="needs TensorFlow: pip install"):
    build.build("refshapes", None, tmp_path / "data")
  assert not list(tmp_path.iterdir())


def test_beam_asked_for_and_not_installed(miniatures, tmp_path, monkeypatch):
  raw = miniatures.make_own(tmp_path)
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(UserError, match="pip install apache-beam"):
    build.build("own", raw, tmp_path / "data", beam_options=[])
  assert not (tmp_path / "data").exists()


def test_large_splits_are_sorted_in_parts():
  total = 100_000
  keys = [builders_base._sort_key(n, total) for n in range(total)]
  assert all(a < b for a, b in itertools.pairwise(keys))
  parts = collections.Counter(shuffle.get_bucket_number(k, 1000) for k in keys)
  assert len(parts) > 100 and max(parts.values()) < 2 * total / len(parts)
  # Each is an open file.
  assert len(parts) < 200


def test_many_record_files_keep_the_order(miniatures, tmp_path, monkeypatch):
  monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 1000)
  monkeypatch.setattr(
    shard_utils.ShardConfig, "get_number_shards", lambda *_, **__: 3
  )
  path = miniatures.make_own(tmp_path)
  build.build("own", path, tmp_path / "data", splits=["train"])
  shards = list((tmp_path / "data/own/1.0.0").glob("own-train.array_record-*"))
  assert len(shards) == 3
  raw = registry.open_source("own", path, "train")
  stored = registry.open_source("own", tmp_path / "data", "train")
  for video in {e.video for e in raw.expressions}:
    for index in range(len(raw.video(video).frames)):
      assert stored.encoded_frame(video, index) == raw.encoded_frame(
        video, index
      )


def test_remote_files_are_written_by_way_of_a_local_one(monkeypatch, tmp_path):
  copied = {}

  def copy(self, target, overwrite):
    copied[str(target)] = self.read_bytes()

  monkeypatch.setattr(type(epath.Path()), "copy", copy)
  writer = builders_base._Writer(tfds.core.FileFormat.ARRAY_RECORD)
  writer.write("gs://bucket/own-train", [(0, b"first"), (1, b"second")])
  ((target, content),) = copied.items()
  assert target == "gs://bucket/own-train"
  local = tmp_path / "copy"
  local.write_bytes(content)
  records = array_record_data_source.ArrayRecordDataSource(str(local))
  assert [records[0], records[1]] == [b"first", b"second"]


@pytest.mark.parametrize(
  "arguments, expected",
  [
    (["--split", "train"], 0),
    (["--option", "version"], 2),
    (["--split", "none"], 2),
  ],
)
def test_command(miniatures, tmp_path, capsys, arguments, expected):
  raw = miniatures.make_own(tmp_path)
  data_dir = tmp_path / "my data"
  code = main.main(
    [
      *("data", "build", "own", "--manual_dir", str(raw)),
      *("--data_dir", str(data_dir), *arguments),
    ]
  )
  out, err = capsys.readouterr()
  assert code == expected
  if code:
    assert err.splitlines()[-1].startswith("sgmg: error: ")
  else:
    assert f"is in {data_dir}/own/1.0.0" in out
    assert built.is_built(data_dir, "own")


def test_reading_needs_no_tensorflow(built_sets):
  _, data_dir, _ = built_sets("own")
  check = (
    "import sys; from sgmg_jax.input_pipeline.sets import registry; "
    f"s = registry.open_source('own', {str(data_dir)!r}, 'train'); "
    "s.read_masks(s.expressions[0], [0]); "
    "assert 'tensorflow' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", check], check=True)
