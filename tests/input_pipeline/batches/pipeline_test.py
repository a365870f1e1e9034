"""Batches through tf.data: exact, whatever the threads and processes."""

import dataclasses
import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.batches import pipeline

FIELDS = [f.name for f in dataclasses.fields(pipeline.batch_lib.ClipBatch)]
SIZES = dict(
  shorts=(64, 80), longest=112, crop_shorts=(80,), min_side=64, max_side=100
)


@pytest.fixture(scope="module")
def root(miniatures, tmp_path_factory):
  """Ref-YouTube-VOS, A2D and RefCOCO in miniature."""
  folder = tmp_path_factory.mktemp("data")
  for name in ("refer_ytvos", "a2d", "refcoco"):
    getattr(miniatures, f"make_{name}")(folder)
  return folder


def _config(root, **changes):
  settings = dict(
    root=str(root),
    sets=(("refer_ytvos", "refer_youtube_vos", 1),),
    batch_size=4,
    num_frames=2,
    buckets=((96, 128), (128, 96)),
    sizes=SIZES,
  )
  return pipeline.Config(**settings | changes)


def _take(pipe, count):
  taken = list(itertools.islice(pipe, count))
  pipe.close()
  return taken


def _same(a, b):
  return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in FIELDS)


@pytest.fixture(scope="module")
def straight(root):
  return _take(pipeline.create(_config(root), "train", seed=1), 8)


def test_batches_are_as_promised(root, straight):
  pipe = pipeline.create(_config(root), "train", seed=1)
  assert pipe.shapes == ((96, 128), (128, 96)) and pipe.num_batches is None
  assert {b.frames.shape[2:4] for b in straight} <= set(pipe.shapes)
  for batch in straight:
    height, width = batch.frames.shape[2:4]
    assert batch.frames.shape == (4, 2, height, width, 3)
    assert batch.frames.dtype == np.uint8
    assert batch.masks.shape == (4, 2, height, width)
    assert batch.masks.dtype == bool
    assert batch.boxes.shape == (4, 2, 4) and batch.valid.shape == (4, 2)
    assert batch.boxes.dtype == np.float32
    assert batch.annotated is None and batch.valid_row.all()
    assert batch.valid.any(1).all()
    assert all(batch.expressions) and len(batch.expressions) == 4
    # Nothing but zeros outside of each clip.
    for frames, (h, w) in zip(batch.frames, batch.size):
      assert not frames[:, h:].any() and not frames[:, :, w:].any()
      assert frames[:, h - 1].any() and frames[:, :, w - 1].any()


def test_threads_change_nothing(root, straight):
  pipe = pipeline.create(
    _config(root, num_threads=4, prefetch=5), "train", seed=1
  )
  assert all(map(_same, _take(pipe, 8), straight))


@pytest.mark.slow
def test_worker_processes_change_nothing(root, straight):
  config = _config(root, num_workers=2, prefetch=3)
  pipe = pipeline.create(config, "train", seed=1)
  assert all(map(_same, _take(pipe, 5), straight))
  again = pipeline.create(_config(root), "train", seed=1)
  again.restore(pipe.position())
  assert all(map(_same, _take(again, 3), straight[5:]))


def test_another_seed_gives_other_batches(root, straight):
  other = _take(pipeline.create(_config(root), "train", seed=2), 2)
  assert not any(map(_same, other, straight))


def test_position_is_of_what_was_taken_and_restores_exactly(root, straight):
  pipe = pipeline.create(_config(root, prefetch=4), "train", seed=1)
  _take(pipe, 3)
  position = json.loads(json.dumps(pipe.position()))
  assert position["step"] == 3
  again = pipeline.create(_config(root, num_threads=2), "train", seed=1)
  again.restore(position)
  assert all(map(_same, _take(again, 5), straight[3:]))


