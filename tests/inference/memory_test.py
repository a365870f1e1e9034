"""Memory of a pass: the estimate, and what there is."""

import dataclasses
import pathlib

import pytest

from sgmg_jax.inference import memory, preprocess
from sgmg_jax.model import variants

GIB = 2**30


@pytest.mark.parametrize(
  "name, num_frames, padded, dtype, reported",
  [
    ("video_swin_t", 40, (368, 640), "float32", 3.51e9),
    ("video_swin_t", 36, (368, 864), "float32", 4.70e9),
    ("video_swin_t", 36, (368, 864), "bfloat16", 3.22e9),
    ("video_swin_s", 36, (368, 864), "float32", 6.86e9),
    ("video_swin_b", 8, (368, 640), "float32", 1.53e9),
    ("video_swin_b", 36, (368, 864), "float32", 9.18e9),
  ],
)
def test_estimate_meets_what_xla_reports(
  name, num_frames, padded, dtype, reported
):
  """Temporary buffers and outputs of both programs, JAX 0.10 on a CPU."""
  variant = variants.get_variant(name)
  got = memory.pass_bytes(variant, padded, num_frames, dtype)
  assert 0.98 * reported < got < 1.13 * reported


@pytest.mark.parametrize(
  "free, most", [(16, 96), (8, 48), (4, 24), (2, 8), (0.5, 1), (0.1, 0)]
)
def test_most_frames(monkeypatch, free, most):
  monkeypatch.setattr(memory, "_host_bytes", lambda: int(free * GIB))
  tiny = variants.get_variant("video_swin_t")
  # A wide video of the benchmarks, 480x1152: 36 frames are padded to 40.
  wide = preprocess.plan_geometry(480, 1152, 360, None)
  assert wide.padded == (368, 864)
  assert memory.most_frames(tiny, wide, 128) == most
  assert memory.most_frames(tiny, wide, None) >= most
  assert memory.most_frames(tiny, wide, 5) == min(most, 5)
  # Frames and masks that are held, and sentences together, take their part.
  large = dataclasses.replace(wide, original=(4800, 11520))
  many = dict(expressions=40, group=8)
  for fewer in (
    memory.most_frames(tiny, large, 128),
    memory.most_frames(tiny, wide, 128, **many),
  ):
    assert fewer < most or most <= 1


def test_limits_of_control_groups_count(monkeypatch, tmp_path):
  monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
  cgroups = pathlib.Path("/proc/self/cgroup")
  lines = cgroups.read_text().splitlines() if cgroups.exists() else []
  mine = [line for line in lines if line.startswith("0::")]
  if not mine:
    pytest.skip("needs control groups of version 2")
  group = tmp_path / mine[0].removeprefix("0::/")
  group.mkdir(parents=True, exist_ok=True)
  before = memory.free_bytes()
  (group / "memory.max").write_text("max\n")
  assert memory.free_bytes() == pytest.approx(before, rel=0.2)
  (group / "memory.max").write_text(f"{GIB}\n")
  (group / "memory.current").write_text(f"{GIB // 2}\n")
  (group / "memory.stat").write_text(f"anon 5\ninactive_file {GIB // 4}\n")
  assert memory.free_bytes() == 3 * GIB // 4


def test_unknown_memory(monkeypatch, tmp_path):
  monkeypatch.setattr(memory, "_machine_bytes", lambda: ())
  monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
  assert memory.free_bytes() == memory.UNKNOWN
