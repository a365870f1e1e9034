"""`sgmg compile`: what a training or an evaluation would take on devices that
are not here."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import re

from sgmg_jax.cli import config_files, train
from sgmg_jax.errors import UserError
from sgmg_jax.files import atomic, json_object

HELP = "compile a step for TPUs or GPUs that are not here: what it would take"

EPILOG = """\
examples:
  sgmg compile --config=refer_ytvos --topology=v5e-16 \\
      --config.data.batch_size=16 --config.dtype=bfloat16
  sgmg compile --config=refer_ytvos:model=video_swin_b --topology=v5e-256 \\
      --config.data.batch_size=256 --config.mesh.fsdp=4
  sgmg compile --config=refer_ytvos --topology=v5e-4 --step=evaluate
  sgmg compile --config=finetune_own --topology=rtx4090 \\
      --config.init_from=refshapes-mini

The very step of the config is compiled, for its largest frames, by libtpu
(pip install "sgmg_jax[tpu]") or JAX's CUDA plugin ("sgmg_jax[cuda]"); data,
weights and accelerators are not needed. It takes some minutes of a CPU.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.epilog = EPILOG
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument(
    "--topology",
    required=True,
    help="a TPU slice, such as v5e-16, v5p-128, v6e-256, or v5e:4x4; or GPUs, "
    "such as h200, h200:8, a100, rtx4090",
  )
  parser.add_argument(
    "--step",
    choices=["train", "evaluate"],
    default="train",
    help="evaluate: a window of frames is encoded and asked one sentence, on "
    "each chip by itself (%(default)s)",
  )
  parser.add_argument(
    "--frame",
    metavar="HEIGHTxWIDTH",
    help="padded frames (train: the config's largest; evaluate: 368x640)",
  )
  parser.add_argument(
    "--quick",
    action="store_true",
    help="with the compiler's least effort: faster, and half as much memory "
    "again",
  )
  parser.add_argument(
    "--json", type=pathlib.Path, metavar="FILE", help="write the figures here"
  )
  train.add_config(parser, "train")


def run(args: argparse.Namespace) -> int:
  config = config_files.load(args.config, args.overrides)
  config_files.check_command(config, args.config, "train")
  if args.json:
    atomic.check_file(args.json)
  import jax

  from sgmg_jax.training import aot, aot_evaluation, initial

  # Nothing runs; plugins would complain of devices that they do not find.
  jax.config.update("jax_platforms", "cpu")
  topology = _topology(args.topology)
  devices = topology.devices()
  options = dict(topology.options)
  if args.quick:
    options["exec_time_optimization_effort"] = -1.0
  with config_files.naming_missing_fields():
    if config.model.name == initial.FROM_CHECKPOINT:
      # Among what it gives are the sizes of frames.
      config = initial.resolve(config)
    print(f"compiling for {len(devices)} chips of {topology.kind} ...")
    if args.step == "evaluate":
      frame = _parse_frame(args.frame or "368x640", 16)
      results = aot_evaluation.compile_programs(
        config, devices[0], frame, options
      )
      print(describe_evaluation(results, frame, topology))
      content = {name: x._asdict() for name, x in results.items()}
    else:
      frame = _frame(args.frame, config)
      report = aot.compile_step(config, devices, frame, options)
      print(describe(report, topology))
      content = dataclasses.asdict(report)
  if args.json:
    content = {"topology": args.topology, **content}
    json_object.write(args.json, content)
  return 0


def _topology(name: str):
  """A `tpu_topology.Topology` or a `gpu_topology.Topology`."""
  from sgmg_jax.training import gpu_topology, tpu_topology

  kind = re.split("[-:]", name)[0]
  if kind in gpu_topology.CARDS:
    return gpu_topology.parse(name)
  if kind in tpu_topology.CHIPS:
    return tpu_topology.parse(name)
  raise UserError(
    f"topology {name!r}: expected a slice of {', '.join(tpu_topology.CHIPS)}, "
    f"such as v5e-16, or a GPU, {', '.join(gpu_topology.CARDS)}, such as h200:8"
  )


def _frame(text: str | None, config) -> tuple[int, int]:
  from sgmg_jax.input_pipeline import batch

  if text is None:
    if config.data.kind == "refshapes":
      return batch.padded_size(config.data.height, config.data.width)
    if not config.data.buckets:
      raise UserError("--frame: expected HEIGHTxWIDTH, the config names none")
    return max(map(tuple, config.data.buckets), key=lambda b: b[0] * b[1])
  return _parse_frame(text, batch.PAD_MULTIPLE)


def _parse_frame(text: str, multiple: int) -> tuple[int, int]:
  from sgmg_jax import types

  sides = text.split("x")
  if len(sides) != 2 or not all(s.isdecimal() and int(s) > 0 for s in sides):
    raise UserError(f"--frame {text}: expected HEIGHTxWIDTH, such as 384x640")
  size = tuple(map(int, sides))
  if min(size) < types.MIN_PADDED_SIDE:
    raise UserError(
      f"--frame {text}: expected sides of at least {types.MIN_PADDED_SIDE}"
    )
  if any(side % multiple for side in size):
    raise UserError(
      f"--frame {text}: expected multiples of {multiple}, as padded"
    )
  return size


def describe_evaluation(results, frame, topology) -> str:
  """The programs of an evaluation for people."""
  chip = topology.chip
  lines = [
    f"a window of {frame[0]}x{frame[1]} frames and a sentence, on a chip:"
  ]
  for name, program in results.items():
    memory = ", ".join(f"{k} {n / 1e9:.2f}" for k, n in program.memory.items())
    lines += [
      f"  {name:13}{program.flops / 1e9:,.0f} {topology.counted}, "
      "compiled in "
      f"{program.seconds:.0f} s",
      f"  {'':13}GB: {memory}; in all {program.total_memory / 1e9:.2f}",
    ]
  most = max(program.total_memory for program in results.values())
  fits = "fits" if most <= chip.memory else "does not fit"
  lines.append(f"  {most / 1e9:.2f} GB of {chip.memory / 1e9:.2f}: {fits}")
  return "\n".join(lines)


def describe(report, topology) -> str:
  """The report for people."""
  chip, total = topology.chip, report.total_memory
  largest = report.largest_batch(chip.memory)
  gigabytes = lambda count: f"{count / 1e9:8.2f} GB"
  lines = [
    f"step of {report.batch_size} clips of {report.frame[0]}x"
    f"{report.frame[1]}, mesh data {report.mesh['data']} x fsdp "
    f"{report.mesh['fsdp']}; of each chip:",
    *(f"  {name:12}{gigabytes(n)}" for name, n in report.memory.items()),
    f"  {'in all':12}{gigabytes(total)} of {chip.memory / 1e9:.2f}: "
    + ("fits" if total <= chip.memory else "does not fit"),
    f"  largest batch that fits: about {largest or 'none'}",
    f"  {report.flops / 1e9:,.0f} {topology.counted}, at least "
    f"{1e3 * report.flops / chip.flops:.0f} ms at the chip's bfloat16 peak",
  ]
  for kind, (count, size) in report.collectives.items():
    lines.append(f"  {kind:19}{count:5} of {size / 1e6:10,.1f} MB together")
  if not report.collectives:
    lines.append("  no collectives")
  lines.append(
    f"lowered in {report.lower_seconds:.0f} s, compiled in "
    f"{report.compile_seconds:.0f} s"
  )
  return "\n".join(lines)
