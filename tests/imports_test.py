"""Imports go one way; light imports stay light; setup.cfg names the tree."""

import ast
import configparser
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = {"kernels": "kernels", "input_pipeline": "input_pipeline"}

# What each area may import of the others.
ALLOWED = {
  "errors": set(),
  "types": set(),
  "platforms": set(),
  "compilation_cache": set(),
  "precision": {"errors"},
  "files": {"errors"},
  "tokenizer": {"files", "errors"},
  "kernels": {"types", "platforms", "precision"},
  "losses": {"types", "errors", "precision"},
  "distributed": {"errors"},
  "input_pipeline": {"files", "types", "errors"},
  "model": {"kernels", "types", "errors", "platforms", "precision"},
  "checkpoints": {"model", "tokenizer", "files", "types", "errors"},
  "pictures": {"errors"},
  "inference": {
    "pictures",
    "model",
    "checkpoints",
    "input_pipeline",
    "compilation_cache",
    "tokenizer",
    "files",
    "types",
    "errors",
    "precision",
  },
  "evaluation": {
    "distributed",
    "inference",
    "input_pipeline",
    "pictures",
    "files",
    "types",
    "errors",
  },
  "training": {
    "distributed",
    "evaluation",
    "inference",
    "input_pipeline",
    "losses",
    "model",
    "checkpoints",
    "tokenizer",
    "files",
    "types",
    "errors",
    "precision",
  },
}
# Removable: the model is trained without it.
ALLOWED["pretraining"] = ALLOWED["training"] | {"training"}
ALLOWED["analysis"] = ALLOWED["evaluation"] | {
  "evaluation",
  "model",
  "checkpoints",
}
ALLOWED["bench"] = set(ALLOWED) | {"bench", "cli"}
ALLOWED["cli"] = set(ALLOWED) | {"cli"}
ANYWHERE_TORCH = {"checkpoints/torch/files.py", "bench/grid_sample.py"}


def modules():
  """(path in the installed package, file) of every module."""
  for folder in ("sgmg_jax", *FOLDERS):
    for file in sorted((ROOT / folder).rglob("*.py")):
      inside = file.relative_to(ROOT / folder)
      yield (inside if folder == "sgmg_jax" else folder / inside), file


def imported(file, nodes=ast.walk):
  """Full names a file imports: anywhere in it, or at its top level alone
  (`ast.iter_child_nodes`)."""
  for node in nodes(ast.parse(file.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
  "path, file", [pytest.param(*m, id=str(m[0])) for m in modules()]
)
def test_imports_go_one_way(path, file):
  area = path.parts[0].removesuffix(".py")
  if area in ("__init__", "__main__"):
    return
  for name in imported(file):
    parts = name.split(".")
    if parts[0] == "sgmg_jax" and len(parts) > 1:
      assert parts[1] in ALLOWED[area] | {area, "__version__"}, name
      if parts[1:3] == ["input_pipeline", "sets"]:
        # Nothing but its own folder, and its sisters, knows one data set.
        inside = path.parts[:2] == ("input_pipeline", "sets")
        assert inside or {"registry", "about"} & set(parts[3:4]), name
    assert parts[0] not in ("tests", "configs", "kernels", "input_pipeline")
    if parts[0] == "tensorflow":
      assert area == "input_pipeline", f"{name} outside input_pipeline"
    if parts[0] == "torch":
      assert str(path) in ANYWHERE_TORCH, f"{name} in {path}"


def test_labels_of_refshapes_are_read_by_pretraining_alone():
  """What makes and reads them can be removed."""
  labels = pathlib.Path("input_pipeline/refshapes/labels")
  for path, file in modules():
    if "pretraining" in path.parts or labels in path.parents:
      continue
    names = set(imported(file))
    if "refshapes" in path.parts:
      # Late, inside the function that is asked for labels.
      names &= set(imported(file, ast.iter_child_nodes))
    assert not any(".refshapes.labels" in name for name in names), path


def test_configs_import_no_package():
  files = sorted((ROOT / "configs").rglob("*.py"))
  # One another, as the neighbours they are.
  allowed = {"ml_collections"} | {file.stem for file in files}
  for file in files:
    assert {name.split(".")[0] for name in imported(file)} <= allowed, file


@pytest.mark.parametrize(
  "statement",
  [
    "import sgmg_jax",
    "import sgmg_jax; sgmg_jax.load",
    "import sgmg_jax.model.sgmg",
    "import sgmg_jax.cli.main",
  ],
)
def test_no_tensorflow_nor_torch(statement):
  check = (
    f"{statement}; import sys; "
    "heavy = {'tensorflow', 'torch'} & set(sys.modules); "
    "assert not heavy, heavy"
  )
  subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT / "tests")


def test_dir_lists_what_is_loaded_late():
  import sgmg_jax

  assert {"load", "Predictor", "SgMg", "UserError"} <= set(dir(sgmg_jax))


def test_setup_lists_every_package():
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  listed = set(config["options"]["packages"].split())
  # Files that nobody imports from the package.
  listed.remove("sgmg_jax.configs")
  listed.remove("sgmg_jax.configs.eval")
  packages = set()
  for path, file in modules():
    if file.name == "__init__.py":
      packages.add(".".join(["sgmg_jax", *path.parts[:-1]]))
    assert (file.parent / "__init__.py").exists(), f"{path}: no __init__.py"
  assert listed == packages


def test_the_tree_is_the_package():
  """What setup.cfg installs below sgmg_jax is linked there: the checkout can be
  imported where another copy is installed, and by static tools."""
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  folders = config["options"]["package_dir"].strip().splitlines()
  assert len(folders) >= len(FOLDERS)
  for package, folder in (line.split(" = ") for line in folders):
    link = ROOT / package.replace(".", "/")
    assert link.is_symlink(), f"{link}: not a link"
    # Relative: a copy of the checkout links to itself.
    assert link.readlink() == pathlib.Path("..") / folder
    assert link.resolve() == ROOT / folder


@pytest.mark.parametrize(
  "path, file", [pytest.param(*m, id=str(m[0])) for m in modules()]
)
def test_json_holds_no_nan(path, file):
  """Most parsers do not read NaN and Infinity, which Python writes."""
  tree = ast.parse(file.read_text())
  strict = {
    node.func
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
    and any(
      key.arg == "allow_nan" and getattr(key.value, "value", None) is False
      for key in node.keywords
    )
  }
  for node in ast.walk(tree):
    if ast.unparse(node) in ("json.dump", "json.dumps"):
      assert node in strict, f"{path}:{node.lineno} without allow_nan=False"
