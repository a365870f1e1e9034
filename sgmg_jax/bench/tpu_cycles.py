"""Cycles of deformable attention on TPUs, from the compiler's own schedule.

  python -m sgmg_jax.bench.tpu_cycles
  python -m sgmg_jax.bench.tpu_cycles --chip v6e --what backward

No TPU is needed: libtpu compiles for one and writes down the instruction
bundles of each operation, one of which a core issues per cycle. Counted are
bundles times the trips of the loops round them. That leaves out waiting for
memory and the few cycles per step of a Pallas grid, so it is a lower bound;
a loop whose trips only the data tells counts once.
"""

from __future__ import annotations

import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any

from sgmg_jax.kernels.deform_attn import arg_specs
from sgmg_jax.training import tpu_topology

# What is executed after a jump before it is taken.
_DELAY_SLOTS = 4

_BUNDLE = re.compile(r"^\s*(0x[0-9a-f]+|0)\s+([A-Z]{2})?\s*:")
# The trips are a number, or a register if only the data tells.
_EXIT_TEST = re.compile(
  r"%(p\w+) = scmp\.ge\.s32\.totalorder (?:\(!?%\w+\), )?%\S+, "
  r"(?:(\d+) /\* loop exit test|%s)"
)
_JUMP = re.compile(r"sbr\.rel \(!%(p\w+)\) target")


def count(text: str) -> int:
  """Cycles of one operation.

  Args:
    text: of its `…-final_bundles.txt`.
  """
  begun: list[int] = []
  trips: dict[str, int] = {}
  loops: list[tuple[int, int, int]] = []
  bundles = 0
  for line in text.splitlines():
    bundle = _BUNDLE.match(line)
    if not bundle:
      continue
    address = int(bundle[1], 16)
    bundles = address + 1
    if bundle[2] == "LB":
      begun.append(address)
    trips.update((name, int(n or 1)) for name, n in _EXIT_TEST.findall(line))
    for name in _JUMP.findall(line):
      if begun and name in trips:
        end = address + _DELAY_SLOTS
        loops.append((begun.pop(), end, trips.pop(name)))
  total = 0
  for address in range(bundles):
    cycles = 1
    for begin, end, n in loops:
      cycles *= n if begin <= address <= end else 1
    total += cycles
  return total


def measure(what: str, **options: Any) -> dict[str, int]:
  """Cycles per frame of each operation of a program, most first.

  Args:
    what: "forward", "backward" or "layer", see `_program`.
    **options: chip, size, dtype, queries, as on the command line.

  Raises:
    RuntimeError: it does not compile.
  """
  with tempfile.TemporaryDirectory() as folder:
    arguments = [f"--{name}={value}" for name, value in options.items()]
    dump = f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true"
    done = subprocess.run(
      [sys.executable, "-m", __spec__.name, f"--what={what}", *arguments],
      env=os.environ
      | {"LIBTPU_INIT_ARGS": dump, "JAX_PLATFORMS": "cpu", _CHILD: "1"},
      capture_output=True,
      text=True,
    )
    if done.returncode:
      raise RuntimeError(done.stderr.strip().splitlines()[-1])
    frames = int(done.stdout.split()[-1])
    cycles: collections.Counter[str] = collections.Counter()
    for path in pathlib.Path(folder).glob("*-final_bundles.txt"):
      if "schedule-analysis" not in path.name:
        name = re.sub(r"^\d+-|-\d+-final_bundles$", "", path.stem)
        if not name.startswith(("TLP", "<")):
          cycles[name] += count(path.read_text()) // frames
  return dict(cycles.most_common())


_CHILD = "SGMG_TPU_CYCLES_CHILD"


def _program(what, size, dtype, queries):
  """(function, its arguments' shapes, frames).

  "forward" and "backward" are the operation alone, "layer" the model's
  module with its projections, of which the operation's inputs and outputs
  are part.
  """
  import jax
  import jax.numpy as jnp

  from sgmg_jax import precision
  from sgmg_jax.kernels.deform_attn import kernel_choice
  from sgmg_jax.model import deformable_attention

  problem = arg_specs.encoder(*arg_specs.FRAME_SIZES[size], dtype=dtype)
  problem = problem._replace(queries=queries or problem.queries)
  n, q, m, d, p, shapes, dtype = problem
  shape = jax.ShapeDtypeStruct
  if what == "layer":
    layer = deformable_attention.DeformableAttention(m, p, dtype=dtype)
    inputs = (
      shape((n, q, m * d), dtype),
      shape((n, q, len(shapes), 2), jnp.float32),
      shape((n, problem.size, m * d), dtype),
      shape((n, problem.size), bool),
    )
    init = lambda *x: layer.init(jax.random.key(0), *x, shapes)
    params = jax.eval_shape(init, *inputs)
    run = lambda params, *x: layer.apply(params, *x, shapes)
    return precision.follow("highest", run), (params, *inputs), n
  inputs = arg_specs.arguments(problem)
  inputs = inputs if what == "backward" else inputs[:3]
  function = kernel_choice.load("pallas_tpu", what).run
  return lambda *x: function(*x, level_shapes=shapes), inputs, n


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add("--what", choices=["forward", "backward", "layer"], default="forward")
  add("--chip", choices=tpu_topology.CHIPS, default="v5e")
  add("--size", choices=list(arg_specs.FRAME_SIZES), default="360x640")
  add("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
  add("--queries", type=int, default=0, help="0: as the encoder")
  options = vars(parser.parse_args())
  if _CHILD in os.environ:
    import jax

    chip, what = options.pop("chip"), options.pop("what")
    function, inputs, frames = _program(what, **options)
    jax.jit(function).lower(*tpu_topology.place(inputs, chip)).compile()
    print(frames)
    return
  cycles = measure(**options)
  print(", ".join(f"{key} {value}" for key, value in options.items() if value))
  for name, n in cycles.items():
    if n >= 1000:
      print(f"{n:10,} {name}")
  print(f"{sum(cycles.values()):10,} cycles per frame")


if __name__ == "__main__":
  main()
