"""Memory of a pass: the estimate, and what there is."""

import dataclasses
import pathlib
import types

import pytest

from sgmg_jax.inference import memory_estimate, preprocess
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
    ("swin_t", 40, (368, 640), "float32", 3.44e9),
    ("resnet50", 40, (368, 640), "float32", 4.41e9),
  ],
)
def test_estimate_meets_what_xla_reports(
  name, num_frames, padded, dtype, reported
):
  """Temporary buffers and outputs of both programs, JAX 0.10 on a CPU."""
  variant = variants.get_variant(name)
  got = memory_estimate.pass_bytes(variant, padded, num_frames, dtype)
  assert 0.98 * reported < got < 1.13 * reported


def test_further_sentences_cost_what_xla_reports():
  """`mini`, 16 frames of 256x256: 36.6 MB a sentence, and their answers."""
  mini = variants.get_variant("mini")
  alone, eight = (
    memory_estimate.pass_bytes(mini, (256, 256), 16, "float32", group)
    for group in (1, 8)
  )
  answers = 5 * 8 * 4 * 16 * 256 * 256
  assert 0.95 < (eight - alone) / (7 * 36.6e6 + answers) < 1.15


def test_sentences_of_fast_sgmg_take_what_xla_reports():
  """The tiny model, 8 frames of 368x640, 16 sentences; four more answers and
  the features wait."""
  fast = variants.get_variant("video_swin_t", decouple="features")
  pixels = 8 * 368 * 640
  got = memory_estimate.pass_bytes(fast, (368, 640), 8, "float32", 16)
  reported = 705 * pixels + 4 * 16 * 4 * pixels + 57 * pixels
  assert 0.98 < (got - 2**28) / reported < 1.1


@pytest.mark.parametrize(
  "free, most", [(16, 96), (8, 48), (4, 24), (2, 8), (0.5, 1), (0.1, 0)]
)
def test_most_frames(monkeypatch, free, most):
  monkeypatch.setattr(memory_estimate, "_host_bytes", lambda: int(free * GIB))
  found = memory_estimate.free()
  tiny = variants.get_variant("video_swin_t")
  # A wide video of the benchmarks, 480x1152: 36 frames are padded to 40.
  wide = preprocess.plan_geometry(480, 1152, 360, None)
  assert wide.padded == (368, 864)
  assert memory_estimate.most_frames(tiny, wide, 128, free=found) == most
  assert memory_estimate.most_frames(tiny, wide, None, free=found) >= most
  assert memory_estimate.most_frames(tiny, wide, 5, free=found) == min(most, 5)
  # Frames and masks that are held, and sentences together, take their part.
  large = dataclasses.replace(wide, original=(4800, 11520))
  many = dict(expressions=40, group=8)
  for fewer in (
    memory_estimate.most_frames(tiny, large, 128, free=found),
    memory_estimate.most_frames(tiny, wide, 128, free=found, **many),
  ):
    assert fewer < most or most <= 1


def test_devices_of_a_cpu_share_its_memory(monkeypatch):
  monkeypatch.setattr(memory_estimate, "_host_bytes", lambda: 8 * GIB)
  assert memory_estimate.free() == memory_estimate.Free(
    8 * GIB, 8 * GIB, shared=True
  )
  assert memory_estimate.free(sharing=2) == memory_estimate.Free(
    4 * GIB, 4 * GIB, shared=True
  )


def test_an_accelerator_has_memory_of_its_own(monkeypatch):
  monkeypatch.setattr(memory_estimate, "_host_bytes", lambda: 8 * GIB)
  stats = {"bytes_limit": 5 * GIB, "bytes_in_use": GIB}
  gpu = types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
  found = memory_estimate.free(gpu, sharing=2)
  assert found == memory_estimate.Free(4 * GIB, 4 * GIB, shared=False)


def test_limits_of_control_groups_count(monkeypatch, tmp_path):
  monkeypatch.setattr(memory_estimate, "_CGROUPS", tmp_path)
  cgroups = pathlib.Path("/proc/self/cgroup")
  lines = cgroups.read_text().splitlines() if cgroups.exists() else []
  mine = [line for line in lines if line.startswith("0::")]
  if not mine:
    pytest.skip("needs control groups of version 2")
  group = tmp_path / mine[0].removeprefix("0::/")
  group.mkdir(parents=True, exist_ok=True)
  before = memory_estimate.free_bytes()
  (group / "memory.max").write_text("max\n")
  assert memory_estimate.free_bytes() == pytest.approx(before, rel=0.2)
  (group / "memory.max").write_text(f"{GIB}\n")
  (group / "memory.current").write_text(f"{GIB // 2}\n")
  (group / "memory.stat").write_text(f"anon 5\ninactive_file {GIB // 4}\n")
  assert memory_estimate.free_bytes() == 3 * GIB // 4


def test_unknown_memory(monkeypatch, tmp_path):
  monkeypatch.setattr(memory_estimate, "_machine_bytes", lambda: ())
  monkeypatch.setattr(memory_estimate, "_CGROUPS", tmp_path)
  assert memory_estimate.free_bytes() == memory_estimate.UNKNOWN
