"""From a checkpoint to scores on every data set, by every route."""

import contextlib
import dataclasses
import json
import shutil
import signal
import threading

import numpy as np
import PIL.Image
import pytest

import sgmg_jax
from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import (
  best_query,
  davis,
  evaluator,
  measures,
  prediction_folder,
  predictions,
  protocols,
  units,
)
from sgmg_jax.inference import expression_groups, memory_estimate

SQUARE = dict(size=(96, 96))


@pytest.fixture(scope="module")
def model():
  return sgmg_jax.load("refshapes-mini")


@pytest.fixture(scope="module")
def data(miniatures, tmp_path_factory):
  """Settings by data set; RefShapes clips in the layout of each."""
  root = tmp_path_factory.mktemp("data")
  few = dict(num_frames=4, **SQUARE)

  def of(name, path, split, **others):
    return evaluator.Settings(name, str(path), split, group=4, **others)

  ytvos = miniatures.make_refer_ytvos(root, train=1, **few)
  a2d = miniatures.make_a2d(root, **SQUARE)
  return {
    "own": of("own", miniatures.make_own(root, valid=2, **few), "valid"),
    "refer_ytvos": of("refer_ytvos", ytvos, "train"),
    "unscored": of("refer_ytvos", ytvos, "valid"),
    "mevis": of("mevis", miniatures.make_mevis(root, **few), "valid_u"),
    "refer_davis": of(
      "refer_davis",
      miniatures.make_refer_davis(root, **few),
      "valid",
      window=36,
    ),
    "a2d": of("a2d", a2d, "test", window=5, num_videos=1),
    "jhmdb": of(
      "jhmdb",
      miniatures.make_jhmdb(root, videos=1, **SQUARE),
      "test",
      window=5,
    ),
    "refcoco": of(
      "refcoco",
      miniatures.make_refcoco(root, **SQUARE),
      "val",
      window=1,
      num_videos=2,
    ),
  }


@pytest.fixture(scope="module")
def results(model, data, tmp_path_factory):
  """Results by data set, evaluated when first asked for."""
  found = {}

  def evaluate(name):
    if name not in found:
      out = tmp_path_factory.mktemp("runs") / name
      found[name] = evaluator.evaluate([model], data[name], out)
    return found[name]

  return evaluate


NAMES = (
  "own",
  "refer_ytvos",
  "mevis",
  "refer_davis",
  "a2d",
  "jhmdb",
  "refcoco",
)


@pytest.mark.parametrize("name", NAMES)
def test_folder_and_zip_score_as_the_evaluation(name, data, results, tmp_path):
  result = results(name)
  truth = data[name].truth()
  archive = shutil.make_archive(
    tmp_path / "masks", "zip", result.folder / "predictions"
  )
  for place in (result.folder, result.folder / "predictions", archive):
    scores = protocols.score(truth, place, processes=1)
    assert scores.numbers == pytest.approx(
      result.scores.numbers, abs=0, nan_ok=True
    )
    assert scores.rows == result.scores.rows
    assert list(scores.notes) == list(result.scores.notes)
  held = json.loads((result.folder / "scores.json").read_text())
  assert held["main"] == result.scores.main
  # It listens: the model was trained on such clips.
  assert result.scores.numbers[result.scores.main] > 0.35


def segment(model, source, group=4):
  """(expression, masks, truth) as `segment` gives them."""
  for name in dict.fromkeys(e.video for e in source.expressions):
    every = range(len(source.video(name).frames))
    asked = [e for e in source.expressions if e.video == name]
    found = model.segment(
      source.read_frames(name, every), [e.text for e in asked], group=group
    )
    for e, masks in zip(asked, found.masks):
      yield e, masks, source.read_masks(e, every)


@pytest.mark.parametrize("name", ["own", "mevis"])
def test_what_users_call_is_what_is_scored(name, model, data, results):
  direct = [
    (
      measures.region_similarity(masks, true).mean(),
      measures.boundary_measure(masks, true).mean(),
    )
    for _, masks, true in segment(model, data[name].truth().source)
  ]
  j, f = np.mean(direct, 0)
  numbers = results(name).scores.numbers
  assert numbers["J"] == pytest.approx(j, abs=1e-12)
  assert numbers["F"] == pytest.approx(f, abs=1e-12)


