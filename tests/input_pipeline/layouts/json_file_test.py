"""JSON that would lose something silently is refused, by name."""

import json

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.doctor import examination
from sgmg_jax.input_pipeline.layouts import json_file, mask_dict
from sgmg_jax.input_pipeline.sets.own import reader as own
from sgmg_jax.input_pipeline.sets.refer_ytvos import reader as refer_ytvos


def test_places_of_repeated_keys():
  content, places = json_file.parse(
    '{"a": [{"b": 1, "c": {}, "b": 2}], "d": 3, "a2": {"e": 0, "e": {}}, '
    '"f": {"g": 1, "g": 2, "g": 3}}'
  )
  assert content["a"][0]["b"] == 2 and content["f"] == {"g": 3}
  assert places == [("a", 0, "b"), ("a2", "e"), ("f", "g")]
  assert json_file.parse('{"a": {"b": {}}, "b": {}}')[1] == []


def test_what_is_lost_itself_is_named_once():
  _, places = json_file.parse('{"a": {"b": 1, "b": 2}, "a": {"b": 3}}')
  assert places == [("a",)]


@pytest.fixture
def twice(miniatures, tmp_path):
  """Own data whose first video has two sentences "1"; their file."""
  root = miniatures.make_own(tmp_path)
  path = refer_ytvos.expression_file(root, "train")
  text = path.read_text()
  content = json.loads(text)
  video = next(iter(content["videos"]))
  second = f'"1": {json.dumps(content["videos"][video]["expressions"]["1"])}'
  assert text.count(second) == 1
  path.write_text(text.replace(second, f"{second}, {second}"))
  return root, path, video


def test_reader_refuses_expressions_of_one_id(twice):
  root, path, video = twice
  with pytest.raises(UserError) as caught:
    own.OwnData(root, "train")
  assert str(caught.value).startswith(
    f"{path}: 'videos.{video}.expressions.1' is there twice: all but"
  )


def test_doctor_reports_expressions_of_one_id(twice):
  root, path, video = twice
  report = examination.examine([root], workers=1, policy="off")
  (found,) = (f for f in report.all_findings() if f.severity == "error")
  assert (found.code, found.file) == ("key-repeated", str(path))
  assert (found.video, found.expression) == (video, "1")


def test_annotation_twice_in_mask_dict(tmp_path):
  path = tmp_path / "mask_dict.json"
  path.write_text('{"3": [null], "4": [null], "3": [null]}')
  with pytest.raises(UserError, match="annotation 3 is there twice"):
    mask_dict.MaskDict(path).annotations()
