"""REFER's pickles to per-sentence examples."""

import json
import os
import pathlib
import pickle
import pickletools

import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline.sets.refcoco import convert as refcoco

GOLDEN = pathlib.Path(__file__).parents[3] / "golden" / "eval"


@pytest.fixture(scope="module")
def case():
  return json.loads((GOLDEN / "conversion_cases.json").read_text())["refcoco"]


def write(path, refs, protocol=2):
  path.write_bytes(pickle.dumps(refs, protocol=protocol))
  return path


class TestExamples:
  @pytest.mark.parametrize("split", ["train", "val", "testA", "testB"])
  def test_golden(self, case, tmp_path, split):
    path = write(tmp_path / "refs(unc).p", case["input_refs"])
    found = refcoco.examples(
      refcoco.read_refs(path), case["input_instances"], "refcoco", split
    )
    assert found == case["output"][split]

  @pytest.mark.parametrize(
    "stored, split, expected",
    [
      ("testA", "testA", True),
      ("testA", "testB", False),
      ("testAB", "testB", True),
      ("testA", "test", True),
      ("train", "test", False),
      ("val", "val", True),
      ("trainval", "val", False),
    ],
  )
  def test_splits_are_chosen_as_refer_does(self, stored, split, expected):
    assert refcoco._in_split(stored, split) is expected

  @pytest.mark.parametrize("field", ["ann_id", "image_id"])
  def test_what_instances_lack_is_named(self, case, field):
    refs = [dict(case["input_refs"][0], **{field: 5})]
    with pytest.raises(errors.UserError, match="ref 7, .*'left guy'.* 5"):
      refcoco.examples(refs, case["input_instances"], "refcoco", "train")

  def test_an_annotation_of_another_image_is_named(self, case):
    ref, *others = case["input_refs"]
    other = next(r for r in others if r["image_id"] != ref["image_id"])
    refs, found = [ref | {"ann_id": other["ann_id"]}, other], []
    with pytest.raises(errors.UserError, match="of image .*, not "):
      refcoco.examples(refs, case["input_instances"], "refcoco", ref["split"])
    made = refcoco.examples(
      refs,
      case["input_instances"],
      "refcoco",
      ref["split"],
      lambda code, message, **where: found.append((code, where)),
    )
    assert found == [
      ("reference-unknown", {"expression": f"ref {ref['ref_id']}"})
    ]
    assert all(i["original_id"] != ref["image_id"] for i in made["images"])

  @pytest.mark.parametrize(
    "dataset, split", [("refcoco", "test"), ("refcocog", "testA"), ("x", "val")]
  )
  def test_unknown_names(self, case, dataset, split):
    with pytest.raises(errors.UserError, match="expected one of"):
      refcoco.examples([], case["input_instances"], dataset, split)

  def test_instances_without_images_are_named(self, case, tmp_path):
    (tmp_path / "refcoco").mkdir()
    path = tmp_path / "refcoco" / "instances.json"
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(errors.UserError, match="instances.json: no info"):
      refcoco.read_instances(tmp_path, "refcoco")


class Call:
  """Unpickling it calls a function."""

  def __init__(self, function, *arguments):
    self._call = function, arguments

  def __reduce__(self):
    return self._call


class TestReadRefs:
  @pytest.mark.parametrize("protocol", range(6))
  def test_plain_data_of_any_protocol(self, case, tmp_path, protocol):
    path = write(tmp_path / "refs.p", case["input_refs"], protocol)
    assert refcoco.read_refs(path) == case["input_refs"]

  def test_strings_of_python_2_are_latin1(self, miniatures, tmp_path):
    root = miniatures.make_refcoco(tmp_path, images=2)
    path = refcoco.refs_file(root, "refcoco")
    data = path.read_bytes()
    codes = {code.name for code, *_ in pickletools.genops(data)}
    assert "SHORT_BINSTRING" in codes and "BINUNICODE" not in codes
    text = refcoco.read_refs(path)[0]["sentences"][0]["sent"]
    changed = text.encode()[:-1] + b"\xe9"
    path.write_bytes(data.replace(text.encode(), changed))
    found = refcoco.read_refs(path)[0]["sentences"][0]["sent"]
    assert found == text[:-1] + "é"

  @pytest.mark.parametrize("protocol", range(6))
  def test_calls_are_refused_unexecuted(self, case, tmp_path, protocol):
    trace = tmp_path / "executed"
    evil = [*case["input_refs"], Call(os.mkdir, str(trace))]
    path = write(tmp_path / "refs.p", evil, protocol)
    with pytest.raises(errors.UserError, match=r"refs.p: asks for .*mkdir"):
      refcoco.read_refs(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists()

  @pytest.mark.parametrize(
    "data",
    [
      # A function by name, protocols 0 and 4, and an object of a class.
      b"cos\nsystem\n(S'true'\ntR.",
      b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93\x8c\x04pass\x85R.",
      b"(ios\nsystem\n.",
      b"ccollections\nOrderedDict\n)R.",
    ],
  )
  def test_even_harmless_classes_are_refused(self, tmp_path, data):
    path = tmp_path / "refs.p"
    path.write_bytes(data)
    with pytest.raises(errors.UserError, match="refs.p: asks for .*plain data"):
      refcoco.read_refs(path)

  @pytest.mark.parametrize(
    "data",
    [
      b"",
      b"no pickle",
      b"\x80\x02]q\x00(",
      b"\x80\x02P12\n.",  # A persistent id.
      b"\x80\x02\x82\x01.",  # A registered extension.
    ],
  )
  def test_what_is_no_pickle(self, tmp_path, data):
    path = tmp_path / "refs.p"
    path.write_bytes(data)
    with pytest.raises(errors.UserError, match="refs.p: not a readable pickle"):
      refcoco.read_refs(path)

  def test_a_missing_file(self, tmp_path):
    with pytest.raises(errors.UserError, match="refs.p: cannot be read"):
      refcoco.read_refs(tmp_path / "refs.p")

  @pytest.mark.parametrize(
    "field, value",
    [
      ("split", None),
      ("ann_id", "7"),
      ("sentences", []),
      ("sentences", [{"raw": "x"}]),
      ("sentences", ["x"]),
    ],
  )
  def test_refs_without_the_fields(self, case, tmp_path, field, value):
    good, other, *_ = case["input_refs"]
    path = write(tmp_path / "refs.p", [good, {**other, field: value}])
    with pytest.raises(errors.UserError, match="refs.p ref 1: "):
      refcoco.read_refs(path)

  def test_no_list(self, tmp_path):
    path = write(tmp_path / "refs.p", {"refs": []})
    with pytest.raises(errors.UserError, match="a dict, expected a list"):
      refcoco.read_refs(path)
