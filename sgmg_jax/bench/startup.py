"""Seconds until the first mask of `sgmg segment`, by stage.

The real command runs in fresh processes: first with an empty compilation
cache, then with what the first has left there. Its phases are timed from
inside: functions are wrapped, and JAX reports what it compiles.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

from sgmg_jax.bench import report

_MODELS = ("mini", "video_swin_t", "video_swin_b")
# Of the frames of "mini", which is the bundled one.
_MINI_SIDE = 160
_SENTENCE = "the red circle"
# Which phase JAX's events belong to.
_EVENTS = {
  "/jax/core/compile/jaxpr_trace_duration": "trace",
  "/jax/core/compile/jaxpr_to_mlir_module_duration": "trace",
  "/jax/core/compile/backend_compile_duration": "compile",
}


@dataclasses.dataclass(frozen=True)
class Setup:
  """Set-up: `variant` alone, or by default "mini", the bundled
  checkpoint at its own size, and the tiny and the base model with random
  weights on a clip of `frames` frames of `height` x `width` pixels. Figures
  without a model are medians of `repeats` processes."""

  variant: str = ""
  frames: int = 5
  height: int = 360
  width: int = 640
  repeats: int = 5


def measure(setup: Setup) -> dict[str, Any]:
  """All figures of one set-up.

  Returns:
    "python_seconds" (an interpreter that does nothing), "import_seconds"
    (`import sgmg_jax`, with the interpreter), "load_import_seconds" (with all
    that `sgmg_jax.load` needs), "help_seconds" (`sgmg --help`); per model, a
    row "cold" and a row "warm" with the seconds from the start of the process
    to the first mask and their parts: "import", "load" (the checkpoint),
    "trace" (Python to XLA), "compile" (or reading from the cache), "run" (the
    rest: the video, copies, computing).

  Raises:
    UserError: no such variant.
  """
  models = [setup.variant] if setup.variant else _MODELS
  if setup.variant:
    from sgmg_jax.model import variants

    variants.get_variant(setup.variant)
  commands = {
    "python": ["-c", ""],
    "import": ["-c", "import sgmg_jax"],
    "load_import": ["-c", "import sgmg_jax; sgmg_jax.load"],
    "help": ["-m", "sgmg_jax.cli.main", "--help"],
  }
  figures: dict[str, Any] = {
    f"{name}_seconds": _process_seconds(command, setup.repeats)
    for name, command in commands.items()
  }
  for model in models:
    with tempfile.TemporaryDirectory() as folder:
      figures[model] = _first_masks(model, setup, pathlib.Path(folder))
  return figures


def _process_seconds(arguments: list[str], repeats: int) -> float:
  command = [sys.executable, *arguments]
  run = lambda: subprocess.run(command, stdout=subprocess.PIPE, check=True)
  run()  # Reads the files from disk.
  return report.median_seconds(run, repeats)


def _first_masks(
  model: str, setup: Setup, folder: pathlib.Path
) -> dict[str, dict[str, float]]:
  """Rows "cold" and "warm" of one model."""
  from sgmg_jax.bench import fixtures
  from sgmg_jax.checkpoints import native

  video = folder / "clip.mp4"
  mini = model == "mini"
  size = (_MINI_SIDE,) * 2 if mini else (setup.height, setup.width)
  fixtures.write_video(video, setup.frames, *size)
  checkpoint = fixtures.BUNDLED if mini else str(folder / "checkpoint")
  if not mini:
    made = fixtures.checkpoint(model, *size)
    native.save(checkpoint, made.params, made.card, made.tokenizer)
  environment = {
    "SGMG_CACHE_DIR": str(folder / "cache"),
    "JAX_COMPILATION_CACHE_DIR": None,
  }
  rows = {}
  for name in ("cold", "warm"):
    arguments = ["segment", "--checkpoint", checkpoint, "--video", str(video)]
    arguments += ["--expression", _SENTENCE, "--out", str(folder / name)]
    rows[name] = report.in_process(
      __name__, {"started": time.time(), "arguments": arguments}, environment
    )
  return rows


def _segment(started: float, arguments: list[str]) -> dict[str, float]:
  """Run `sgmg segment` in a process of its own; seconds of its phases."""
  import jax

  from sgmg_jax.cli import main, segment
  from sgmg_jax.inference import predictor

  phases: dict[str, float] = collections.Counter()
  phases["import"] = time.time() - started
  load = predictor.load
  marks = []

  def timed_load(*args):
    start, before = time.time(), phases["trace"] + phases["compile"]
    model = load(*args)
    inside = phases["trace"] + phases["compile"] - before
    phases["load"] = time.time() - start - inside
    return model

  @contextlib.contextmanager
  def marked_progress(num_frames, quiet):
    del num_frames, quiet
    yield lambda frames: marks.append((time.time() - started, dict(phases)))

  def add(event, seconds, **_):
    if event in _EVENTS:
      phases[_EVENTS[event]] += seconds

  predictor.load, segment.progress_bar = timed_load, marked_progress
  jax.monitoring.register_event_duration_secs_listener(add)
  with contextlib.redirect_stdout(sys.stderr):
    code = main.main([*arguments, "--quiet"])
  if code:
    raise RuntimeError(f"sgmg segment ended with code {code}")
  # The input is checked, the video encoded, the first sentence answered.
  first_mask, parts = marks[2]
  parts = {
    name: parts.get(name, 0.0)
    for name in ("import", "load", "trace", "compile")
  }
  return {
    "first_mask": first_mask,
    **parts,
    "run": first_mask - sum(parts.values()),
    "everything": time.time() - started,
  }


if __name__ == "__main__":
  report.answer(lambda argument: _segment(**argument))
