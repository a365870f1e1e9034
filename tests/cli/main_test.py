"""The table of commands, help, and how errors come out."""

import pathlib
import subprocess
import sys

import pytest

import sgmg_jax
from sgmg_jax.cli import data
from sgmg_jax.cli import main as cli


def test_every_module_is_in_the_table():
  folder = pathlib.Path(cli.__file__).parent
  modules = {path.stem for path in folder.glob("*.py")}
  of_data = {f"data_{name}" for name in data.COMMANDS}
  assert set(cli.COMMANDS) | of_data == modules - {"__init__", "main"}


@pytest.mark.parametrize(
  "name", [*cli.COMMANDS, *(f"data {name}" for name in data.COMMANDS)]
)
def test_help_has_examples(name, capsys):
  with pytest.raises(SystemExit) as exit_:
    cli.main([*name.split(), "--help"])
  assert exit_.value.code == 0
  text = capsys.readouterr().out
  assert "examples:" in text and f"sgmg {name} " in text
  assert max(map(len, text.splitlines())) < 100


def test_overview_lists_every_command(capsys):
  for arguments in (["--help"], []):
    with pytest.raises(SystemExit) as exit_:
      cli.main(arguments)
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for name in cli.COMMANDS:
      assert f"\n  {name} " in text


def test_version_and_unknown_command(capsys):
  with pytest.raises(SystemExit) as exit_:
    cli.main(["--version"])
  assert exit_.value.code == 0
  assert sgmg_jax.__version__ in capsys.readouterr().out
  with pytest.raises(SystemExit) as exit_:
    cli.main(["segmet"])
  assert exit_.value.code == 2


def test_interruption_is_not_a_traceback(monkeypatch, capsys):
  def stop(args):
    raise KeyboardInterrupt

  monkeypatch.setattr("sgmg_jax.cli.demo.run", stop)
  assert cli.main(["demo"]) == 130
  assert capsys.readouterr().err == "sgmg: interrupted\n"


def test_help_waits_for_nothing_heavy():
  """Neither `sgmg --help`, which imports every command, nor sgmg_jax."""
  check = (
    "import sys; from sgmg_jax.cli import main\n"
    "try: main.main(['--help'])\n"
    "except SystemExit: pass\n"
    "heavy = {'jax', 'numpy', 'flax', 'orbax', 'optax', 'transformers',"
    " 'tensorflow', 'torch', 'PIL', 'av'} & set(sys.modules)\n"
    "assert not heavy, heavy"
  )
  result = subprocess.run(
    [sys.executable, "-c", check], capture_output=True, text=True
  )
  assert result.returncode == 0, result.stderr
