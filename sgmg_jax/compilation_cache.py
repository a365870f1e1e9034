"""JAX's compilation cache on disk, so that a second run starts at once."""

from __future__ import annotations

import os
import pathlib

import jax


def enable() -> None:
  """Turns on JAX's persistent compilation cache, unless the user has set one.

  It lies in $SGMG_CACHE_DIR, by default ~/.cache/sgmg_jax; setting the
  variable to nothing turns it off.
  """
  if jax.config.jax_compilation_cache_dir is not None:
    return
  folder = os.environ.get("SGMG_CACHE_DIR", "~/.cache/sgmg_jax")
  if not folder:
    return
  cache = pathlib.Path(folder).expanduser() / "compiled"
  jax.config.update("jax_compilation_cache_dir", str(cache))
  # Everything that takes longer than reading it back.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