def test_davis_merges_the_objects_of_an_annotator(model, data, results):
  source = data["refer_davis"].truth().source
  sequences = {a: [] for a in range(4)}
  for video in dict.fromkeys(e.video for e in source.expressions):
    every = range(len(source.video(video).frames))
    sentences = [e.text for e in source.expressions if e.video == video]
    (clip,) = model.prepare(source.read_frames(video, every), window=36)
    features = model.encode_clip(clip)
    true = np.stack([source.labels(video, t) for t in every])
    for annotator in range(4):
      texts = model.encode_texts(sentences[annotator::4], group=4)
      answers = model.ask(features, texts)
      found = np.concatenate([model.probabilities(a, clip) for a in answers])
      labels = davis.merge_expressions(found)
      sequences[annotator].append(davis.evaluate_sequence(labels, true))
  direct = davis.mean_results([davis.results(s) for s in sequences.values()])
  numbers = results("refer_davis").scores.numbers
  assert numbers == pytest.approx(direct, abs=1e-12)


def test_annotated_frames_are_detected(model, data, results):
  source = data["a2d"].truth().source
  inter, union = [], []
  for e in source.expressions:
    length = len(source.video(e.video).frames)
    window = [min(max(e.frame + k, 0), length - 1) for k in range(-2, 3)]
    clip = source.read_frames(e.video, window)
    found = model.detect(clip, window.index(e.frame), [e.text], group=4)
    mask = found.masks[0, found.scores[0].argmax()]
    (true,) = source.read_masks(e, [e.frame])
    inter.append((mask & true).sum())
    union.append((mask | true).sum())
  direct = best_query.Overlaps(np.array(inter), np.array(union)).results()
  numbers = results("a2d").scores.numbers
  assert {k: numbers[k] for k in direct} == pytest.approx(direct, abs=1e-6)


def test_without_ground_truth_masks_are_predicted_alone(results):
  result = results("unscored")
  assert result.scores is None
  command = f"sgmg submit {result.settings.path} {result.folder} --data refer_"
  assert command in result.describe()
  assert not (result.folder / "scores.json").exists()
  assert len(list(result.folder.rglob("*.png"))) > 0


class Stopped(Exception):
  """What ends a run in the middle."""


def test_an_interrupted_run_goes_on(model, data, results, tmp_path):
  settings, seen = data["own"], []

  def stop_after_one(number, total):
    seen.append((number, total))
    if number:
      raise Stopped

  with pytest.raises(Stopped):
    evaluator.evaluate([model], settings, tmp_path, progress=stop_after_one)
  log = (tmp_path / "progress/00000.jsonl").read_text()
  done = json.loads(log)["unit"]
  written = sorted(tmp_path.rglob(f"{done}/**/*.png"))
  dates = [path.stat().st_mtime_ns for path in written]
  # What a killed run half wrote is written again.
  for path in set(tmp_path.rglob("*.png")) - set(written):
    path.write_bytes(b"")
  result = evaluator.evaluate([model], settings, tmp_path)
  assert result.units == 1 and seen == [(0, 2), (1, 2)]
  assert [path.stat().st_mtime_ns for path in written] == dates
  assert result.scores.rows == results("own").scores.rows


class FakeKind:
  """Work of one part a unit, which names the predictor that did it."""

  def read(self, predictor, unit):
    return unit.name

  def compute(self, predictor, unit, read):
    barrier, name = predictor
    with contextlib.suppress(threading.BrokenBarrierError):
      barrier.wait(1)  # Both work at the same time.
    if unit.name == "bad":
      raise UserError("a bad unit")
    yield name

  def write(self, predictor, unit, part, folder):
    return part

  def record(self, unit, parts):
    return {"by": parts[0]}


def predict(names, folder):
  everything = [units.Unit(name, name, None, ()) for name in names]
  barrier = threading.Barrier(2)
  predictors = [(barrier, name) for name in ("first", "second")]
  folder = prediction_folder.PredictionFolder(folder, {})
  evaluator._predict(FakeKind(), predictors, everything, folder, None, 0)
  return folder.records(names)


def test_devices_share_the_units(tmp_path):
  names = [str(i) for i in range(8)]
  records = predict(names, tmp_path)
  assert [r["unit"] for r in records] == names
  assert {r["by"] for r in records} == {"first", "second"}


def test_an_error_on_one_device_ends_all(tmp_path):
  with pytest.raises(UserError, match="a bad unit"):
    predict(["0", "1", "2", "bad", *map(str, range(4, 400))], tmp_path)
  assert len((tmp_path / "progress/00000.jsonl").read_text().split()) < 100


