"""Pre-training: losses, schedule, resume, what it starts from and leaves."""

import functools
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from ml_collections import ConfigDict

from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import expected_shapes, native
from sgmg_jax.cli import main, train
from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.refshapes.labels import cell_batches, cell_labels
from sgmg_jax.losses import means
from sgmg_jax.model import sgmg, variants
from sgmg_jax.pretraining import cell_heads, tasks
from sgmg_jax.pretraining import phases as phases_lib
from sgmg_jax.training import loop, metric_writer

CONFIG = pathlib.Path(__file__).parents[2] / "configs/refshapes_video.py"
SMALL = dict(name="mu", depths=(1, 1, 1, 1))
MODULES = sorted(
  ["backbone_0"]
  + [f"input_fft_{i}" for i in range(4)]
  + [f"input_proj_{i}_{j}" for i in range(4) for j in range(2)]
)
measure = jax.jit(lambda *args: means.values(cell_heads.measure(*args)))
SIZES = [10, 12, 5, 4]  # classes with background


@pytest.fixture(scope="module")
def batch():
  spec = cell_batches.CellBatchSpec(
    seed=0,
    batch_size=2,
    num_frames=2,
    height=96,
    width=96,
    strides=cell_heads.STRIDES,
  )
  return cell_batches.make_batch(spec, 0)


def _scores_of(batch, *, right=50.0):
  """What heads would say that know the labels."""
  return [
    np.concatenate(
      [right * np.eye(n)[classes[..., k]] for k, n in enumerate(SIZES)]
      + [right * np.where(motion == 1, 1, -1)],
      -1,
    ).astype(np.float32)
    for classes, motion in zip(*batch.cells)
  ]


def test_labels_themselves_are_right(batch):
  measured = measure(_scores_of(batch), batch.cells)
  assert len(measured) == 3 * 8
  for name, value in measured.items():
    expected = 0.0 if name.startswith("loss") else 1.0
    assert float(value) == pytest.approx(expected, abs=1e-5), name


def test_only_cells_with_an_object_count_for_accuracy_and_motion(batch):
  scores = _scores_of(batch)
  for score, classes in zip(scores, batch.cells.classes):
    score[classes[..., 0] == 0] = 7.0
  measured = measure(scores, batch.cells)
  assert float(measured["accuracy_colour_8"]) == pytest.approx(1.0)
  assert float(measured["precision_motion_8"]) == pytest.approx(1.0)
  assert float(measured["loss_motion_8"]) == pytest.approx(0.0, abs=1e-6)
  # All classes alike: ln n of each, times the background's weight.
  expected = 0.15 * np.log(SIZES).sum()
  assert float(measured["loss_looks_8"]) == pytest.approx(expected, rel=1e-4)


def test_what_is_neither_true_nor_false_counts_for_nothing(batch):
  scores, width = _scores_of(batch), len(cell_labels.MOTION)
  judged = [motion >= 0 for motion in batch.cells.motion]
  for score, known in zip(scores, judged):
    deeds = score[..., -width:]
    deeds[~known] = 50.0
    # Undecided about all the rest: ln 2 of each that is judged somewhere.
    deeds[known] = 0.0
  measured = measure(scores, batch.cells)
  for stride, known in zip(cell_heads.STRIDES, judged):
    expected = np.log(2) * known.any((0, 1, 2, 3)).sum()
    loss = float(measured[f"loss_motion_{stride}"])
    assert loss == pytest.approx(expected, rel=1e-4) and expected > 5
    assert float(measured[f"recall_motion_{stride}"]) == 0.0


def test_motion_counts_by_its_weight():
  losses = {f"loss_looks_{s}": 1.0 for s in cell_heads.STRIDES}
  assert cell_heads.total_loss(losses) == pytest.approx(2.4)
  losses |= {f"loss_motion_{s}": 1.0 for s in cell_heads.STRIDES}
  assert cell_heads.total_loss(losses) == pytest.approx(2.4 * 1.3)
  assert cell_heads.total_loss(losses, 2.5) == pytest.approx(2.4 * 3.5)


def test_shares_of_devices_sum_to_the_whole(batch):
  scores = [
    np.sin(np.arange(s.size)).reshape(s.shape) for s in _scores_of(batch)
  ]
  whole = measure(scores, batch.cells)
  one_each = jax.tree.map(lambda x: x[:, None], (scores, batch.cells))
  shares = jax.jit(jax.vmap(cell_heads.measure))(*one_each)
  added = means.values(jax.tree.map(lambda x: x.sum(0), shares))
  for name, value in whole.items():
    np.testing.assert_allclose(added[name], value, rtol=1e-4)


def test_every_phase_rises_and_falls():
  phases = phases_lib.read_phases(((1, 4, 20, 2e-3), (4, 2, 30, 1e-3)), 5)
  rate = phases_lib.make_schedule(phases, warmup_steps=5, final_factor=0.1)
  assert float(rate(0)) == 0.0
  assert float(rate(5)) == pytest.approx(2e-3)
  assert 2e-4 < float(rate(19)) < 2.5e-4
  assert float(rate(20)) == 0.0
  assert float(rate(25)) == pytest.approx(1e-3)
  assert float(rate(50)) == pytest.approx(1e-4)


