"""The meaning of sentences: predicates over the objects of a clip.

A predicate is judged per object and has three outcomes: clearly true,
clearly false, or neither. Thresholds leave a gap between true and false, so
that no sentence hangs on a pixel. A meaning is a conjunction of predicates,
and it identifies an object if it is clearly true of it and clearly false of
every other.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from sgmg_jax.input_pipeline.refshapes import facts as facts_lib

Facts = facts_lib.Facts


@dataclasses.dataclass(frozen=True)
class Predicate:
  """One property of an object.

  Attributes:
    name: a key of `_JUDGES`.
    value: the property's word, direction or quantity, where it has one.
    among: for a relation the meaning that identifies the other object; for a
      superlative the meaning of the set that is compared.
  """

  name: str
  value: str = ""
  among: tuple[Predicate, ...] = ()


Meaning = tuple[Predicate, ...]


@dataclasses.dataclass(frozen=True)
class Verdict:
  """Sets of objects as bits: those clearly inside, those clearly outside."""

  yes: int
  no: int

  def __and__(self, other: Verdict) -> Verdict:
    return Verdict(self.yes & other.yes, self.no | other.no)


class Judge:
  """Judges meanings over one clip and remembers every verdict."""

  def __init__(self, facts: Facts):
    self.facts = facts
    self.everyone = (1 << facts.num_objects) - 1
    # Who never shows up is no candidate: outside of every description.
    self.ghosts = _bits(facts.share.max(1) <= 0)
    self._verdicts: dict[Predicate, Verdict] = {}

  def verdict(self, meaning: Meaning) -> Verdict:
    """What the whole conjunction says of each object."""
    result = Verdict(self.everyone & ~self.ghosts, self.ghosts)
    for predicate in meaning:
      result &= self._one(predicate)
    return result

  def identifies(self, meaning: Meaning, index: int) -> bool:
    """Whether the meaning holds of object `index` and clearly no other."""
    verdict = self.verdict(meaning)
    own = 1 << index
    return verdict.yes == own and verdict.no == self.everyone ^ own

  def holds(self, predicate: Predicate, index: int) -> bool:
    """Whether one predicate is clearly true of object `index`."""
    return bool(self._one(predicate).yes >> index & 1)

  def _one(self, predicate: Predicate) -> Verdict:
    verdict = self._verdicts.get(predicate)
    if verdict is None:
      verdict = _JUDGES[predicate.name](self, predicate)
      self._verdicts[predicate] = verdict
    return verdict


def _bits(flags: np.ndarray) -> int:
  return sum(1 << i for i, flag in enumerate(flags.tolist()) if flag)


def _verdict(yes: np.ndarray, no: np.ndarray) -> Verdict:
  return Verdict(_bits(yes & ~no), _bits(no))


_JUDGES: dict[str, Callable[[Judge, Predicate], Verdict]] = {}


def _named(name: str):
  def register(function):
    _JUDGES[name] = function
    return function

  return register


def _mean(values: np.ndarray, where: np.ndarray) -> np.ndarray:
  """Mean over the last axis of the entries picked out by `where`."""
  return (values * where).sum(-1) / np.maximum(where.sum(-1), 1)


def _largest(values: np.ndarray, where: np.ndarray) -> np.ndarray:
  return np.where(where, values, -np.inf).max(-1)


def _smallest(values: np.ndarray, where: np.ndarray) -> np.ndarray:
  return np.where(where, values, np.inf).min(-1)


# --- Looks -----------------------------------------------------------------


def _is_attribute(judge: Judge, predicate: Predicate) -> Verdict:
  yes = np.array(
    [
      getattr(body, predicate.name) == predicate.value
      for body in judge.facts.bodies
    ]
  )
  return _verdict(yes, ~yes)


for _name in ("shape", "colour", "texture"):
  _JUDGES[_name] = _is_attribute


@_named("size")
def _size(judge: Judge, predicate: Predicate) -> Verdict:
  """Size words are about objects that keep their size."""
  bodies = judge.facts.bodies
  fixed = np.array([b.motion.scale == (1.0, 1.0) for b in bodies])
  same = np.array([b.size == predicate.value for b in bodies])
  return _verdict(fixed & same, fixed & ~same)


# --- Place -----------------------------------------------------------------

# Axis and whether larger coordinates are meant.
_SIDES = {
  "left": (0, False),
  "right": (0, True),
  "top": (1, False),
  "bottom": (1, True),
}


@_named("side")
def _side(judge: Judge, predicate: Predicate) -> Verdict:
  """In one half of the frame throughout, and well inside it on average."""
  facts = judge.facts
  axis, far = _SIDES[predicate.value]
  at = facts.place[..., axis]
  at = 1.0 - at if far else at
  shown = facts.num_seen > 0
  mean = _mean(at, facts.seen)
  yes = shown & (_largest(at, facts.seen) < 0.46) & (mean < 0.36)
  no = shown & ((mean > 0.55) | (_smallest(at, facts.seen) > 0.5))
  return _verdict(yes, no)


@_named("middle")
def _middle(judge: Judge, predicate: Predicate) -> Verdict:
  facts = judge.facts
  off = np.abs(facts.place - 0.5).max(-1)
  shown = facts.num_seen > 0
  mean = _mean(off, facts.seen)
  yes = shown & (_largest(off, facts.seen) < 0.17) & (mean < 0.13)
  return _verdict(yes, shown & (mean > 0.24))


@_named("starts")
@_named("ends")
def _endpoint(judge: Judge, predicate: Predicate) -> Verdict:
  """Where a moving object is first or last seen."""
  facts = judge.facts
  axis, far = _SIDES[predicate.value]
  rows = np.arange(facts.num_objects)
  t = facts.first_seen if predicate.name == "starts" else facts.last_seen
  at = facts.place[rows, t, axis]
  at = 1.0 - at if far else at
  shown = facts.num_seen > 1
  moves = np.hypot(*facts.displacement.T) > 0.2
  return _verdict(shown & moves & (at < 0.3), shown & (at > 0.5))


# --- Motion ----------------------------------------------------------------


def _shown_moving(facts: Facts) -> np.ndarray:
  """bool[O], seen often enough to speak of motion."""
  return (facts.num_seen >= 3) & (2 * facts.num_seen >= facts.num_frames)


def _motion_verdict(facts: Facts, yes, no) -> Verdict:
  shown = _shown_moving(facts)
  return _verdict(shown & yes, shown & no)


def _spins(facts: Facts) -> np.ndarray:
  return np.array([b.motion.spin != 0 for b in facts.bodies])


def _scales(facts: Facts) -> np.ndarray:
  return np.array([b.motion.scale != (1.0, 1.0) for b in facts.bodies])


def _path_is(facts: Facts, *paths: str) -> np.ndarray:
  return np.array([b.motion.path in paths for b in facts.bodies])


@_named("still")
def _still(judge: Judge, predicate: Predicate) -> Verdict:
  facts = judge.facts
  busy = _spins(facts) | _scales(facts)
  calm = (facts.path_length < 0.02) & ~busy
  return _motion_verdict(facts, calm, (facts.path_length > 0.12) | busy)


@_named("moves")
def _moves(judge: Judge, predicate: Predicate) -> Verdict:
  facts = judge.facts
  far = facts.path_length > 0.2
  return _motion_verdict(facts, far, facts.path_length < 0.02)


# Unit vectors, y down.
_HEADINGS = {
  "left": (-1, 0),
  "right": (1, 0),
  "up": (0, -1),
  "down": (0, 1),
  "up left": (-1, -1),
  "up right": (1, -1),
  "down left": (-1, 1),
  "down right": (1, 1),
}


@_named("heads")
def _heads(judge: Judge, predicate: Predicate) -> Verdict:
  """Net motion in a direction, without turning back along it."""
  facts = judge.facts
  heading = np.array(_HEADINGS[predicate.value])
  along = facts.displacement * heading
  size = np.abs(facts.displacement)
  if heading.all():
    yes = (along > 0.15).all(1) & (size.max(1) < 1.9 * size.min(1))
    yes &= (facts.backtrack < 0.04).all(1)
    no = (along < 0.05).any(1) | (size.max(1) > 3.5 * size.min(1))
  else:
    axis = int(heading[1] != 0)
    forth, across = along[:, axis], size[:, 1 - axis]
    yes = (forth > 0.2) & (across < 0.5 * forth)
    yes &= facts.backtrack[:, axis] < 0.04
    no = (forth < 0.05) | (across > 2.5 * forth)
  # A circle or a way back has no direction, whatever its ends.
  aimless = _path_is(facts, "circle", "shuttle")
  return _motion_verdict(facts, yes & ~aimless, no & ~aimless)


@_named("path")
def _path(judge: Judge, predicate: Predicate) -> Verdict:
  """Kind of path: "curve", "circle", "bounce" or "shuttle"."""
  facts = judge.facts
  yes = _path_is(facts, predicate.value) & (facts.path_length > 0.2)
  plain = _path_is(facts, "still", "line")
  alike = {"curve": ("circle", "bounce"), "circle": ("curve",)}
  alike["bounce"] = ("curve", "shuttle")
  alike["shuttle"] = ("circle", "bounce")
  no = ~_path_is(facts, predicate.value, *alike[predicate.value]) | plain
  return _motion_verdict(facts, yes, no)


@_named("spins")
def _spins_judge(judge: Judge, predicate: Predicate) -> Verdict:
  facts = judge.facts
  rolls = np.array([b.motion.rolls for b in facts.bodies])
  yes = _spins(facts)
  return _motion_verdict(facts, yes, ~yes & ~rolls)


@_named("grows")
@_named("shrinks")
def _grows(judge: Judge, predicate: Predicate) -> Verdict:
  facts = judge.facts
  ratio = np.array(
    [b.motion.scale[1] / b.motion.scale[0] for b in facts.bodies]
  )
  ratio = ratio if predicate.name == "grows" else 1.0 / ratio
  return _motion_verdict(facts, ratio > 1.5, ratio < 1.1)


# --- Order of appearance ---------------------------------------------------


@_named("enters")
def _enters(judge: Judge, predicate: Predicate) -> Verdict:
  facts = judge.facts
  return _verdict(facts.enters, facts.share[:, 0] > 0.5)


@_named("leaves")
def _leaves(judge: Judge, predicate: Predicate) -> Verdict:
  facts = judge.facts
  return _verdict(facts.leaves, facts.share[:, -1] > 0.5)


@_named("stays")
def _stays(judge: Judge, predicate: Predicate) -> Verdict:
  facts = judge.facts
  always = (facts.share > 0.5).all(1)
  return _verdict(always, facts.absent[:, 0] | facts.absent[:, -1])


# --- Relations to one other object -----------------------------------------


def _other(judge: Judge, predicate: Predicate) -> int | None:
  """Index of the object that `among` identifies, if it does."""
  verdict = judge.verdict(predicate.among)
  index = verdict.yes.bit_length() - 1
  if index >= 0 and judge.identifies(predicate.among, index):
    return index
  return None


def _relation(function):
  """Makes (facts, other) -> (yes, no) a judge; nobody relates to oneself."""

  @functools.wraps(function)
  def judge_relation(judge: Judge, predicate: Predicate) -> Verdict:
    other = _other(judge, predicate)
    if other is None:
      return Verdict(0, 0)
    yes, no = function(judge.facts, other, predicate.value)
    own = np.arange(judge.facts.num_objects) == other
    return _verdict(yes & ~own, no | own)

  return judge_relation


def _enough_together(facts: Facts, other: int) -> np.ndarray:
  together = facts.both_seen[:, other].sum(-1)
  return (together >= 1) & (3 * together >= facts.num_frames)


@_named("beside")
@_relation
def _beside(facts: Facts, other: int, value: str):
  """Left or right of, above or below: whenever both are seen."""
  axis, far = _SIDES[value]
  both = facts.both_seen[:, other]
  gap = facts.offset[:, other, :, axis]
  gap = gap if far else -gap
  across = np.abs(facts.offset[:, other, :, 1 - axis])
  mean = _mean(gap, both)
  shown = _enough_together(facts, other)
  yes = shown & (_smallest(gap, both) > 0.07) & (mean > 0.15)
  yes &= _mean(across, both) < 1.5 * mean
  return yes, shown & (mean < 0.0) & (_largest(gap, both) < 0.1)


@_named("near")
@_relation
def _near(facts: Facts, other: int, value: str):
  both = facts.both_seen[:, other]
  distance = np.hypot(*np.moveaxis(facts.offset[:, other], -1, 0))
  gap = distance - facts.radii - facts.radii[other]
  mean = _mean(gap, both)
  shown = _enough_together(facts, other)
  yes = shown & (mean < 0.1) & (_largest(gap, both) < 0.16)
  return yes, shown & (mean > 0.25)


def _hides(facts: Facts, value: str) -> tuple[np.ndarray, np.ndarray]:
  """bool[O, O] each, who clearly is in front of ("front") or behind whom where
  their outlines overlap, and who clearly is not."""
  overlap = facts.overlap.max(-1)
  in_front = facts.rank[:, None] > facts.rank
  ordered = in_front if value == "front" else in_front.T
  return ordered & (overlap > 0.15), ~ordered | (overlap < 0.01)


@_named("depth")
@_relation
def _depth(facts: Facts, other: int, value: str):
  yes, no = _hides(facts, value)
  return yes[:, other], no[:, other]


@_named("passes")
def _passes(judge: Judge, predicate: Predicate) -> Verdict:
  """In front of or behind any other; sentences say of whom: "depth"."""
  yes, no = _hides(judge.facts, predicate.value)
  return _verdict(yes.any(1), no.all(1))


@_named("exceeds")
@_relation
def _exceeds(facts: Facts, other: int, value: str):
  """Larger or smaller than the other, both keeping their size."""
  fixed = ~_scales(facts) & ~_scales(facts)[other]
  ratio = facts.radii[:, 0] / facts.radii[other, 0]
  ratio = ratio if value == "larger" else 1.0 / ratio
  return fixed & (ratio > 1.25), fixed & (ratio < 1.05)


# --- Superlatives within a set ---------------------------------------------


def _compare_size(facts: Facts, members: np.ndarray):
  if _scales(facts)[members].any():
    return None
  return np.log(facts.radii[members, 0]), 0.22


def _compare_speed(facts: Facts, members: np.ndarray):
  if not _shown_moving(facts)[members].all():
    return None
  if facts.path_length[members].max() < 0.2:
    return None
  return np.log(np.maximum(facts.speed[members], 1e-3)), 0.4


def _compare_entry(facts: Facts, members: np.ndarray):
  known = facts.enters | (facts.share[:, 0] > 0.5)
  if not known[members].all():
    return None
  return facts.entry[members], _order_margin(facts)


def _compare_exit(facts: Facts, members: np.ndarray):
  known = facts.leaves | (facts.share[:, -1] > 0.5)
  if not known[members].all():
    return None
  return facts.exit[members], _order_margin(facts)


def _order_margin(facts: Facts) -> float:
  return max(1.0, 0.1 * (facts.num_frames - 1))


def _compare_place(axis: int):
  def compare(facts: Facts, members: np.ndarray):
    seen = facts.seen[members]
    if not seen.any(1).all():
      return None
    at = facts.centres[members, :, axis]
    low, high = _smallest(at, seen), _largest(at, seen)
    # Objects that swap places have no order.
    spread = np.where(high - low > 0.3, np.nan, _mean(at, seen))
    return spread, 0.14

  return compare


_QUANTITIES = {
  "size": _compare_size,
  "speed": _compare_speed,
  "entry": _compare_entry,
  "exit": _compare_exit,
  "x": _compare_place(0),
  "y": _compare_place(1),
}


@_named("most")
@_named("least")
def _superlative(judge: Judge, predicate: Predicate) -> Verdict:
  """The one member of a crisp set whose quantity stands out at one end."""
  facts = judge.facts
  group = judge.verdict(predicate.among)
  if group.yes | group.no != judge.everyone or group.yes.bit_count() < 2:
    return Verdict(0, 0)
  members = np.array(
    [i for i in range(facts.num_objects) if group.yes >> i & 1]
  )
  compared = _QUANTITIES[predicate.value](facts, members)
  if compared is None:
    return Verdict(0, 0)
  values, margin = compared
  if predicate.name == "least":
    values = -values
  order = np.argsort(values)
  best, second = values[order[-1]], values[order[-2]]
  if not best - second >= margin - 1e-9:  # Also where either is unknown.
    return Verdict(0, 0)
  winner = 1 << int(members[order[-1]])
  return Verdict(winner, judge.everyone ^ winner)
