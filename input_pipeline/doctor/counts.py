"""Compare the numbers of videos and sentences with those published.

A folder may hold part of a set on purpose, or own data in its layout, so
another number is a warning. It is an error where the whole set is clearly
meant: close to the published number, but not it.
"""

from __future__ import annotations

from typing import Final, Literal

from sgmg_jax.input_pipeline.doctor import findings, plan
from sgmg_jax.input_pipeline.sets import registry

Policy = Literal["auto", "strict", "off"]
POLICIES: Final = ("auto", "strict", "off")
# Within this share of the published number the whole set is meant.
_CLOSE: Final = 0.1


def check(examined: plan.Plan, policy: Policy) -> findings.Findings:
  """Compare the numbers found with those published.

  Args:
    policy: "auto": as said above; "strict": another number is an error
      (where the published one is sure); "off": nothing is compared.
  """
  log = findings.Findings()
  if policy == "off":
    return log
  about = registry.about(examined.name)
  for split in dict.fromkeys((*about.published, *about.quoted)):
    found = examined.counts.get(split, {})
    sure = about.published.get(split, {})
    differing, is_error = [], False
    for quantity, expected in (sure | about.quoted.get(split, {})).items():
      number = found.get(quantity, expected)
      if number != expected:
        close = abs(number - expected) <= _CLOSE * expected
        is_error |= quantity in sure and (close or policy == "strict")
        differing.append(f"{number:,} of {expected:,} {quantity}")
    if differing:
      log.add(
        "count",
        f"{split}: {', '.join(differing)} that are published",
        file=examined.root,
        severity="error" if is_error else "warning",
      )
  return log
