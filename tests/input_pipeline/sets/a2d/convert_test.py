"""A2D-Sentences' list of examples from its annotations."""

import json

import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline.sets.a2d import convert as a2d


@pytest.fixture
def root(miniatures, tmp_path):
  return miniatures.make_a2d(tmp_path, train=2, test=1)


def sentences_of(root):
  return root / "text_annotations" / "a2d_annotation.txt"


@pytest.mark.parametrize("split", ["train", "test"])
def test_equals_the_distributed_list(root, split):
  distributed = json.loads(a2d.examples_file(root, split).read_text())
  assert distributed
  assert a2d.single_frame_examples(root, split) == distributed


def test_leaves_out_missed_videos_and_the_copied_row(root):
  examples = a2d.single_frame_examples(root, "train")
  sentences = {sentence for sentence, *_ in examples}
  assert "1 (copy)" in sentences_of(root).read_text()
  assert "a copied row" not in sentences
  assert "missed_train" in sentences_of(root).read_text()
  assert "nobody outlined this" not in sentences


def test_keeps_commas_and_quotes_of_a_sentence(root):
  with sentences_of(root).open("a") as file:
    file.write('_vid1,1,"Left, with ""X"""\n')
  examples = a2d.single_frame_examples(root, "train")
  assert examples[-1][:2] == ['left, with "x"', "_vid1"]


def test_skips_frames_that_do_not_show_the_instance(root):
  with sentences_of(root).open("a") as file:
    file.write("_vid1,77,nothing has this id\n")
  sentences = {s for s, *_ in a2d.single_frame_examples(root, "train")}
  assert "nothing has this id" not in sentences


@pytest.mark.parametrize(
  "file, content, message",
  [
    ("text_annotations/a2d_annotation.txt", "video,query\n", "header"),
    ("text_annotations/a2d_annotation.txt", "", "header"),
    (
      "text_annotations/a2d_annotation.txt",
      "video_id,instance_id,query\n_vid0,1\n",
      "row 2",
    ),
    (
      "text_annotations/a2d_annotation.txt",
      "video_id,instance_id,query\n_vid0,x,a dog\n",
      "'_vid0', expression 'a dog': instance 'x'",
    ),
    ("Release/videoset.csv", "_vid0,1\n", "line 1"),
  ],
)
def test_malformed_files_are_named(root, file, content, message):
  (root / file).write_text(content)
  with pytest.raises(errors.UserError, match=message) as raised:
    a2d.single_frame_examples(root, "train")
  assert file in str(raised.value)


@pytest.mark.parametrize(
  "file",
  [
    "text_annotations/a2d_annotation.txt",
    "text_annotations/a2d_missed_videos.txt",
    "Release/videoset.csv",
  ],
)
def test_missing_files_are_named(root, file):
  (root / file).unlink()
  with pytest.raises(errors.UserError, match=file):
    a2d.single_frame_examples(root, "train")


def test_a_video_without_annotations_that_was_not_missed(root):
  (root / "text_annotations" / "a2d_missed_videos.txt").write_text("")
  with pytest.raises(errors.UserError, match="'missed_train'"):
    a2d.single_frame_examples(root, "train")


def test_an_unknown_split(root):
  with pytest.raises(errors.UserError, match="'val'"):
    a2d.single_frame_examples(root, "val")