@pytest.mark.parametrize("before, after", [(1, 2), (2, 4), (4, 1)])
def test_restores_onto_another_number_of_processes(
  root, straight, before, after
):
  pipe = pipeline.create(_config(root), "train", before - 1, before, seed=1)
  _take(pipe, 2)
  shares = []
  for index in range(after):
    pipe2 = pipeline.create(_config(root), "train", index, after, seed=1)
    pipe2.restore(pipe.position())
    shares.append(_take(pipe2, 2))
  for step, batches in enumerate(zip(*shares)):
    whole = straight[2 + step]
    joined = np.concatenate([b.frames for b in batches])
    np.testing.assert_array_equal(joined, whole.frames)
    assert [e for b in batches for e in b.expressions] == whole.expressions


def test_other_settings_cannot_go_on(root):
  position = pipeline.create(_config(root), "train", seed=1).position()
  for change, name in ((dict(num_frames=3), "num_frames"), ({}, "seed")):
    pipe = pipeline.create(_config(root, **change), "train", seed=7)
    with pytest.raises(UserError, match=f"{name}|seed"):
      pipe.restore(position)


def test_batch_must_divide_over_processes(root):
  with pytest.raises(UserError, match="over 3 processes"):
    pipeline.create(_config(root), "train", 0, 3)


def test_annotated_frames(root):
  config = _config(root, sets=(("a2d", "a2d_sentences", 1),), num_frames=3)
  (batch,) = _take(pipeline.create(config, "train"), 1)
  assert batch.frames.shape[1] == 3
  assert batch.masks.shape[1] == 1 and batch.boxes.shape == (4, 1, 4)
  assert batch.annotated.shape == (4, 1)
  assert (batch.annotated >= 0).all() and (batch.annotated < 3).all()


def test_several_expressions_per_clip(root):
  config = _config(root, expressions_per_clip=3)
  pipe = pipeline.create(config, "train", seed=1)
  assert pipe.num_samples < pipeline.create(_config(root), "train").num_samples
  assert pipe.position()["plan"]["expressions_per_clip"] == 3
  for batch in _take(pipe, 4):
    assert batch.masks.shape == (12, 2, *batch.frames.shape[2:4])
    assert batch.boxes.shape == (12, 2, 4) and batch.valid.shape == (12, 2)
    assert batch.expression_valid.shape == (4, 3)
    assert batch.expression_valid.any(1).all()
    seen = batch.valid.any(1).reshape(4, 3)
    np.testing.assert_array_equal(batch.expression_valid, seen)
    asked = np.array([bool(e) for e in batch.expressions]).reshape(4, 3)
    assert asked[:, 0].all() and not (batch.expression_valid & ~asked).any()


def test_joint_training_mixes_pseudo_videos_and_videos(root):
  config = _config(
    root,
    sets=(
      ("refcoco", "coco", 1),
      ("refer_ytvos", "refer_youtube_vos", 2),
    ),
    pseudo_video=True,
    batch_size=2,
  )
  pipe = pipeline.create(config, "train")
  indices = np.concatenate([b.index for b in _take(pipe, 12)])
  images = pipe.position()["plan"]["data"][0][1]
  assert (indices < images).any() and (indices >= images).any()


@pytest.mark.parametrize("count", [1, 2, 4])
def test_evaluation_has_every_sample_once_on_any_number_of_processes(
  root, count
):
  config = _config(
    root,
    sets=(("a2d", "a2d_sentences", 1),),
    sizes={"short": 72, "longest": 128},
  )
  found, batches = [], set()
  for index in range(count):
    pipe = pipeline.create(config, "test", index, count)
    taken = list(pipe)
    assert len(taken) == pipe.num_batches
    batches.add(len(taken))
    for batch in taken:
      assert (batch.valid_row == (batch.index >= 0)).all()
      found += batch.index[batch.valid_row].tolist()
  assert sorted(found) == list(range(pipe.num_samples))
  assert len(batches) == 1


@pytest.fixture
def corrupt(root, tmp_path):
  """A copy of which one video's frames are cut short; its header is not."""
  copy = tmp_path / "data"
  shutil.copytree(root / "refer_youtube_vos", copy / "refer_youtube_vos")
  folder = sorted((copy / "refer_youtube_vos/train/JPEGImages").iterdir())[0]
  for file in folder.iterdir():
    file.write_bytes(file.read_bytes()[:700])
  return copy, folder.name


