"""Pickles as data: an interpreter of their opcodes that runs no code.

Python's unpickler imports and calls whatever a file names. Here a name stays a
`Name`, and to call it is to look it up in a table of this package; a file that
names anything else is refused. `pickletools` decodes the opcodes of every
protocol and never reads past the end of the file, so that a length that lies
costs nothing.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

# Far above what weight files need; bounds the time that one can take.
MAX_OPCODES = 2_000_000
# Larger integers can be chosen to have the same hash.
_MAX_KEY = 2**60
_MAX_SHOWN = 8

_NEW = {
  "NONE": lambda: None,
  "NEWTRUE": lambda: True,
  "NEWFALSE": lambda: False,
  "EMPTY_TUPLE": tuple,
  "EMPTY_LIST": list,
  "EMPTY_DICT": dict,
  "EMPTY_SET": set,
}
_LITERALS = frozenset(
  "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING "
  "SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
  "SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedError(Exception):
  """The pickle names something that is not in the table."""


@dataclasses.dataclass(frozen=True)
class Name:
  """A class or function that a pickle names; nothing was imported."""

  name: str


def load(
  file: BinaryIO,
  table: Mapping[str, Callable[..., Any] | None],
  persistent: Callable[[Any], Any],
) -> Any:
  """The object of the pickle at the file's position.

  Args:
    file: is read to the end of the pickle.
    table: by "module.name", what a call of the name gives; None for names
      that are only mentioned.
    persistent: gives the object of a persistent id.

  Raises:
    RefusedError: another name, or too many opcodes.
    Exception: of many kinds, where the file is damaged.
  """
  machine = _Machine(table, persistent)
  for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
    if count >= MAX_OPCODES:
      raise RefusedError(f"more than {MAX_OPCODES:,} pickle opcodes")
    if opcode.name == "STOP":
      break
    machine.run(opcode.name, argument)
  return machine.stack.pop()


class _Machine:
  """The stack, the stacks below it (one for each mark) and the memo."""

  def __init__(self, table, persistent):
    self.stack: list[Any] = []
    self._below: list[list[Any]] = []
    self._memo: dict[int, Any] = {}
    self._table = table
    self._persistent = persistent

  def run(self, name: str, argument: Any) -> None:
    if name in _LITERALS:
      self.stack.append(argument)
    elif name in _NEW:
      self.stack.append(_NEW[name]())
    elif name in _TUPLES:
      count = _TUPLES[name]
      items = [self.stack.pop() for _ in range(count)]
      self.stack.append(tuple(reversed(items)))
    elif name in ("PROTO", "FRAME"):
      pass
    elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
      self._memo[argument] = self.stack[-1]
    elif name in ("BINGET", "LONG_BINGET", "GET"):
      self.stack.append(self._memo[argument])
    else:
      step = getattr(self, f"_{name.lower()}", None)
      if step is None:
        raise RefusedError(f"the pickle opcode {name}")
      step(argument)

  def _memoize(self, _):
    self._memo[len(self._memo)] = self.stack[-1]

  def _mark(self, _):
    self._below.append(self.stack)
    self.stack = []

  def _marked(self) -> list[Any]:
    items, self.stack = self.stack, self._below.pop()
    return items

  def _pop(self, _):
    if self.stack:
      self.stack.pop()
    else:
      self._marked()

  def _pop_mark(self, _):
    self._marked()

  def _dup(self, _):
    self.stack.append(self.stack[-1])

  def _tuple(self, _):
    items = tuple(self._marked())
    self.stack.append(items)

  def _list(self, _):
    items = self._marked()
    self.stack.append(items)

  def _dict(self, _):
    items = self._marked()
    self.stack.append(_put({}, items))

  def _frozenset(self, _):
    items = self._marked()
    self.stack.append(frozenset(map(check_key, items)))

  def _append(self, _):
    item = self.stack.pop()
    _list_of(self.stack[-1]).append(item)

  def _appends(self, _):
    items = self._marked()
    _list_of(self.stack[-1]).extend(items)

  def _setitem(self, _):
    value, key = self.stack.pop(), self.stack.pop()
    _put(self.stack[-1], [key, value])

  def _setitems(self, _):
    items = self._marked()
    _put(self.stack[-1], items)

  def _additems(self, _):
    items = self._marked()
    if not isinstance(self.stack[-1], set):
      raise ValueError("items are added to what is no set")
    self.stack[-1].update(map(check_key, items))

  def _global(self, argument):
    self._name(*argument.split(" ", 1))

  def _stack_global(self, _):
    name, module = self.stack.pop(), self.stack.pop()
    self._name(module, name)

  def _name(self, module, name):
    full = f"{_text(module)}.{_text(name)}"
    if full not in self._table:
      raise RefusedError(brief(full))
    self.stack.append(Name(full))

  def _reduce(self, _):
    arguments, function = self.stack.pop(), self.stack.pop()
    self.stack.append(self._call(function, arguments, {}))

  def _newobj(self, _):
    self._reduce(_)

  def _newobj_ex(self, _):
    keywords, arguments = self.stack.pop(), self.stack.pop()
    self.stack.append(self._call(self.stack.pop(), arguments, keywords))

  def _call(self, function, arguments, keywords):
    if not isinstance(function, Name) or type(arguments) is not tuple:
      raise ValueError("a call of what is no function")
    if self._table[function.name] is None:
      raise RefusedError(f"a call of {function.name}")
    return self._table[function.name](*arguments, **keywords)

  def _build(self, _):
    state, target = self.stack.pop(), self.stack[-1]
    if isinstance(target, argparse.Namespace):
      for key, value in state.items():
        # Not setattr: nothing of the object's own is to run.
        vars(target)[_text(key)] = value
    elif hasattr(target, "set_state"):
      target.set_state(state)
    # What a subclass of dict adds to its items is left out.
    elif not isinstance(target, dict):
      raise ValueError(f"a state for a {type(target).__name__}")

  def _binpersid(self, _):
    self.stack.append(self._persistent(self.stack.pop()))


def brief(value: Any) -> str:
  """A value for an error message; of what may be large, its type alone."""
  if type(value) is str:
    return (
      value if value.isprintable() and len(value) < 100 else ascii(value[:100])
    )
  if type(value) is int and abs(value) < 2**63:
    return str(value)
  if type(value) is tuple and len(value) <= _MAX_SHOWN:
    return f"({', '.join(brief(x) if type(x) is int else '…' for x in value)})"
  return f"a {type(value).__name__}"


def check_key(key: Any) -> Any:
  """A key of a dict or set, if it is plain: hashing it is safe and quick."""
  parts = key if type(key) is tuple else (key,)
  for part in parts:
    if type(part) is int and abs(part) < _MAX_KEY:
      continue
    if part is not None and type(part) not in (str, bytes, bool, float):
      raise ValueError(f"a key of type {type(part).__name__}")
  return key


def _put(target: Any, items: list[Any]) -> Any:
  if type(target) not in (dict, collections.OrderedDict) or len(items) % 2:
    raise ValueError("entries are put into what is no dict")
  for key, value in zip(items[::2], items[1::2]):
    target[check_key(key)] = value
  return target


def _list_of(target: Any) -> list[Any]:
  if type(target) is not list:
    raise ValueError("items are appended to what is no list")
  return target


def _text(value: Any) -> str:
  if type(value) is not str:
    raise ValueError(f"a name of type {type(value).__name__}")
  return value
