"""Imports every module of an unpacked wheel and checks where it came from.

Usage: PYTHONPATH=DIR python import_wheel.py DIR
"""

import importlib
import pathlib
import sys

root = pathlib.Path(sys.argv[1]).resolve()
files = sorted((root / "sgmg_jax").rglob("*.py"))
assert files, f"no modules in {root}"
for file in files:
  parts = file.relative_to(root).with_suffix("").parts
  name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
  module = importlib.import_module(name)
  assert pathlib.Path(module.__file__) == file, module.__file__
for clash in ("kernels", "input_pipeline"):
  assert not (root / clash).exists(), f"{clash} at the wheel's top level"
assert (root / "sgmg_jax/pretrained").is_dir(), "no bundled checkpoint"
print(f"{len(files)} modules import from the wheel")
