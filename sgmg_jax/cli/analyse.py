"""`sgmg analyse`: look into a model, with pictures and numbers."""

from __future__ import annotations

import argparse
import pathlib

from sgmg_jax.cli import arguments
from sgmg_jax.files import atomic, json_object

HELP = "look into a model: feature drift, maps around the spectrum"

EPILOG = """\
examples:
  what a decoder does to the features that kernels are made for (Figure 1):
    sgmg analyse drift --checkpoint FPN_MODEL --out runs/drift
  maps before and behind words and spectrum (Figure 7), beside another model's:
    sgmg analyse features --checkpoint refshapes-mini --out runs/features
    sgmg analyse features --checkpoint A --other B --out runs/features
  of videos instead of RefShapes clips, a sentence each:
    sgmg analyse features --checkpoint CHECKPOINT --out runs/features \\
        --videos a.mp4 b.mp4 --sentences "the left dog" "a red car"

OUT then holds PNG pictures, the numbers as JSON and, of drift, all features and
their t-SNE as npz. FPN_MODEL is a model of Table 6, see `sgmg ablate`; the
t-SNE needs scikit-learn (pip install 'sgmg_jax[analysis]').
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("what", choices=("drift", "features"))
  parser.add_argument(
    "--checkpoint", required=True, help="checkpoint folder or bundled name"
  )
  parser.add_argument(
    "--other", help="of features: a checkpoint whose maps stand beside"
  )
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument(
    "--clips",
    type=int,
    default=6,
    help="of RefShapes' test split (%(default)s)",
  )
  parser.add_argument("--videos", nargs="+", default=[], help="instead")
  parser.add_argument(
    "--sentences", nargs="+", default=[], help="one for each video"
  )
  parser.add_argument(
    "--frames", type=int, default=6, help="of each clip (%(default)s)"
  )
  parser.add_argument(
    "--pairs", type=int, default=1000, help="of drift, per video (%(default)s)"
  )
  parser.add_argument(
    "--no-picture",
    action="store_true",
    help="of drift: numbers and npz alone, without a t-SNE",
  )


def run(args: argparse.Namespace) -> int:
  arguments.check_positive(args, "clips", "frames", "pairs")
  from sgmg_jax import compilation_cache
  from sgmg_jax.analysis import examples
  from sgmg_jax.checkpoints import native

  compilation_cache.enable()
  analyse = {"drift": _drift, "features": _features}[args.what]
  checkpoints = [
    native.load(name) for name in (args.checkpoint, args.other) if name
  ]
  if args.videos or args.sentences:
    chosen = examples.of_videos(
      args.videos, args.sentences, num_frames=args.frames
    )
  else:
    chosen = examples.of_refshapes(args.clips, num_frames=args.frames)
  analyse(args, checkpoints, chosen)
  print(f"written: {args.out}")
  return 0


def _drift(args, checkpoints, chosen) -> None:
  import numpy as np

  from sgmg_jax.analysis import drift, figures
  from sgmg_jax.errors import UserError

  if len(checkpoints) > 1:
    raise UserError("--other: not an option of analyse drift")
  if args.pairs > drift.MAX_PAIRS:
    raise UserError(f"--pairs {args.pairs}: expected <= {drift.MAX_PAIRS}")
  if not args.no_picture:
    drift.check_embedding()
  model = drift.Drift(checkpoints[0])
  records, arrays, panels = [], {}, []
  for index, example in enumerate(chosen):
    pairs = model.measure(example, args.pairs)
    found = drift.numbers(pairs)
    records.append(
      {"name": example.name, "sentence": example.sentence, **found}
    )
    arrays[f"before_{index}"] = pairs.before
    arrays[f"after_{index}"] = pairs.after
    if args.no_picture:
      continue
    points = drift.embed(pairs)
    arrays[f"tsne_{index}"] = points
    panels.append(
      figures.scatter(
        points,
        example.name,
        [
          example.sentence,
          _line(found["decoder"], "probe", "cka", "distance"),
          _line(found["decoder"], "j_before", "j_after"),
        ],
      )
    )
  means = drift.means(records)
  for name, values in means.items():
    print(f"{name:14}{_line(values)}")
  json_object.write(
    args.out / "drift.json",
    {"checkpoint": args.checkpoint, "means": means, "videos": records},
  )
  with atomic.output(args.out / "drift.npz", overwrite=True) as new:
    with open(new, "wb") as file:
      np.savez_compressed(file, **arrays)
  if panels:
    title = f"{args.checkpoint}: features before and behind its decoder"
    _write_picture(args.out / "drift.png", figures.drift(panels, title))


_NAMES = {
  "probe": "probe",
  "cka": "CKA",
  "distance": "distance",
  "j_before": "J of F_vl",
  "j_after": "J of F_vl^d",
}


def _line(values: dict[str, float | None], *keys: str) -> str:
  return ", ".join(
    f"{_NAMES[key]} {values[key]:.2f}"
    for key in keys or _NAMES
    if values.get(key) is not None
  )


def _features(args, checkpoints, chosen) -> None:
  import numpy as np

  from sgmg_jax.analysis import features, figures

  records, sheets = {}, []
  models = [features.Features(checkpoint) for checkpoint in checkpoints]
  maps = [[model.measure(example) for example in chosen] for model in models]
  given = (args.checkpoint, args.other)
  for name, model, found in zip(given, models, maps):
    records[name] = {
      "spectral": model.spectral,
      **features.summarise(chosen, found),
    }
    print(f"{name} (spectral {model.spectral})")
    for stage, values in records[name]["localisation"].items():
      numbers = ", ".join(f"{k} {100 * v:.1f} %" for k, v in values.items())
      print(f"  {stage:20}{numbers}")
    for key, values in records[name]["strengths"].items():
      high = records[name]["high_frequencies"][key]
      print(
        f"  {key:8}damping {values['mean']:.2f} ({values['least']:.2f} to "
        f"{values['greatest']:.2f}), high frequencies "
        f"{100 * high['before']:.1f} % -> {100 * high['behind']:.1f} %"
      )
  for index, example in enumerate(chosen):
    rows = []
    for t in features.shown_frames(len(example.frames)):
      row = {
        "answer": figures.with_mask(example.frames[t], maps[0][index].masks[t])
      }
      for letter, found in zip("AB", maps):
        for stage in features.STAGES:
          label = f"{letter}: {stage}" if len(maps) > 1 else stage
          row[label] = figures.heat(
            features.scaled(found[index].norms[stage][t])
          )
      rows.append(row)
    title = f"{example.name}: {example.sentence}"
    sheets.append(figures.sheet(rows, title))
  json_object.write(args.out / "features.json", records)
  _write_picture(args.out / "features.png", figures.stack(sheets))
  for letter, found in zip("AB", maps):
    parts = []
    if found[0].strengths:
      values = {
        key: np.concatenate([one.strengths[key] for one in found])
        for key in found[0].strengths
      }
      title = f"{letter}: damping of high frequencies, a dot for each frame"
      parts.append(figures.strengths(values, title))
    mean = {
      key: np.mean([one.powers[key] for one in found], 0)
      for key in found[0].powers
    }
    title = (
      f"{letter}: power by frequency, 0 to 1/2 a cycle, 1e-5 to 1; grey "
      "before, red behind"
    )
    parts.append(figures.powers(mean, title))
    _write_picture(args.out / f"filter_{letter}.png", figures.stack(parts))


def _write_picture(path: pathlib.Path, picture) -> None:
  with atomic.output(path, overwrite=True) as new:
    picture.save(new, "PNG")
