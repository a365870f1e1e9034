"""Deformable attention on TPUs: Pallas kernels of the Mosaic backend.

`tiles` explains the method. Limits: float32 and bfloat16, and all values of a
frame, with their gradient, in VMEM; `why_not` tells.

One set of block sizes serves all chips from v5e on: a program may be compiled
where there is none to ask, and on every one of them the vector unit is the
limit, so that other tiles lose (v5e, v6e: 256 queries cost 2 to 10 % more).
"""

from sgmg_jax.kernels.deform_attn.pallas_tpu.tiles import why_not as why_not
