"""Stateless random numbers: the same integers give the same stream."""

from __future__ import annotations

import hashlib
import struct

import numpy as np


def generator(*ints: int) -> np.random.Generator:
  """Make a stream that depends on the integers, their number and order alone.

  Streams of different tuples are independent, also where one tuple begins
  with the other or has its zeros more (NumPy's `SeedSequence` pads with
  zeros: it would give (1,) and (1, 0) the same stream).

  Args:
    ints: 64 bit signed integers.
  """
  packed = struct.pack(f"<{len(ints)}q", *ints)
  key = hashlib.blake2b(packed, digest_size=16).digest()
  return np.random.Generator(
    np.random.Philox(key=int.from_bytes(key, "little"))
  )
