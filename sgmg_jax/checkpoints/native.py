"""Native checkpoints: save and load self-contained model directories.

  params/     Orbax PyTree of the parameters
  card.json   sizes, preprocessing, source, licence, SHA-256 of the other files
  tokenizer/  files of a fast tokenizer

A checkpoint whose card names a `part` holds only that part's parameters; it
starts a training and is no model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from concurrent import futures
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from sgmg_jax import errors
from sgmg_jax import tokenizer as tokenizer_lib
from sgmg_jax.checkpoints import card as card_lib
from sgmg_jax.checkpoints import expected_shapes, stored_dtype
from sgmg_jax.files import atomic, digests
from sgmg_jax.model import variants

Params = Any

# The only module that Fast SgMg has and SgMg has not.
_DECOUPLING = "decouple_module"
# The folders whose files the card lists.
_FOLDERS = ("params", "tokenizer")
# Arrays compress, by less than this unless a file was made to fill memory.
_MAX_COMPRESSION = 100
_SMALL_BYTES = 2**28

PRETRAINED = pathlib.Path(__file__).parents[1] / "pretrained"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A checkpoint in memory; `params` are numpy arrays of the dtypes saved,
  `tokenizer` is None only in a part that has no use for one."""

  params: Params
  variant: variants.Variant
  card: dict[str, Any]
  tokenizer: Any


def bundled() -> list[str]:
  """Names of the checkpoints that come with the package."""
  return sorted(path.parent.name for path in PRETRAINED.glob("*/card.json"))


def save(
  directory: str | os.PathLike,
  params: Params,
  card: dict[str, Any],
  tokenizer: Any,
  *,
  overwrite: bool = False,
) -> None:
  """Write a checkpoint directory, whole or not at all.

  Args:
    params: nested dict of arrays that this process can address.
    card: from `card.make`.
    overwrite: replace a checkpoint that is there.

  Raises:
    UserError: the directory exists or holds other files too, the parameters
      or the tokenizer do not fit the card's variant, or parameters are NaN or
      infinite.
  """
  variant = card_lib.variant_of(card, directory)
  _check(params, variant, card, directory)
  _check_tokenizer(tokenizer, variant, card, directory)
  arrays = jax.tree.map(np.asarray, params)
  stored_dtype.check(arrays, directory)
  if overwrite:
    _check_overwritten(pathlib.Path(directory).expanduser())
  # Orbax meets a full disk with pages of tracebacks.
  num_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
  with atomic.output(
    directory, overwrite=overwrite, num_bytes=num_bytes
  ) as new:
    new.mkdir()
    _orbax().save(new / "params", args=ocp.args.PyTreeSave(arrays))
    # Orbax notes here where the folder lay while it was written.
    marker = new / "params" / "commit_success.txt"
    if marker.exists():
      marker.write_text("Checkpoint commit was successful\n")
    if tokenizer is not None:
      tokenizer.save_pretrained(new / "tokenizer")
    facts = {
      "files": _file_sizes(new),
      "sha256": _digests(new),
      "shapes": expected_shapes.digest(params, variant, card.get("part")),
    }
    card_lib.write(new, {**card, **facts})


def _check_overwritten(directory: pathlib.Path) -> None:
  """Raise a UserError for a folder that holds anything but a checkpoint."""
  if not directory.is_dir():
    return
  names = {entry.name for entry in directory.iterdir()}
  # macOS leaves a note in every folder that is looked at.
  if others := names - {card_lib.FILE, *_FOLDERS, ".DS_Store"}:
    raise errors.UserError(
      f"{directory} holds files of no checkpoint ({min(others)}): not "
      "overwritten"
    )


def load(name_or_path: str | os.PathLike) -> Checkpoint:
  """Read a whole model: a bundled name or a directory.

  Raises:
    UserError: unknown name, damaged directory, only a part of a model, or
      parameters that do not fit the card (lists every one).
  """
  checkpoint = _load(name_or_path)
  if part := checkpoint.card.get("part"):
    raise errors.UserError(
      f"{name_or_path} holds only the {part} part, expected a whole model: "
      "use it to start a training"
    )
  return checkpoint


