"""Counting cycles in the compiler's schedule."""

import pytest

from sgmg_jax.bench import tpu_cycles

# A loop of 3 trips in one of 10, beside one whose trips are not known. A jump
# is taken after four more bundles.
SCHEDULE = """\
LB: loop header
     0   :  { %s1_s0 = smov 0 }
   0x1 LB: > { %v1 = vld [vmem:[%s1_s0] sm:$0xff] }
   0x2 LB: >> { %p7_p1 = scmp.ge.s32.totalorder %s8_s2, 3 /* loop exit test */ }
   0x3   : >> { %9 = sbr.rel (!%p7_p1) target = $region2 }
   0x4   : >> {}
   0x5   : >> {}
   0x6   : >> {}
   0x7   : >> {}
   0x8   : > { %5 = sbr.rel (!%p3_p4) target = $region9 }
   0x9 LB: >> { %p6_p2 = scmp.ge.s32.totalorder %s8_s2, %s9_s3 }
   0xa   : >> { %9 = sbr.rel (!%p6_p2) target = $region3 }
   0xb   : >> {}
   0xc   : >> {}
   0xd   : >> {}
   0xe   : >> {}
 0xf : > {%p4 = scmp.ge.s32.totalorder (%p7_p1), %s1, 10 /* loop exit test */}
  0x10   : > { %2 = sbr.rel (!%p4) target = $region1 }
  0x11   : > {}
  0x12   : > {}
  0x13   : > {}
  0x14   : > {}
  0x15   :  {}
"""


def test_bundles_times_trips():
  inner, unknown, outer = 6 * 3, 6, 8
  assert tpu_cycles.count(SCHEDULE) == 2 + 10 * (inner + unknown + outer)


def test_straight_line_code():
  assert tpu_cycles.count("     0   :  {}\n   0x1   :  {}\n") == 2


@pytest.mark.slow
@pytest.mark.tpu_aot
def test_encoder_layer_on_v5e():
  cycles = tpu_cycles.measure("layer", chip="v5e", dtype="bfloat16")
  kernel = cycles["deform_attn_pallas_tpu_forward.1"]
  assert kernel < 600e3
  # Projections, softmax and all layout changes round the kernel.
  assert sum(cycles.values()) - kernel < 0.2 * kernel
