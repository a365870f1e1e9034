"""The learning-rate schedule and the length of a training.

Steps drop by a factor at given points, as in SgMg (ICCV 2023), section 4.2,
after a linear warm-up; epochs become steps.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from sgmg_jax.errors import UserError

_logger = logging.getLogger(__name__)


def step_decay(
  learning_rate: float,
  *,
  warmup_steps: int,
  drop_steps: Sequence[int],
  drop_factor: float,
) -> optax.Schedule:
  """Linear warm-up, then `learning_rate` times `drop_factor` once for every
  entry of `drop_steps` reached."""

  def schedule(step):
    warmup = jnp.minimum(1.0, (step + 1) / max(warmup_steps, 1))
    drops = sum(jnp.asarray(step >= drop, jnp.float32) for drop in drop_steps)
    return learning_rate * warmup * drop_factor**drops

  return schedule


def plan_length(
  config: ConfigDict, steps_per_epoch: float | None, batch_size: int
) -> tuple[int, optax.Schedule]:
  """Plan the number of steps and the learning rate; epochs become steps.

  The learning rate grows with the batch, as the released training's does with
  its workers (SgMg, section 4.2).

  Raises:
    UserError: epochs of data that have none.
  """
  total_steps, schedule = config.total_steps, config.schedule.to_dict()
  drop_epochs = schedule.pop("drop_epochs")
  usual = schedule.pop("batch_size")
  if usual and usual != batch_size:
    schedule["learning_rate"] *= batch_size / usual
    _logger.info(
      "learning rate %g: that of batches of %d clips times %d/%d "
      "(schedule.batch_size=0 leaves it alone)",
      schedule["learning_rate"],
      usual,
      batch_size,
      usual,
    )
  if config.total_epochs or drop_epochs:
    if not steps_per_epoch:
      raise UserError(
        "total_epochs, schedule.drop_epochs: these data have no epochs; give "
        "total_steps and schedule.drop_steps"
      )
    schedule["drop_steps"] = (
      *schedule["drop_steps"],
      *(round(epoch * steps_per_epoch) for epoch in drop_epochs),
    )
  if config.total_epochs:
    total_steps = min(
      total_steps, math.ceil(config.total_epochs * steps_per_epoch)
    )
  return total_steps, step_decay(**schedule)