def start_from(
  params: Params,
  name_or_path: str | os.PathLike,
  *,
  tokenizer: Any = None,
  without: Sequence[str] = (),
) -> Params:
  """`params` with everything that a checkpoint holds, whole or part, put in.

  Args:
    name_or_path: a bundled name or a directory.
    tokenizer: that the model is to be used with; None: unknown.
    without: regular expressions on names of parameters that stay as they are,
      and may be of other shapes in the checkpoint, or only there.

  Raises:
    UserError: as `load`, or the checkpoint is of another size than `params`,
      or has a text encoder trained with another tokenizer.
  """
  checkpoint = _load(name_or_path)
  if tokenizer is not None and checkpoint.tokenizer is not None:
    folder = locate(name_or_path) / "tokenizer"
    tokenizer_lib.check_same(tokenizer, checkpoint.tokenizer, folder)
  held = params
  if checkpoint.card.get("part"):
    # Whole modules; what else there is does not concern it.
    held = {k: held[k] for k in checkpoint.params if k in held}
  elif (_DECOUPLING in checkpoint.params) != (_DECOUPLING in params):
    # SgMg and Fast SgMg start each other.
    without = (*without, f"{_DECOUPLING}/.*")
  given, held = (_flat_without(x, without) for x in (checkpoint.params, held))
  expected_shapes.check(given, held, name_or_path)
  return traverse_util.unflatten_dict(_flat_without(params) | given, sep="/")


def _flat_without(tree: Params, patterns: Sequence[str] = ()) -> dict[str, Any]:
  """The leaves by name, but those whose names a pattern matches whole."""
  return {
    name: leaf
    for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()
    if not any(re.fullmatch(pattern, name) for pattern in patterns)
  }


def _load(name_or_path: str | os.PathLike) -> Checkpoint:
  directory = locate(name_or_path)
  card = card_lib.read(directory)
  variant = card_lib.variant_of(card, directory)
  _check_sizes(directory, card)
  with futures.ThreadPoolExecutor(1) as pool:
    # Beside restoring, which takes longer.
    found = pool.submit(_digests, directory)
    try:
      params = _restore(directory, card, variant)
    except errors.UserError:
      _check_digests(directory, card, found.result())  # names the file
      raise
    _check_digests(directory, card, found.result())
  folder = directory / "tokenizer"
  tokenizer = None
  if folder.is_dir():
    tokenizer = tokenizer_lib.SavedTokenizer(folder)
  _check_tokenizer(tokenizer, variant, card, directory)
  return Checkpoint(params, variant, card, tokenizer)


def read_card(name_or_path: str | os.PathLike) -> dict[str, Any]:
  """The card of a bundled name or a directory, whole model or part."""
  return card_lib.read(locate(name_or_path))


def locate(name_or_path: str | os.PathLike) -> pathlib.Path:
  """The folder of a bundled name or a directory.

  Raises:
    UserError: there is none.
  """
  path = pathlib.Path(name_or_path).expanduser()
  if path.is_dir():
    return path.absolute()
  if path.is_file():
    raise errors.UserError(
      f"{path} is a file, expected a checkpoint directory: make one with "
      f"`sgmg convert {path} OUT`"
    )
  if str(name_or_path) in bundled():
    return PRETRAINED / str(name_or_path)
  known = ", ".join(bundled()) or "none"
  raise errors.UserError(
    f"no checkpoint {str(name_or_path)!r}: expected a directory or a bundled "
    f"name ({known})"
  )


def _check_sizes(directory: pathlib.Path, card: dict[str, Any]) -> None:
  have, want = _file_sizes(directory), card.get("files")
  if not isinstance(want, dict) or not want:
    raise errors.UserError(f"{directory} is damaged: card lists no files")
  # Checked first: Orbax meets a cut file with pages of tracebacks.
  broken = [name for name, size in want.items() if have.get(name) != size]
  if broken:
    raise errors.UserError(
      f"{directory} is damaged: missing or incomplete {', '.join(broken)}"
    )


