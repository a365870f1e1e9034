"""`sgmg ablate`: rows, runs that go on after a stop, and the table."""

import json

import pytest

from sgmg_jax.bench import ablations, model
from sgmg_jax.cli import config_files, main
from sgmg_jax.errors import UserError
from sgmg_jax.training import loop

RELEASED = ("fft", 16, True, "none")


def _rows(table, tmp_path):
  runs = ablations.plan(table, 1, tmp_path)
  return [tuple(run.switches.values()) for run in runs]


def test_rows_of_the_tables(tmp_path):
  assert _rows("5", tmp_path) == [
    ("none", 1, False, "none"),
    ("none", 16, False, "none"),
    ("none", 1, True, "none"),
    ("fft", 1, False, "none"),
    ("none", 16, True, "none"),
    RELEASED,
  ]
  assert _rows("6", tmp_path) == [
    ("none", 1, False, "fpn"),
    ("none", 1, True, "fpn"),
    ("none", 1, True, "none"),
  ]
  assert _rows("H", tmp_path) == [
    ("conv", 16, True, "none"),
    ("linear", 16, True, "none"),
    RELEASED,
  ]


def test_rows_differ_in_the_switches_alone(tmp_path):
  runs = ablations.plan("5", 2, tmp_path)
  assert [(r.row, r.seed) for r in runs[5:7]] == [(6, 0), (1, 1)]
  first, other = (run.config.to_dict() for run in (runs[0], runs[5]))
  assert first["model"].pop("refine") is not other["model"].pop("refine")
  for switch in ("spectral", "patch", "decoder"):
    del first["model"][switch], other["model"][switch]
  assert first == other and first["model"]["num_queries"] == 5
  # Seeds draw other clips, and nothing else.
  assert {**runs[0].config.to_dict(), "seed": 1} == runs[6].config.to_dict()


@pytest.mark.parametrize(
  "spec, message",
  [
    ("table=7", "table 7: expected one of 5, 6, H"),
    ("table=6,row=4", "row 4: expected 1 to 3 of table 6"),
  ],
)
def test_no_such_row(spec, message):
  with pytest.raises(UserError, match=message):
    config_files.load(f"ablations:{spec}")


@pytest.fixture
def ablate(monkeypatch, tmp_path):
  """Runs the command; training gives scores, the figures are made up.

  Attributes of the function: `trained`, seed and switches of each training,
  and `broken`, how many may be done before one fails.
  """

  def train(config, workdir, stop):
    del workdir, stop
    row = config.model.spectral, config.model.refine
    if len(call.trained) == call.broken:
      raise FloatingPointError("loss is NaN")
    call.trained.append((config.seed, *row))
    value = 0.5 + 0.1 * row[1] + 0.02 * config.seed
    scores = {"J&F": value, "J": value, "F": value, "J&F place": value}
    return {f"refshapes/{name}": x for name, x in scores.items()}

  def figures(setup, rows):
    del setup
    return [{"parameters": 5e6, "gflop": 7.0} for _ in rows]

  monkeypatch.setattr(loop, "train", train)
  monkeypatch.setattr(ablations, "work_and_speed", figures)

  def call(*args, table="6", seeds=2):
    return main.main(
      ["ablate", f"--table={table}", f"--seeds={seeds}", f"--out={tmp_path}"]
      + list(args)
    )

  call.trained, call.broken = [], None
  return call


def test_goes_on_where_it_stopped(ablate, tmp_path, capsys):
  ablate.broken = 4
  assert ablate() == 1
  assert not (tmp_path / "table_6.md").exists()
  ablate.broken = None
  assert ablate() == 0
  seeds = [run[0] for run in ablate.trained]
  assert seeds == [0, 0, 0, 1, 1, 1]
  # Everything is there, also the row that Table 5 has in common.
  assert ablate() == 0 and len(ablate.trained) == 6
  assert ablate("--rows=3", table="5") == 0 and len(ablate.trained) == 6
  content = json.loads((tmp_path / "table_6.json").read_text())
  assert [row["seeds"] for row in content["rows"]] == [2, 2, 2]
  assert content["rows"][1]["J&F"]["mean"] == pytest.approx(0.61)
  table = (tmp_path / "table_6.md").read_text()
  line = "| 2 | none | 1 | yes | fpn | 2 | 61.0 ± 1.4 | 61.0 ± 1.4 |"
  assert line in table and "| 5.00 | 7.00 |" in table
  assert table in capsys.readouterr().out


def test_refuses_runs_of_another_config(ablate, capsys):
  assert ablate("--rows=1", seeds=1) == 0
  assert ablate("--rows=1", "--config.total_steps=7", seeds=1) == 2
  assert "run with another config" in capsys.readouterr().err


def test_figures_without_training(ablate, tmp_path):
  assert ablate(seeds=0) == 0 and not ablate.trained
  table = (tmp_path / "table_6.md").read_text()
  assert "J&F" not in table and "| 3 | none | 1 | yes | none | 0 |" in table


@pytest.mark.parametrize(
  "flags, message",
  [
    (["--rows=a"], "--rows a: expected numbers such as 1,6"),
    (["--rows=4"], "row 4: expected 1 to 3 of table 6"),
    (["--height=100"], "frames of 100x640: the model needs at least 144"),
    (["--repeats=-1"], "--repeats -1: expected >= 0"),
  ],
)
def test_bad_input(ablate, flags, message, capsys):
  assert ablate(*flags) == 2
  assert message in capsys.readouterr().err
  assert not ablate.trained


def test_work_of_rows():
  """Tracing alone; the parts that are left out have no work."""
  setup = model.Setup("mu", frames=1, height=144, width=144, repeats=0)
  released = dict(spectral="fft", patch=16, refine=True, decoder="none")
  nothing = dict(spectral="none", patch=1, refine=False, decoder="none")
  small = dict(depths=(1, 1, 1, 1), encoder_layers=1, decoder_layers=1)
  rows = [released | small, nothing | small]
  whole, bare = ablations.work_and_speed(setup, rows)
  assert bare["parameters"] < whole["parameters"]
  assert bare["gflop"] < whole["gflop"]
  assert "frames_per_second" not in whole
