"""Meshes, and rules for where a state lies."""

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from sgmg_jax.errors import UserError
from sgmg_jax.training import sharding

EIGHT = [types.SimpleNamespace(id=i) for i in range(8)]


@pytest.mark.parametrize(
  "sizes, expected",
  [
    (dict(), (2, 1)),
    (dict(data=-1, fsdp=2), (1, 2)),
    (dict(data=1, fsdp=-1), (1, 2)),
    (dict(data=1, fsdp=1), (1, 1)),
  ],
  ids=str,
)
def test_sizes_of_the_mesh(sizes, expected):
  mesh = sharding.make_mesh(4, **sizes)
  assert mesh.axis_names == ("data", "fsdp")
  assert mesh.devices.shape == expected


@pytest.mark.parametrize(
  "sizes",
  [
    dict(data=3, fsdp=-1),
    dict(data=4, fsdp=4),
    dict(data=0, fsdp=1),
    dict(data=-1, fsdp=-1),
  ],
  ids=str,
)
def test_sizes_that_fit_no_devices(sizes):
  with pytest.raises(UserError, match="mesh:.*expected|cannot be cut into 3"):
    sharding.make_mesh(8, **sizes, devices=EIGHT)


def test_batches_that_devices_cannot_share():
  with pytest.raises(UserError, match="12 clips.* 8 devices.*=8 or 16") as info:
    sharding.make_mesh(12, devices=EIGHT)
  assert "6 of the devices" in str(info.value)
  with pytest.raises(UserError, match="2 clips.* 8 devices: .*batch_size=8,"):
    sharding.make_mesh(2, devices=EIGHT)
  parts = (
    "8 clips.* 8 devices in 2 parts.*batch_size=16, accumulation=1, or 4 of"
  )
  with pytest.raises(UserError, match=parts):
    sharding.make_mesh(8, devices=EIGHT, accumulation=2)


@pytest.fixture
def mesh():
  return sharding.make_mesh(2, data=1, fsdp=2)


def _specs(tree, rules, mesh):
  placed = sharding.by_rules(tree, rules, mesh)
  return jax.tree.map(lambda sharding: sharding.spec, placed)


def test_first_rule_that_matches_decides(mesh):
  shape = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float32)
  tree = {
    "wide": shape(64, 128),
    "odd": shape(129, 64),
    "small": shape(8, 8),
    "uncut": shape(65, 65),
    "kept": shape(64, 128),
    "first": shape(64, 128),
  }
  rules = [
    ("kept", "replicate"),
    ("first", ("fsdp", None)),
    (".*", "fsdp"),
  ]
  whole = PartitionSpec()
  assert _specs(tree, rules, mesh) == {
    "wide": PartitionSpec(None, "fsdp"),
    "odd": PartitionSpec(None, "fsdp"),
    "small": whole,
    "uncut": whole,
    "kept": whole,
    "first": PartitionSpec("fsdp", None),
  }
  assert _specs(tree, (), mesh)["wide"] == whole


@pytest.mark.parametrize(
  "rule, message",
  [
    ("shard", "'shard': expected replicate, fsdp"),
    (("model", None), "expected replicate, fsdp"),
    (("fsdp",), r"x of shape \(3, 64\) cannot be shared"),
    (("fsdp", None), r"x of shape \(3, 64\) cannot be shared"),
    ((None, ("fsdp", "fsdp")), "expected replicate, fsdp"),
  ],
  ids=str,
)
def test_rules_that_cannot_be_followed(rule, message, mesh):
  with pytest.raises(UserError, match=message):
    sharding.by_rules({"x": jnp.zeros((3, 64))}, [("x", rule)], mesh)


def test_axes_that_a_rule_names_twice(mesh):
  with pytest.raises(UserError, match="cannot be shared"):
    sharding.by_rules({"x": jnp.zeros((4, 4))}, [("x", ("fsdp",) * 2)], mesh)


def test_rules_that_decide_nothing(mesh):
  with pytest.raises(UserError, match="'backbone_0/.*' decides about no array"):
    sharding.by_rules({"x": jnp.zeros(2)}, [("backbone_0/.*", "fsdp")], mesh)


@pytest.mark.parametrize("arguments", [(0, 1), (-4, 1), (8, 0)], ids=str)
def test_batches_of_nothing(arguments):
  batch_size, accumulation = arguments
  with pytest.raises(UserError, match="expected at least 1"):
    sharding.make_mesh(batch_size, accumulation=accumulation)


def test_expressions_that_are_none(mesh):
  with pytest.raises(UserError, match="no regular expression"):
    sharding.by_rules({}, [("(", "fsdp")], mesh)
