"""The conversion gives what the official one gave, letters kept."""

import json
import logging
import pathlib

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.sets.refer_davis import convert as refer_davis

GOLDEN = pathlib.Path(__file__).parents[3] / "golden/eval"


@pytest.fixture(scope="module")
def golden():
  return json.loads((GOLDEN / "conversion_cases.json").read_text())["davis"]


@pytest.fixture
def root(golden, tmp_path):
  """The golden case's raw files."""
  davis = tmp_path / "DAVIS"
  lists = davis / "ImageSets/2017"
  lists.mkdir(parents=True)
  for name in ("train", "val"):
    videos = golden[f"{name}_txt"]
    (lists / f"{name}.txt").write_text("\n".join(videos) + "\n")
    for video in videos:
      folder = davis / "JPEGImages/480p" / video
      folder.mkdir(parents=True)
      for frame in golden["frames_on_disk"]:
        (folder / frame).touch()
  (tmp_path / "davis_text_annotations").mkdir()
  for name, lines in golden["text_files"].items():
    encoding = golden["encodings"][name.removesuffix(".txt").split("_")[1]]
    path = tmp_path / "davis_text_annotations" / name
    path.write_bytes("".join(f"{x}\n" for x in lines).encode(encoding))
  return tmp_path


def _same(a, b):
  """Equal, orders of keys too."""
  return json.dumps(a) == json.dumps(b)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_golden_expressions(golden, root, split):
  made = refer_davis.read_raw(root, split)
  assert _same(made, golden["meta_expressions"][split])


def test_frames_without_the_level_480p(golden, root):
  folder = root / "DAVIS/JPEGImages"
  for video in (folder / "480p").iterdir():
    video.rename(folder / video.name)
  (folder / "480p").rmdir()
  made = refer_davis.read_raw(root, "train")
  assert _same(made, golden["meta_expressions"]["train"])


def _parse(text):
  return refer_davis.parse_text(text.encode(), "utf-8", "f.txt")


def test_only_quotes_are_stripped():
  lines = [
    'a 1 "in quotes"',
    "a 2 no quotes",
    'a 3 "only before',
    'a 4 the "red" one',
    'a 5   "  many   blanks "  ',
    'a 6 ""',
  ]
  assert [s for _, s in _parse("\n".join(lines))["a"]] == [
    "in quotes",
    "no quotes",
    "only before",
    'the "red" one',
    # The official conversion, too, drops one character at each end only.
    " many blanks ",
    "",
  ]


def test_sorts_by_id_as_strings_and_keeps_the_order_within():
  lines = ["a 2 x", "a 10 y", "b 1 z", "a 2 w", "a 1 v"]
  assert _parse("\r\n".join(lines)) == {
    "a": [("1", "v"), ("10", "y"), ("2", "x"), ("2", "w")],
    "b": [("1", "z")],
  }


@pytest.mark.parametrize("line", ["a", "a 1", 'a one "dog"', 'a "dog" 1'])
def test_line_of_another_form(line):
  with pytest.raises(UserError, match="f.txt line 2: .*expected <video>"):
    _parse(f"a 1 x\n{line}\n")


def test_wrong_encoding(root):
  path = root / "davis_text_annotations/Davis17_annot1.txt"
  path.write_bytes('boat 1 "é"'.encode("latin-1"))
  with pytest.raises(UserError, match="Davis17_annot1.txt: .* expected utf-8"):
    refer_davis.read_raw(root, "train")


def test_annotators_of_different_objects_are_logged(caplog):
  def annotation(*ids):
    return {"a": [(i, f"object {i}") for i in ids]}

  ones = [annotation("1")] * 3
  frames = {"a": ["00000"]}
  with caplog.at_level(logging.WARNING):
    made = refer_davis.meta_expressions([annotation("1", "2"), *ones], frames)
  # As many as the shortest has, for every annotator.
  assert len(made["videos"]["a"]["expressions"]) == 4
  assert "video 'a'" in caplog.text and "['1', '2']" in caplog.text
  caplog.clear()
  with caplog.at_level(logging.WARNING):
    made = refer_davis.meta_expressions([*ones, annotation("2")], frames)
  ids = [e["obj_id"] for e in made["videos"]["a"]["expressions"].values()]
  assert ids == ["1", "1", "1", "2"]
  assert "['2']" in caplog.text


def test_video_without_sentence(root):
  path = root / "davis_text_annotations/Davis17_annot2.txt"
  lines = path.read_text("latin-1").splitlines()
  path.write_text("\n".join(x for x in lines if "blackswan" not in x))
  with pytest.raises(UserError, match="video 'blackswan': .* no sentence"):
    refer_davis.read_raw(root, "valid")
  refer_davis.read_raw(root, "train")


@pytest.mark.parametrize(
  "name, fault",
  [
    ("davis_text_annotations/Davis17_annot2.txt", "expected the sentences"),
    ("DAVIS/ImageSets/2017/train.txt", "expected the names of the videos"),
  ],
)
def test_missing_files(root, name, fault):
  (root / name).unlink()
  with pytest.raises(UserError, match=f"{name}: no such file, {fault}"):
    refer_davis.read_raw(root, "train")


def test_video_without_frames(root):
  folder = root / "DAVIS/JPEGImages/480p/motorbike"
  for path in folder.iterdir():
    path.unlink()
  with pytest.raises(UserError, match="480p/motorbike: no JPEG frames"):
    refer_davis.read_raw(root, "valid")
