"""The table of commands, help, and how errors come out."""

import errno
import io
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

import sgmg_jax
from sgmg_jax.cli import data
from sgmg_jax.cli import main as cli


def test_every_command_is_in_the_table():
  folder = pathlib.Path(cli.__file__).parent
  commands = {
    path.stem
    for path in folder.glob("*.py")
    if re.search("^HELP = ", path.read_text(), re.M)
  }
  of_data = {f"data_{name}" for name in data.COMMANDS}
  assert set(cli.COMMANDS) | of_data == commands


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


_EVALUATE = (
  "evaluate --config=eval/refshapes:clips=1,frames=1 "
  "--checkpoint=refshapes-mini"
)


@pytest.mark.parametrize(
  "arguments, message",
  [
    (f"{_EVALUATE} --config.group=-1 --out x", "group: expected at least 0"),
    (f"{_EVALUATE} --config.threshold=1.5 --out x", "threshold: expected a pr"),
    (f"{_EVALUATE} --config.window=-1 --out x", "window: expected at least 0"),
    (f"{_EVALUATE} --out {__file__}", "a file, expected a folder"),
    (f"{_EVALUATE} --config.data.split=x --out x", "refshapes split 'x'"),
    (f"{_EVALUATE} --config.data.name=x --out x", "data set 'x': expected one"),
    ("evaluate --config=a2d --checkpoint x --out x", "it is one for `sgmg tra"),
    ("train --config=eval/a2d --workdir x", "it is one for `sgmg evaluate`"),
    ("bench kernels --frames 0", "--frames 0: expected >= 1"),
    ("bench kernels --json .", ". is a folder"),
    ("bench model --repeats -1", "--repeats -1: expected >= 1"),
    ("bench data --quality 900", "--quality 900: expected 1 to 100"),
    ("convert refshapes-mini no/x.pth --size num_heads=8", "leave out --kind"),
    ("convert refshapes-mini no/x.pth --size 8", "--size 8: expected FIELD=N"),
    ("convert refshapes-mini no/x.pth --tokenizer a", "knows its kind"),
  ],
)
def test_nonsense_is_one_line(arguments, message, capsys):
  assert cli.main(arguments.split()) == 2
  text = capsys.readouterr().err
  assert text.startswith("sgmg: error: ") and text.count("\n") == 1
  assert message in text
  assert not os.path.exists("no")


@pytest.fixture
def command(monkeypatch):
  """Makes `sgmg demo` run something else."""
  return lambda run: monkeypatch.setattr("sgmg_jax.cli.demo.run", run)


def _raise(error):
  def run(args):
    raise error

  return run


def test_interruption_is_not_a_traceback(command, capsys):
  command(_raise(KeyboardInterrupt()))
  assert cli.main(["demo"]) == 130
  assert capsys.readouterr().err == "sgmg: interrupted\n"


@pytest.mark.parametrize(
  "number, said",
  [(signal.SIGTERM, "terminated"), (signal.SIGHUP, "the terminal is gone")],
)
def test_signals_clean_up_as_an_interruption(command, capsys, number, said):
  cleaned = []

  def run(args):
    try:
      signal.raise_signal(number)
    finally:
      cleaned.append(True)

  command(run)
  assert cli.main(["demo"]) == 128 + number
  assert cleaned
  assert capsys.readouterr().err == f"sgmg: {said}\n"
  assert signal.getsignal(number) is signal.SIG_DFL


def test_ignored_signals_stay_ignored(command):
  def run(args):
    signal.raise_signal(signal.SIGHUP)
    return 0

  command(run)
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    assert cli.main(["demo"]) == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
  finally:
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
  "error, line",
  [
    (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b: Perm"),
    (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
    (OSError("cannot identify image"), "cannot identify image"),
    (MemoryError("Unable to allocate 3 TiB"), "out of memory Unable to all"),
  ],
)
def test_the_system_refuses_in_one_line(command, capsys, error, line):
  command(_raise(error))
  assert cli.main(["demo"]) == 2
  text = capsys.readouterr().err
  assert text.startswith(f"sgmg: error: {line}") and text.count("\n") == 1


def test_what_a_terminal_cannot_show_is_escaped(command, monkeypatch):
  """ASCII terminals, names that are not UTF-8."""
  out, err = (io.TextIOWrapper(io.BytesIO(), "ascii") for _ in range(2))
  monkeypatch.setattr(sys, "stdout", out)
  monkeypatch.setattr(sys, "stderr", err)

  def run(args):
    print("caf\xe9 \u2026 \udce9")
    raise sgmg_jax.UserError("no file caf\xe9")

  command(run)
  assert cli.main(["demo"]) == 2
  assert out.buffer.getvalue() == b"caf\\xe9 \\u2026 \\udce9\n"
  err.flush()
  assert err.buffer.getvalue() == b"sgmg: error: no file caf\\xe9\n"


def _sgmg(*arguments, stdout=None, **variables):
  # Unbuffered, argparse itself would meet a full disk, and ignore it.
  variables = os.environ | {"PYTHONUNBUFFERED": ""} | variables
  return subprocess.run(
    [sys.executable, "-m", "sgmg_jax", *arguments],
    stdout=stdout,
    stderr=subprocess.PIPE,
    text=True,
    env=variables,
  )


@pytest.mark.parametrize("platforms", ["cuda", "abacus", "cpu,abacus"])
def test_platforms_that_are_not_there(platforms, tmp_path):
  found = _sgmg(
    "convert",
    "refshapes-mini",
    str(tmp_path / "x.safetensors"),
    JAX_PLATFORMS=platforms,
  )
  assert found.returncode == 2 and found.stderr.count("\n") == 1
  assert found.stderr.startswith(f"sgmg: error: JAX_PLATFORMS={platforms}: ")
  assert not list(tmp_path.iterdir())


def test_output_that_cannot_be_written():
  """A reader that has gone is no error; a full disk is one line."""
  reader, writer = os.pipe()
  os.close(reader)
  with os.fdopen(writer, "w") as gone:
    found = _sgmg("--help", stdout=gone)
  assert (found.returncode, found.stderr) == (141, "")
  if os.path.exists("/dev/full"):
    with open("/dev/full", "w") as full:
      found = _sgmg("--help", stdout=full)
    assert found.returncode == 2
    assert found.stderr == "sgmg: error: No space left on device\n"


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


def test_closed_streams_are_none_to_nobody(command, monkeypatch):
  """As after `sgmg … 2>&-`: progress bars ask stderr what it is."""
  monkeypatch.setattr(sys, "stdout", None)
  monkeypatch.setattr(sys, "stderr", None)
  command(_raise(sgmg_jax.UserError("missing")))
  assert cli.main(["demo"]) == 2
  assert not sys.stderr.isatty() and not sys.stdout.isatty()
