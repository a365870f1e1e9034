"""Imports every module of an unpacked wheel and checks where it came from.

Usage: PYTHONPATH=DIR python import_wheel.py DIR
"""

import collections
import importlib
import pathlib
import sys

root = pathlib.Path(sys.argv[1]).resolve()
configs = root / "sgmg_jax/configs"
files = sorted(
  f for f in (root / "sgmg_jax").rglob("*.py") if configs not in f.parents
)
assert files, f"no modules in {root}"
for file in files:
  parts = file.relative_to(root).with_suffix("").parts
  name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
  module = importlib.import_module(name)
  assert pathlib.Path(module.__file__) == file, module.__file__
# The tree's links must not bring a folder in a second time.
texts = collections.defaultdict(list)
for file in files:
  texts[file.read_bytes()].append(file)
copies = [same for text, same in texts.items() if text and len(same) > 1]
assert not copies, copies
for clash in ("kernels", "input_pipeline"):
  assert not (root / clash).exists(), f"{clash} at the wheel's top level"
assert (root / "sgmg_jax/pretrained").is_dir(), "no bundled checkpoint"
config_files = importlib.import_module("sgmg_jax.cli.config_files")
assert config_files.FOLDER == configs, config_files.FOLDER
for name in config_files.names():
  config_files.load(name)
assert {"refer_ytvos", "eval/refer_ytvos"} <= set(config_files.names())
print(f"{len(files)} modules import from the wheel")
