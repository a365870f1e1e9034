"""Forms of one pass, each written for one frame, as passes over all frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def named(function: Callable[..., Any], level_shapes) -> Callable[..., Any]:
  """`function` of these levels, under a name to be read in the program."""
  direction = function.__module__.rpartition(".")[2]

  @jax.named_scope(f"deform_attn_xla_{direction}_{function.__name__}")
  def run(*args):
    return function(*args, level_shapes=level_shapes)

  return run


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
  """`function` of one frame after the other."""
  return lambda *args: jax.lax.map(lambda frame: function(*frame), args)
