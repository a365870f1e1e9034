"""Multi-scale deformable attention."""

from sgmg_jax.kernels.deform_attn.api import (
  deformable_attention as deformable_attention,
)
from sgmg_jax.kernels.deform_attn.problem import FEW_QUERIES as FEW_QUERIES
