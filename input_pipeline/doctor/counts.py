"""Numbers of videos and sentences, as published.

A folder may hold part of a set on purpose, or own data in its layout, so
another number is a warning. It is an error where the whole set is clearly
meant: close to the published number, but not it.
"""

from __future__ import annotations

from typing import Final, Literal

from sgmg_jax.input_pipeline.doctor import findings, plan

Policy = Literal["auto", "strict", "off"]
POLICIES: Final = ("auto", "strict", "off")
# Within this share of the published number the whole set is meant.
_CLOSE: Final = 0.1

# Set -> split -> quantity -> number.
PUBLISHED: Final = {
  "refer_ytvos": {
    "train": {"videos": 3471, "expressions": 12913, "objects": 6388},
    "valid": {"videos": 202, "expressions": 834},
    "test": {"videos": 305},
  },
  "refer_davis": {
    "train": {"videos": 60, "expressions": 576, "objects": 144},
    "valid": {"videos": 30, "expressions": 244, "objects": 61},
  },
  "mevis": {
    "train": {"videos": 1662, "expressions": 23051},
    "valid_u": {"videos": 50, "expressions": 793},
    "valid": {"videos": 140, "expressions": 2236},
  },
  "a2d": {
    "all": {"clips": 3782, "rows": 6655},
    "train": {"videos": 3017},
    "test": {"videos": 737},
  },
  "jhmdb": {
    "test": {"videos": 928, "rows": 928, "samples": 2784, "actions": 21}
  },
  "refcoco": {
    "refcoco train": {"refs": 42404, "images": 16994, "sentences": 120624},
    "refcoco val": {"refs": 3811, "images": 1500, "sentences": 10834},
    "refcoco testA": {"refs": 1975, "images": 750, "sentences": 5657},
    "refcoco testB": {"refs": 1810, "images": 750, "sentences": 5095},
    "refcoco+ train": {"refs": 42278, "images": 16992, "sentences": 120191},
    "refcoco+ val": {"refs": 3805, "images": 1500, "sentences": 10758},
    "refcoco+ testA": {"refs": 1975, "images": 750, "sentences": 5726},
    "refcoco+ testB": {"refs": 1798, "images": 750, "sentences": 4889},
    "refcocog train": {"refs": 42226, "images": 21899, "sentences": 80512},
    "refcocog val": {"refs": 2573, "images": 1300, "sentences": 4896},
    "refcocog test": {"refs": 5023, "images": 2600, "sentences": 9602},
  },
}
# Taken from papers, not counted in the files: never more than a warning.
_UNSURE: Final = {
  ("refer_ytvos", "valid", "expressions"),
  ("refer_davis", "train", "expressions"),
  ("refer_davis", "train", "objects"),
  ("refer_davis", "valid", "expressions"),
  ("refer_davis", "valid", "objects"),
  ("mevis", "train", "videos"),
  ("mevis", "train", "expressions"),
  ("mevis", "valid_u", "videos"),
  ("mevis", "valid_u", "expressions"),
  ("mevis", "valid", "videos"),
  ("mevis", "valid", "expressions"),
  ("a2d", "train", "videos"),
  ("a2d", "test", "videos"),
  ("refcoco", "refcoco+ train", "sentences"),
  ("refcoco", "refcocog train", "sentences"),
}


def check(examined: plan.Plan, policy: Policy) -> findings.Findings:
  """Compares the numbers found with those published.

  Args:
    policy: "auto": as said above; "strict": another number is an error
      (where the published one is sure); "off": nothing is compared.
  """
  log = findings.Findings()
  published = PUBLISHED[examined.name] if policy != "off" else {}
  for split, quantities in published.items():
    found = examined.counts.get(split, {})
    differing, is_error = [], False
    for quantity, expected in quantities.items():
      number = found.get(quantity, expected)
      if number != expected:
        close = abs(number - expected) <= _CLOSE * expected
        sure = (examined.name, split, quantity) not in _UNSURE
        is_error |= sure and (close or policy == "strict")
        differing.append(f"{number:,} of {expected:,} {quantity}")
    if differing:
      log.add(
        "count",
        f"{split}: {', '.join(differing)} that are published",
        file=examined.root,
        severity="error" if is_error else "warning",
      )
  return log
