"""`sgmg convert`: published weights to native checkpoints, and back."""

from __future__ import annotations

import argparse
import os
import pathlib

from sgmg_jax import errors
from sgmg_jax.checkpoints import card as card_lib

HELP = "turn published weights into a checkpoint, or a checkpoint into .pth"

EPILOG = """\
examples:
  a released SgMg checkpoint, with the tokenizer from the Hugging Face hub:
    sgmg convert video_swin_t.pth checkpoints/tiny
  the same without network: roberta-base's tokenizer.json (or vocab.json and
  merges.txt) and tokenizer_config.json in a folder
    sgmg convert video_swin_t.pth checkpoints/tiny --tokenizer roberta-base/
  weights to start a training from: Video Swin (Kinetics), a folder with
  RoBERTa, Swin or ResNet (images) for models that see each frame alone, or Swin
  inflated over time for Video Swin
    sgmg convert swin_tiny_patch244_window877_kinetics400_1k.pth init/swin
    sgmg convert roberta-base/ init/roberta
    sgmg convert swin_tiny_patch4_window7_224.pth init/swin_t
    sgmg convert resnet50-11ad3fa6.pth init/resnet50
    sgmg convert swin_tiny_patch4_window7_224.pth init/inflated \\
        --kind inflated_swin
  and back, for the released PyTorch code:
    sgmg convert checkpoints/tiny tiny.pth
    sgmg convert refshapes-mini mini.safetensors
  half the size on disk; computed with as float32 all the same:
    sgmg convert video_swin_t.pth checkpoints/tiny --dtype bfloat16

Converted SgMg weights stay CC-BY-NC 4.0. Only writing .pth needs PyTorch (pip
install "sgmg_jax[convert]"); it reads .safetensors too.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "source",
    metavar="SOURCE",
    help="weight file (.pth, .pt, .bin, .safetensors), RoBERTa folder, or "
    "native checkpoint (folder or bundled name)",
  )
  parser.add_argument("out", metavar="OUT", help="folder or file to write")
  parser.add_argument(
    "--kind",
    choices=("auto", *card_lib.LICENCES),
    default="auto",
    help="what SOURCE is (default: told from its content)",
  )
  parser.add_argument(
    "--to",
    choices=("native", "safetensors", "pth"),
    help="what to write (default: by the suffix of OUT, else native)",
  )
  parser.add_argument(
    "--dtype",
    choices=("float32", "bfloat16", "float16"),
    help="type to store parameters in (default: that of SOURCE); values too "
    "large for it are an error",
  )
  parser.add_argument(
    "--tokenizer",
    metavar="NAME",
    help="folder or hub name (default: SOURCE for a RoBERTa folder, else "
    "roberta-base)",
  )
  parser.add_argument(
    "--size",
    action="append",
    default=[],
    metavar="FIELD=N",
    help="a size that shapes do not tell, such as num_heads=8; only for "
    "models that are not of a released size",
  )
  parser.add_argument(
    "--overwrite", action="store_true", help="replace OUT if it exists"
  )


def run(args: argparse.Namespace) -> int:
  # Imported late: `sgmg --help` must not wait for JAX.
  from sgmg_jax import tokenizer as tokenizer_lib
  from sgmg_jax.checkpoints import native, stored_dtype
  from sgmg_jax.checkpoints.torch import convert, names
  from sgmg_jax.checkpoints.torch import files as torch_file
  from sgmg_jax.checkpoints.torch import sizes as sizes_lib
  from sgmg_jax.files import atomic

  out = pathlib.Path(args.out)
  if os.path.exists(out) and not args.overwrite:
    raise errors.UserError(f"{out} exists: give --overwrite to replace it")
  kind = args.to or {".pth": "pth", ".safetensors": "safetensors"}.get(
    out.suffix, "native"
  )
  sizes = _sizes(args.size)
  if _is_native(args.source):
    if args.kind != "auto" or args.tokenizer or sizes:
      raise errors.UserError(
        f"{args.source} is a native checkpoint, which knows its kind, "
        "tokenizer and sizes: leave out --kind, --tokenizer and --size"
      )
    if kind == "native" and not args.dtype:
      raise errors.UserError(
        f"{args.source} is a native checkpoint already: give --to pth, "
        "--to safetensors or --dtype"
      )
    checkpoint = native.load(args.source)
    params, card, notes = checkpoint.params, checkpoint.card, ()
    tokenizer = checkpoint.tokenizer
    if kind != "native":
      sizes_lib.check_released(checkpoint.variant, args.source)
  else:
    source = pathlib.Path(args.source)
    if not os.path.exists(source):
      raise errors.UserError(
        f"no such file, folder or bundled checkpoint: {source}"
      )
    name = out.stem if kind != "native" else out.name
    converted = convert.read(source, args.kind, name=name, **sizes)
    params, card, notes = converted.params, converted.card, converted.notes
    tokenizer = None
    if kind == "native" and card.get("part") != "backbone":
      folder = source if source.is_dir() else "roberta-base"
      tokenizer = tokenizer_lib.load_tokenizer(args.tokenizer or folder)
  if args.dtype:
    params = stored_dtype.cast(params, args.dtype, args.source)
  if kind == "native":
    native.save(out, params, card, tokenizer, overwrite=args.overwrite)
  else:
    stored_dtype.check(params, args.source)
    with atomic.output(out, overwrite=args.overwrite) as new:
      torch_file.write(new, names.to_torch(params), kind)
  _report(out, kind, params, card, notes)
  return 0


def _is_native(source: str) -> bool:
  from sgmg_jax.checkpoints import native

  path = pathlib.Path(source)
  if os.path.exists(path):
    return (path / card_lib.FILE).is_file()
  return source in native.bundled()


def _sizes(pairs: list[str]) -> dict[str, int]:
  sizes = {}
  for pair in pairs:
    field, _, value = pair.partition("=")
    if not value.isdecimal():
      raise errors.UserError(f"--size {pair}: expected FIELD=N")
    sizes[field] = int(value)
  return sizes


def _report(out, kind, params, card, notes) -> None:
  import jax
  import numpy as np

  count = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
  source = card["source"]
  sizes = ", ".join(
    f"{key} {'-'.join(map(str, value)) if np.ndim(value) else value}"
    for key, value in card["variant"].items()
    if key
    in ("backbone", "embed_dim", "depths", "width", "text_width", "text_layers")
  )
  print(f"wrote       {out} ({kind})")
  print(f"holds       {card.get('part', 'whole model')}: {sizes}")
  print(f"parameters  {count:,}")
  for key in ("kind", "file", "sha256"):
    if key in source:
      print(f"{key if key != 'kind' else 'source':<11} {source[key]}")
  print(f"licence     {card['licence']}")
  for note in notes:
    print(f"note        {note}")