def test_a_corrupt_record_names_its_file(corrupt):
  root, video = corrupt
  for threads in (1, 3):
    pipe = pipeline.create(_config(root, num_threads=threads), "train", seed=1)
    with pytest.raises(UserError) as caught:
      _take(pipe, 8)
    assert f"{video}/" in str(caught.value)
    assert "not a readable image" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    # It stays so, and what was taken before is where a new start goes on.
    with pytest.raises(UserError):
      next(pipe)
    assert pipe.position()["step"] < 8


def test_corrupt_records_can_be_passed_over(corrupt, caplog):
  root, video = corrupt
  runs = []
  for threads in (1, 3):
    pipe = pipeline.create(
      _config(root, on_error="skip", num_threads=threads), "train", seed=1
    )
    runs.append(_take(pipe, 8))
    assert pipe.errors and all(video in message for message in pipe.errors)
  assert all(map(_same, *runs))
  logged = [r.getMessage() for r in caplog.records if video in r.getMessage()]
  assert len(logged) == 2 * len(pipe.errors)


def test_too_many_corrupt_records_stop_the_run(corrupt):
  root, _ = corrupt
  pipe = pipeline.create(
    _config(root, on_error="skip", max_errors=1), "train", seed=1
  )
  with pytest.raises(UserError, match="more than data.max_errors = 1"):
    _take(pipe, 20)


def test_missing_tensorflow_is_found_first(tmp_path, monkeypatch):
  """Not when the first batch is wanted: a model has been built by then."""
  monkeypatch.setitem(sys.modules, "tensorflow", None)
  with pytest.raises(UserError, match="needs TensorFlow: pip install"):
    pipeline.create(_config(tmp_path / "no data"), "train")


def test_tensorflow_sees_no_accelerator():
  tf = pipeline.tensorflow()
  assert not tf.config.get_visible_devices("GPU")
  assert not tf.config.get_visible_devices("TPU")


@pytest.mark.parametrize(
  "change",
  [
    dict(on_error="ignore"),
    dict(num_threads=0),
    dict(num_workers=-1),
    dict(batch_size=0),
    dict(expressions_per_clip=0),
  ],
)
def test_bad_settings_are_refused(root, change):
  with pytest.raises(UserError, match="data."):
    _config(root, **change)


def test_batches_out_of_order_are_noticed(root):
  pipe = pipeline.create(_config(root), "train", seed=1)
  pipe._iterator = pipe._start()
  next(pipe._iterator)
  with pytest.raises(UserError, match="out of order"):
    next(pipe)
  assert pipe.position()["step"] == 0


@pytest.fixture(scope="module")
def services():
  """Two services in processes of their own, their addresses."""
  command = [
    sys.executable,
    "-m",
    "sgmg_jax.input_pipeline.service",
    "--port=0",
    "--host=localhost",
  ]
  running = [
    subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(2)
  ]
  yield [p.stdout.readline().split()[-1] for p in running]
  for process in running:
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_service_gives_the_same_batches(root, straight, services):
  for addresses in (services[:1], services):
    pipe = pipeline.create(_config(root, service=addresses), "train", seed=1)
    assert all(map(_same, _take(pipe, 5), straight))
    other = pipeline.create(_config(root, service=addresses), "train", seed=1)
    other.restore(pipe.position())
    assert all(map(_same, _take(other, 3), straight[5:]))


@pytest.mark.slow
def test_a_service_evaluates_everything_once(root, services):
  sets = (("a2d", "a2d_sentences", 1),)
  sizes = {"short": 72, "longest": 128}
  config = _config(root, sets=sets, sizes=sizes, service=services)
  found = np.concatenate(
    [b.index[b.valid_row] for b in pipeline.create(config, "test")]
  )
  expected = pipeline.create(config, "test").num_samples
  assert sorted(found) == list(range(expected))


@pytest.mark.slow
def test_a_service_tells_what_is_wrong(corrupt, services, tmp_path):
  root, video = corrupt
  pipe = pipeline.create(_config(root, service=services[:1]), "train", seed=1)
  with pytest.raises(UserError, match=f"{video}/.*not a readable image"):
    _take(pipe, 8)
