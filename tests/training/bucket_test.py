"""Checkpoints in a bucket: an emulator of Google Cloud Storage, no model."""

import json

import fsspec
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.training import bucket, checkpoint
from sgmg_jax.training import state as state_lib

pytestmark = pytest.mark.usefixtures("emulated_buckets")


@pytest.fixture
def address(request):
  return f"gs://bucket/{request.node.name}"


@pytest.fixture
def connect(address, tmp_path):
  """Makes a new empty workdir, and what mirrors it."""

  def make(name):
    (tmp_path / name).mkdir()
    return tmp_path / name, bucket.connect(address, tmp_path / name)

  return make


def _state(step):
  params = {"layer": {"kernel": jnp.arange(6.0).reshape(2, 3) + step}}
  state = state_lib.create(params, optax.adam(1e-3), use_ema=True)
  return state.replace(step=jnp.int32(step))


def _save(mirror, *steps):
  writer = checkpoint.Checkpointer(mirror.folder, keep=2)
  for step in steps:
    writer.save(_state(step), {"seen": step})
  saved = writer.describe_last()
  writer.close()
  return saved


def _restore(mirror):
  reader = checkpoint.Checkpointer(mirror.folder, keep=2)
  restored, position = reader.restore(_state(0)), reader.read_position()
  reader.close()
  step = int(restored.step)
  assert position == {"seen": step}
  jax.tree.map(np.testing.assert_array_equal, restored, _state(step))
  return step


def _objects(address):
  found = fsspec.filesystem("gs").find(address)
  return {path.removeprefix(f"{address[5:]}/") for path in found}


def _names(address):
  """Of checkpoints."""
  inside = {path.split("/")[1] for path in _objects(f"{address}")}
  return sorted(inside)


def test_saves_drops_lists_and_restores_every_bit(connect, address):
  _, mirror = connect("first")
  assert "step 3 is saved in gs://bucket/test_saves" in _save(mirror, 1, 2, 3)
  assert _names(address) == ["2", "3"]
  _, mirror = connect("another")
  assert _restore(mirror) == 3
  _save(mirror, 4)
  assert _restore(mirror) == 4 and _names(address) == ["3", "4"]


def test_a_damaged_one_is_set_aside_for_the_one_before(
  connect, address, caplog
):
  _, mirror = connect("first")
  _save(mirror, 1, 2)
  (array, *_) = sorted(
    path for path in _objects(address) if path.startswith("checkpoints/2/state")
  )
  (mirror.folder / array).write_text("something else")
  assert _restore(mirror) == 1
  assert _names(address) == ["1", "2.damaged"]
  name = array.removeprefix("checkpoints/2/")
  assert f"/checkpoints/2 is damaged ({name} is changed" in caplog.text


def test_one_that_was_killed_while_it_was_written_goes(
  connect, address, caplog
):
  _, mirror = connect("first")
  _save(mirror, 1, 2)
  # The last files of a save.
  for name in ("digests.json", "commit_success.txt"):
    (mirror.folder / "checkpoints/2" / name).unlink()
  assert _restore(mirror) == 1
  assert "damaged" not in caplog.text
  _save(mirror, 2)
  assert _restore(mirror) == 2 and _names(address) == ["1", "2"]


def test_a_fresh_workdir_gets_what_the_bucket_has(connect, address):
  first, mirror = connect("first")
  (first / "tokenizer/deep").mkdir(parents=True)
  (first / "tokenizer/vocab.json").write_text("{}")
  (first / "tokenizer/deep/file").write_bytes(b"\0\xff")
  (first / "metrics.jsonl").write_text('{"step": 1}\n')
  mirror.push("tokenizer", "metrics.jsonl", "best.json")
  second, mirror = connect("second")
  assert [path.name for path in second.iterdir()] == ["tokenizer"]
  (second / "metrics.jsonl").write_text("of another day")
  mirror.pull("metrics.jsonl", "best.json")
  for name in ("tokenizer/vocab.json", "tokenizer/deep/file", "metrics.jsonl"):
    assert (second / name).read_bytes() == (first / name).read_bytes()
  assert not (second / "best.json").exists()


def test_a_model_replaces_the_one_before(connect, address):
  folder, mirror = connect("first")
  model = folder / "model"
  (model / "params").mkdir(parents=True)
  for name in ("card.json", "params/old"):
    (model / name).write_text("1")
  mirror.push("model")
  (model / "params/old").rename(model / "params/new")
  (model / "card.json").write_text(json.dumps("changed"))
  mirror.push("model")
  assert _objects(address) == {"model/card.json", "model/params/new"}
  assert (mirror.folder / "model/card.json").read_text() == '"changed"'


def test_checkpoints_of_the_workdir_are_not_passed_over(connect):
  folder, mirror = connect("first")
  mirror.refuse_other_checkpoints()
  (folder / "checkpoints/7").mkdir(parents=True)
  with pytest.raises(UserError, match="^checkpoint_dir: gs://.*gcloud storage"):
    mirror.refuse_other_checkpoints()


@pytest.mark.parametrize("wrong", ["runs/a", "gs://bucket", "s3://bucket/run"])
def test_another_address_is_refused(wrong, tmp_path):
  with pytest.raises(UserError, match="^checkpoint_dir: expected a folder"):
    bucket.connect(wrong, tmp_path)


def test_without_an_address_there_is_none(tmp_path):
  assert bucket.connect("", tmp_path) is None


def test_a_bucket_that_cannot_be_used_is_one_line(tmp_path, monkeypatch):
  monkeypatch.setattr(bucket, "_SECONDS", 1)

  def refused(address):
    with pytest.raises(UserError) as error:
      bucket.connect(address, tmp_path)
    assert "\n" not in str(error.value)
    return str(error.value)

  message = refused("gs://nobody/run")
  assert "gs://nobody/run cannot be read and written (NotFound: 404" in message
  monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
  assert "Max retries exceeded" in refused("gs://bucket/run")
  monkeypatch.delenv("STORAGE_EMULATOR_HOST")
  monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
  assert "CredentialsError" in refused("gs://bucket/run")