def test_ctrl_c_ends_all_devices(tmp_path, monkeypatch):
  def write(self, predictor, unit, part, folder):
    if unit.name == "2":
      signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    return part

  monkeypatch.setattr(FakeKind, "write", write)
  with pytest.raises(KeyboardInterrupt):
    predict(list(map(str, range(10000))), tmp_path)
  log = (tmp_path / "progress/00000.jsonl").read_text()
  assert len(log.splitlines()) < 10000


@pytest.mark.parametrize("free, clips", [(2**34, 1), (0, 2)])
def test_windows_depend_on_the_memory_before(
  free, clips, model, data, monkeypatch
):
  # What another video takes while this one is read must not matter.
  monkeypatch.setattr(
    memory_estimate, "free", lambda device: pytest.fail("measured")
  )
  monkeypatch.setitem(model.preprocess, "window", 2)
  source = data["own"].truth().sentences
  found = memory_estimate.Free(free, free, shared=True)
  kind = predictions.SentenceMasks(source, None, 4, "video", 0.5, found)
  assert len(kind.read(model, units.of_source(source)[0])) == clips


def test_processes_share_the_units(model, data, results, tmp_path, monkeypatch):
  """The second works while the first waits for it at the beginning."""
  alone, index, ran = results("own").scores, 0, []
  monkeypatch.setattr(evaluator.jax, "process_count", lambda: 2)
  monkeypatch.setattr(evaluator.jax, "process_index", lambda: index)

  def wait(what):
    nonlocal index
    if index == 0 and what == "evaluation: folder":
      index = 1
      ran.append(evaluator.evaluate([model], data["own"], tmp_path))
      index = 0

  monkeypatch.setattr(evaluator.distributed, "wait_for_others", wait)
  first = evaluator.evaluate([model], data["own"], tmp_path)
  (second,) = ran
  assert first.units == second.units == 1 and second.scores is None
  assert first.scores.rows == alone.rows


@pytest.mark.parametrize("grouping", ["video", "objects"])
def test_fast_sgmg_sees_the_sentences_of_a_group(
  grouping, fast_sgmg, data, tmp_path
):
  settings = dataclasses.replace(data["own"], group=0, grouping=grouping)
  settings = dataclasses.replace(settings, num_videos=1)
  result = evaluator.evaluate([fast_sgmg], settings, tmp_path)
  source = settings.truth().sentences
  rounds = {}
  for e in source.expressions:
    same = [o for o in source.expressions if o.object_ids == e.object_ids]
    rounds.setdefault(same.index(e) if grouping == "objects" else 0, []).append(
      e
    )
  assert (len(rounds) > 1) == (grouping == "objects")
  for group in rounds.values():
    video = group[0].video
    every = range(len(source.video(video).frames))
    found = fast_sgmg.segment(
      source.read_frames(video, every), [e.text for e in group]
    )
    for e, masks in zip(group, found.masks, strict=True):
      place = result.folder / "predictions/Annotations" / video / e.id
      written = [
        np.asarray(PIL.Image.open(f)) > 0 for f in sorted(place.iterdir())
      ]
      assert np.array_equal(written, masks), e.text
  other = dataclasses.replace(settings, group=1)
  with pytest.raises(UserError, match=r"group \d \(now 1\)"):
    evaluator.evaluate([fast_sgmg], other, tmp_path)


def test_memory_is_estimated_for_what_is_asked_together(fast_sgmg, data):
  """Ref-DAVIS17 asks about each annotator's objects, four times."""
  source = data["refer_davis"].truth().sentences
  (unit, *_) = units.of_source(source)
  found = memory_estimate.Free(2**34, 2**34, shared=True)
  kind = predictions.AnnotatorLabels(source, 36, 6, "video", 0.5, found)
  objects = len(unit.expressions) // 4
  assert [len(r) for r in kind.rounds(unit)] == [objects] * 4
  assert kind.group_of(fast_sgmg, unit) == expression_groups.padded(objects, 6)


def test_another_threshold_is_another_run(model, data, results):
  folder = results("own").folder
  other = dataclasses.replace(data["own"], threshold=0.4)
  with pytest.raises(UserError, match=r"threshold 0.5 \(now 0.4\)"):
    evaluator.evaluate([model], other, folder)


def test_bad_settings_are_one_line(model, data, tmp_path):
  own = data["own"]
  for change, message in (
    (dict(path=str(tmp_path / "none")), "no such folder"),
    (dict(split="unknown"), "unknown"),
    (dict(options={"colour": 1}), "colour"),
  ):
    with pytest.raises(UserError, match=message):
      evaluator.evaluate([model], dataclasses.replace(own, **change), tmp_path)
  assert not any(tmp_path.iterdir())
