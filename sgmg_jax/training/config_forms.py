"""Forms of the tuples in a config, and its counts, checked before anything else
starts.

On a command line a forgotten comma or bracket still gives a tuple, only of
another shape: `(".*", 1.0)` is no tuple of groups. A count of 0 would end a run
after its first step, minutes later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from sgmg_jax.errors import UserError

_NUMBER = (int, float)


class Form(NamedTuple):
  """The form of a field's entries.

  Attributes:
    names: of an entry's fields, for people; one: entries are plain values.
    types: theirs, as `isinstance` takes them.
    example: of the whole, as a flag's value.
  """

  names: str
  types: tuple[Any, ...]
  example: str


_INTS = Form("a whole number", (int,), "(3,)")
_STEPS = Form("a step", (int,), "(4000,5000)")
_PATTERNS = Form("a regular expression", (str,), "('class_embed_.*',)")

# By the dotted name of the field.
FORMS = {
  "data.sets": Form(
    "(name, folder below data.root, how often it is listed)",
    (str, str, int),
    "(('own','my_data',1),)",
  ),
  "data.buckets": Form("(height, width)", (int, int), "((384,640),(640,384))"),
  "data.kinds": Form("a kind of sentences", (str,), "('appearance','place')"),
  "data.service": Form("an address", (str,), "('host:5050',)"),
  "data.sizes.shorts": _INTS,
  "data.sizes.recrop_shorts": _INTS,
  "data.sizes.crop_shorts": _INTS,
  "optimizer.groups": Form(
    "(regular expression, multiplier of the learning rate or None)",
    (str, (int, float, type(None))),
    "(('text_encoder/.*',None),('.*',1.0))",
  ),
  "sharding": Form(
    "(regular expression, replicate, fsdp, or an axis for every dimension)",
    (str, (str, tuple, list)),
    "(('params/text_encoder/.*','fsdp'),)",
  ),
  "schedule.drop_steps": _STEPS,
  "schedule.drop_epochs": Form("an epoch", (_NUMBER,), "(3,5)"),
  "auxiliary": Form("a module", (str,), "('sgmg_jax.pretraining.cell_heads',)"),
  "init_required": _PATTERNS,
  "reinitialise": _PATTERNS,
  "phases": Form(
    "(frames, batch size, steps, learning rate)",
    (int, int, int, _NUMBER),
    "((1,16,1500,3e-3),)",
  ),
}

# Counts of which there must be one at least.
COUNTS = (
  "log_every",
  "checkpoint_every",
  "keep_checkpoints",
  "accumulation",
  "max_skipped",
  "eval.every",
  "data.batch_size",
  "data.num_frames",
  "data.expressions_per_clip",
)


def check(config: ConfigDict) -> None:
  """Raises a UserError that names the first field of another form."""
  for name, form in FORMS.items():
    value = _get(config, name)
    if value is None or _fits(value, form):
      continue
    raise UserError(
      f'{name}: expected {form.names} each, such as "{form.example}", got '
      f"{value!r}"
    )
  for name in COUNTS:
    value = _get(config, name)
    if value is not None and value < 1:
      raise UserError(f"{name}: expected at least 1, got {value}")


def _get(config: ConfigDict, name: str) -> Any:
  """Looks up a dotted name; None without such a field."""
  value = config
  for key in name.split("."):
    value = value.get(key) if isinstance(value, ConfigDict) else None
  return value


def _fits(value: Any, form: Form) -> bool:
  if not isinstance(value, tuple | list):
    return False
  if len(form.types) == 1:
    value = [(entry,) for entry in value]
  return all(
    isinstance(entry, tuple | list)
    and len(entry) == len(form.types)
    and all(map(_is, entry, form.types))
    for entry in value
  )


def _is(value: Any, kind: Any) -> bool:
  return isinstance(value, kind) and not isinstance(value, bool)
