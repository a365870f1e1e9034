"""What a meta_expressions.json may hold, and what its faults are called."""

import json
import logging

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.layouts import json_file, meta_expressions


def _content(**expression):
  sentence = {"exp": "a dog", "obj_id": "1"} | expression
  sentence = {k: v for k, v in sentence.items() if v is not ...}
  videos = {
    "a": {"expressions": {"0": sentence, "1": sentence}, "frames": ["00000"]},
    "b": {"expressions": {"0": sentence}, "frames": ["00005", "00000"]},
  }
  return {"videos": videos}


def _parse(content, objects="required", **options):
  return meta_expressions.parse(content, "f.json", objects=objects, **options)


def test_keeps_the_order_of_the_file():
  parsed = _parse(_content())
  assert [e.key for e in parsed.expressions] == ["a/0", "a/1", "b/0"]
  assert parsed.frames == {"a": ("00000",), "b": ("00005", "00000")}


def test_select_takes_whole_videos_in_the_order_given():
  parsed = _parse(_content()).select(["b", "a"])
  assert [e.key for e in parsed.expressions] == ["b/0", "a/0", "a/1"]
  assert list(parsed.frames) == ["b", "a"]
  assert [e.key for e in parsed.select(["b"]).expressions] == ["b/0"]


@pytest.mark.parametrize(
  "value, ids",
  [("3", (3,)), (3, (3,)), (["3", "1"], (3, 1)), ([2], (2,)), ("255", (255,))],
)
def test_object_ids(value, ids):
  assert _parse(_content(obj_id=value)).expressions[0].object_ids == ids


@pytest.mark.parametrize(
  "value", ["0", "256", -1, 1.0, "1.5", True, None, "dog", [], [["1"]], {}, ""]
)
def test_no_object_ids(value):
  with pytest.raises(UserError, match="video 'a' expression '0': `obj_id` is"):
    _parse(_content(obj_id=value))


def test_no_target_only_where_allowed():
  parsed = _parse(_content(obj_id=[]), no_target=True)
  assert parsed.expressions[0].object_ids == ()
  assert parsed.has_objects


def test_objects_of_all_or_of_none():
  assert not _parse(_content(obj_id=...), objects="optional").has_objects
  assert _parse(_content(), objects="optional").has_objects
  with pytest.raises(UserError, match="'a' expression '0': expected `obj_id`"):
    _parse(_content(obj_id=...))
  mixed = _content()
  del mixed["videos"]["a"]["expressions"]["1"]["obj_id"]
  # Both entries of "a" are one dict.
  mixed["videos"]["b"]["expressions"]["0"] = {"exp": "a cat", "obj_id": "1"}
  with pytest.raises(UserError, match="f.json: video 'a' expression '0'"):
    _parse(mixed, objects="optional")


def test_the_same_of_an_empty_train_split():
  assert _parse({"videos": {}}).has_objects


@pytest.mark.parametrize("text", [..., None, 3, ["a dog"]])
def test_no_sentence(text):
  with pytest.raises(UserError, match="video 'a' expression '0': .* `exp`"):
    _parse(_content(exp=text))


def test_an_empty_sentence_is_logged(caplog):
  with caplog.at_level(logging.WARNING):
    assert len(_parse(_content(exp=" ")).expressions) == 3
  assert "f.json: 3 empty sentences, the first is a/0" in caplog.text


@pytest.mark.parametrize("frames", [[], None, "00000", [0], {"00000": 1}])
def test_no_frames(frames):
  content = _content()
  content["videos"]["b"]["frames"] = frames
  with pytest.raises(UserError, match="f.json: video 'b': .* `frames`"):
    _parse(content)


@pytest.mark.parametrize(
  "content",
  [
    {},
    {"videos": []},
    {"videos": {"a": []}},
    {"videos": {"a": {"frames": ["0"]}}},
    {"videos": {"a": {"frames": ["0"], "expressions": ["a dog"]}}},
    {"videos": {"a": {"frames": ["0"], "expressions": {"0": "a dog"}}}},
  ],
)
def test_another_form(content):
  with pytest.raises(UserError, match="f.json: .*expected"):
    _parse(content)


@pytest.mark.parametrize(
  "data, fault",
  [
    (b'{"videos": {', "not JSON .*line 1.* expected an object"),
    (b"", "not JSON"),
    (b"\xff\xfe\xfd", "not JSON"),
    (b"[]", "holds a list, expected an object"),
    (b"[" * 100_000, "not JSON"),
  ],
)
def test_json_faults_name_the_file(tmp_path, data, fault):
  path = tmp_path / "meta_expressions.json"
  path.write_bytes(data)
  with pytest.raises(UserError, match=f"meta_expressions.json: {fault}"):
    meta_expressions.read(path, objects="required")


def test_missing_json(tmp_path):
  with pytest.raises(UserError, match="x.json: no such file, expected a table"):
    json_file.read(tmp_path / "x.json", "a table")
  with pytest.raises(UserError, match="cannot be read"):
    json_file.read(tmp_path, "a table")
  (tmp_path / "y.json").write_text(json.dumps([1]))
  assert json_file.read(tmp_path / "y.json", "a list", kind=list) == [1]