@pytest.mark.parametrize(
  "entries",
  [(), ((1, 4, 20),), ((1, 4, 5, 1e-3),), ((0, 4, 20, 1e-3),)],
)
def test_impossible_phases(entries):
  with pytest.raises(UserError, match="phases: expected .num_frames, batch"):
    phases_lib.read_phases(entries, 5)


def test_too_small_frames(tmp_path):
  config = _config()
  config.data.update(height=128, width=160)
  with pytest.raises(UserError, match="128x160, expected .* at least 144"):
    phases_lib.pretrain(config, tmp_path)


def test_commands_refuse_each_other_s_configs(tmp_path, capsys):
  other = CONFIG.with_name("refshapes.py")
  for command, config in (("train", CONFIG), ("pretrain", other)):
    arguments = [command, f"--config={config}", f"--workdir={tmp_path}"]
    assert main.main(arguments) == 2
    assert str(config) in capsys.readouterr().err


def _config(**changes):
  config = train.load_config(f"{CONFIG}:runlocal")
  config.model = ConfigDict(SMALL)
  config.phases = ((1, 2, 2, 1e-3), (2, 2, 3, 1e-3))
  config.loader.num_workers = 0
  config.update(changes)
  return config


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  folder = tmp_path_factory.mktemp("straight")
  phases_lib.pretrain(_config(), folder)
  return folder


@pytest.mark.slow
def test_logs_accuracies_of_every_phase(straight):
  lines = metric_writer.read_metrics(straight / "metrics.jsonl")
  assert [m["step"] for m in lines] == [1, 2, 3, 4, 5]
  assert {"accuracy_shape_8", "accuracy_size_32", "total"} <= lines[0].keys()
  assert "loss_motion_16" not in lines[1]
  assert lines[2]["loss_motion_16"] > 0


def _start(folder):
  """Zeros with what `sgmg train` takes from the run."""
  zeros = jax.tree.map(
    lambda x: np.zeros(x.shape, x.dtype),
    expected_shapes.model(variants.get_variant(**SMALL)),
  )
  return native.start_from(zeros, folder / "model")


@pytest.mark.slow
def test_leaves_what_encodes_a_video_as_trained(straight):
  params = _start(straight)
  sums = {
    name: sum(np.abs(x).sum() for x in jax.tree.leaves(part))
    for name, part in params.items()
  }
  assert sorted(name for name, total in sums.items() if total) == MODULES
  with pytest.raises(UserError, match="holds only the video part"):
    native.load(straight / "model")

  state = ocp.StandardCheckpointer().restore(straight / "checkpoints/5/state")
  model = sgmg.SgMg(variants.get_variant(**SMALL))
  frames = np.random.default_rng(0).standard_normal((1, 2, 160, 160, 3))
  inputs = np.float32(frames), np.ones((1, 160, 160), bool), [[160, 160]]
  encode = jax.jit(functools.partial(model.apply, method="encode_video"))
  trained, started = (
    encode({"params": {name: tree[name] for name in MODULES}}, *inputs)
    for tree in (state["params"]["video"], params)
  )
  jax.tree.map(np.testing.assert_array_equal, trained, started)


@pytest.mark.slow
def test_starts_from_what_a_run_left(straight):
  model = sgmg.SgMg(variants.get_variant(**SMALL))
  params = tasks.init_video(model, 7, str(straight / "model"))
  left = native.start_from(params["video"], straight / "model")
  jax.tree.map(np.testing.assert_array_equal, params["video"], left)


@pytest.mark.slow
def test_starts_from_a_whole_model_but_not_from_its_text(
  mu_checkpoint, tmp_path
):
  model = sgmg.SgMg(variants.get_variant("mu"))
  checkpoint = native.load(mu_checkpoint)
  whole = checkpoint.params
  params = tasks.init_video(model, 0, str(mu_checkpoint))
  assert sorted(params["video"]) == MODULES
  for name, module in params["video"].items():
    expected = jax.tree.map(np.float32, whole[name])
    jax.tree.map(np.testing.assert_array_equal, module, expected)
  card = card_lib.make(
    model.variant, name="x", source={}, licence="none", part="text_encoder"
  )
  text = {"text_encoder": whole["text_encoder"]}
  native.save(tmp_path / "text", text, card, checkpoint.tokenizer)
  with pytest.raises(UserError, match="init_from: .* nothing of what is"):
    tasks.init_video(model, 0, str(tmp_path / "text"))


@pytest.mark.slow
def test_stop_and_resume_is_a_straight_run_bit_for_bit(straight, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(straight, folder)
  shutil.rmtree(folder / "checkpoints/5")
  shutil.rmtree(folder / "model")
  phases_lib.pretrain(_config(), folder)
  lines = metric_writer.read_metrics(folder / "metrics.jsonl")
  assert [m["step"] for m in lines] == [1, 2, 3, 4, 5]
  one, two = _start(straight), _start(folder)
  jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.slow
def test_another_config_needs_another_workdir(straight):
  with pytest.raises(UserError, match="started with seed = 0, not 3"):
    phases_lib.pretrain(_config(seed=3), straight)


def test_every_value_of_the_config_is_read(assert_reads_all):
  modules = (phases_lib, tasks, loop)
  assert_reads_all(modules, train.load_config(str(CONFIG)))