def _check_digests(
  directory: pathlib.Path, card: dict[str, Any], found: dict[str, str]
) -> None:
  """Raise a UserError unless the files are those that the card lists; cards
  of older checkpoints list none."""
  expected = card.get("sha256")
  if expected is None:
    return
  if not isinstance(expected, dict):
    raise errors.UserError(f"{directory}: card field sha256 is no object")
  problems = digests.differences(expected, found)
  # Systems leave hidden files in folders that people open.
  problems += [
    f"{name} is not part of it"
    for name in found
    if name not in expected and not name.rpartition("/")[2].startswith(".")
  ]
  if problems:
    raise errors.UserError(f"{directory} is damaged: {', '.join(problems)}")


def _digests(directory: pathlib.Path) -> dict[str, str]:
  try:
    parts = [digests.of_folder(directory, name) for name in _FOLDERS]
  except OSError as error:
    raise errors.UserError(
      f"{directory} cannot be read: {error.strerror or error}"
    ) from error
  return {name: digest for part in parts for name, digest in part.items()}


def _restore(
  directory: pathlib.Path, card: dict[str, Any], variant: variants.Variant
) -> Params:
  path = directory / "params"
  checkpointer = _orbax()
  with _damage(path):
    tree = checkpointer.metadata(path).item_metadata.tree
    shapes = expected_shapes.digest(tree, variant, card.get("part"))
    needed = sum(
      math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
      for leaf in jax.tree.leaves(tree)
    )
  # Before anything is allocated: shapes, and the memory that they take.
  if card.get("shapes") != shapes:
    _check(tree, variant, card, directory)
  held = sum(_file_sizes(directory).values())
  if needed > _SMALL_BYTES + _MAX_COMPRESSION * held:
    raise errors.UserError(
      f"{path} is damaged: {needed:,} bytes of arrays in {held:,} of files"
    )
  with _damage(path):
    to_numpy = lambda _: ocp.RestoreArgs(restore_type=np.ndarray)
    return checkpointer.restore(
      path,
      args=ocp.args.PyTreeRestore(restore_args=jax.tree.map(to_numpy, tree)),
    )


@contextlib.contextmanager
def _damage(path: pathlib.Path) -> Iterator[None]:
  # Orbax and the storage below it raise many kinds of errors for one cause.
  try:
    yield
  except Exception as error:
    reason = errors.first_line(error, 120)
    raise errors.UserError(
      f"{path} is damaged ({type(error).__name__}: {reason})"
    ) from error


def _file_sizes(directory: pathlib.Path) -> dict[str, int]:
  """Bytes of every file of `params/`, by path relative to the directory."""
  return {
    path.relative_to(directory).as_posix(): path.stat().st_size
    for path in sorted((directory / "params").rglob("*"))
    if path.is_file()
  }


def _orbax() -> ocp.Checkpointer:
  # One process alone: with more, each may load, and one saves, by itself.
  process = jax.process_index()
  options = ocp.options.MultiprocessingOptions(
    primary_host=process,
    active_processes={process},
    barrier_sync_key_prefix=f"native_{process}",
  )
  handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=options)
  return ocp.Checkpointer(handler, multiprocessing_options=options)


def _check(params, variant, card, source) -> None:
  part = card.get("part")
  if part is None:
    expected = expected_shapes.model(variant)
  else:
    expected = expected_shapes.part(part, variant)
    for name in reversed(expected_shapes.PATHS[part]):
      expected = {name: expected}
  expected_shapes.check(params, expected, source)


def _check_tokenizer(tokenizer, variant, card, source) -> None:
  part = card.get("part")
  if tokenizer is not None:
    tokenizer_lib.check(tokenizer, variant.vocab_size, variant.pad_token_id)
  elif part is None or "vocab_size" in card_lib.PARTS[part]:
    raise errors.UserError(f"{source} lacks its tokenizer/")
