"""The data doctor: sound miniatures pass, each way of breaking one is found."""

import argparse
import json
import os
import pickle
import re
import shutil
import sys

import h5py
import numpy as np
import PIL.Image
import pytest
import scipy.io

from sgmg_jax import errors
from sgmg_jax.cli import data_doctor
from sgmg_jax.input_pipeline.doctor import (
  counts,
  duplicates,
  examination,
  plan,
  sentences,
)

SETS = (
  "refer_ytvos",
  "own",
  "refer_davis",
  "mevis",
  "a2d",
  "jhmdb",
  "refcoco",
)


@pytest.fixture(scope="module")
def sound(miniatures, tmp_path_factory):
  """Folder of each miniature; not to be changed."""
  folder = tmp_path_factory.mktemp("sound")
  return {
    name: getattr(miniatures, f"make_{name}")(folder / name)
    for name in SETS
    if (folder / name).mkdir() is None
  }


@pytest.fixture
def copy(sound, tmp_path):
  """Copies a miniature, to be broken."""

  def make(name):
    target = tmp_path / sound[name].name
    shutil.copytree(sound[name], target)
    return target

  return make


def doctor(*arguments):
  """Exit code of `sgmg data doctor`."""
  parser = argparse.ArgumentParser()
  data_doctor.add_arguments(parser)
  return data_doctor.run(parser.parse_args([str(a) for a in arguments]))


def examine(*folders, **options):
  options = {"workers": 2, "policy": "off"} | options
  return examination.examine(folders, **options)


def edit(path, change):
  """Changes a JSON file in place."""
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))
  return path


def cut(path, size=0.5):
  """Cuts a file short."""
  os.truncate(path, int(path.stat().st_size * size))
  return path


def first(folder, pattern):
  return sorted(folder.glob(pattern))[0]


def second(folder, pattern):
  return sorted(folder.glob(pattern))[1]


def expressions_of(root, change, split="train"):
  """Applies `change` to the entry of the first video."""
  path = root / "meta_expressions" / split / "meta_expressions.json"
  return edit(path, lambda c: change(next(iter(c["videos"].values()))))


# Each breaks a copy of a miniature and returns the file to be named.


def missing_jpeg(root):
  path = second(root, "train/JPEGImages/*/*.jpg")
  path.unlink()
  return path


def truncated_jpeg(root):
  return cut(first(root, "valid/JPEGImages/*/*.jpg"))


def empty_jpeg(root):
  return cut(first(root, "valid/JPEGImages/*/*.jpg"), 0)


def text_as_jpeg(root):
  path = first(root, "train/JPEGImages/*/*.jpg")
  path.write_text("404 not found")
  return path


def jpeg_of_other_size(root):
  path = second(root, "train/JPEGImages/*/*.jpg")
  PIL.Image.new("RGB", (40, 30)).save(path)
  return path


def rgb_mask(root):
  path = first(root, "train/Annotations/*/*.png")
  PIL.Image.open(path).convert("RGB").save(path)
  return path


def mask_of_other_size(root):
  path = first(root, "train/Annotations/*/*.png")
  with PIL.Image.open(path) as image:
    image.resize((50, 50), PIL.Image.Resampling.NEAREST).save(path)
  return path


def missing_mask(root):
  path = first(root, "train/Annotations/*/*.png")
  path.unlink()
  return path


def truncated_mask(root):
  return cut(first(root, "train/Annotations/*/*.png"))


def unknown_object(root):
  return expressions_of(
    root, lambda v: v["expressions"]["0"].update(obj_id="77")
  )


def no_object(root):
  return expressions_of(root, lambda v: v["expressions"]["0"].pop("obj_id"))


def object_by_name(root):
  return expressions_of(
    root, lambda v: v["expressions"]["0"].update(obj_id="dog")
  )


def no_text(root):
  return expressions_of(root, lambda v: v["expressions"]["0"].pop("exp"))


def no_frames(root):
  return expressions_of(root, lambda v: v["frames"].clear())


def frame_twice(root):
  return expressions_of(root, lambda v: v["frames"].insert(1, v["frames"][0]))


def malformed_json(root):
  return cut(root / "meta_expressions" / "train" / "meta_expressions.json")


def no_meta(root):
  path = root / "train" / "meta.json"
  path.unlink()
  return path


def missing_folder(root):
  path = first(root, "train/JPEGImages/*")
  shutil.rmtree(path)
  return path


def train_frame_in_valid(root):
  path = first(root, "valid/JPEGImages/*/*.jpg")
  shutil.copy(first(root, "train/JPEGImages/*/*.jpg"), path)
  return path


def davis_line_lost(root):
  path = root / "davis_text_annotations" / "Davis17_annot2.txt"
  lines = path.read_bytes().split(b"\n")
  path.write_bytes(b"\n".join(lines[1:]))
  return path


def davis_line_malformed(root):
  path = root / "davis_text_annotations" / "Davis17_annot1.txt"
  path.write_bytes(path.read_bytes() + b"\nboat a boat\n")
  return path


def davis_text_missing(root):
  path = root / "davis_text_annotations" / "Davis17_annot1_full_video.txt"
  path.unlink()
  return path


def davis_list_missing(root):
  path = root / "DAVIS" / "ImageSets" / "2017" / "val.txt"
  path.unlink()
  return path


def davis_gap(root):
  path = second(root, "DAVIS/JPEGImages/480p/*/*.jpg")
  path.unlink()
  return path.parent


def davis_converted_not_four(root):
  from sgmg_jax.input_pipeline.sets.refer_davis import convert as refer_davis

  path = root / "meta_expressions/valid/meta_expressions.json"
  path.parent.mkdir(parents=True)
  path.write_text(json.dumps(refer_davis.read_raw(root, "valid")))
  return expressions_of(root, lambda v: v["expressions"].popitem(), "valid")


def a2d_missing_h5(root):
  path = first(root, "text_annotations/*/_vid1/*.h5")
  path.unlink()
  return path


def a2d_frame_too_large(root):
  path = first(root, "text_annotations/*/_vid1/*.h5")
  return path.rename(path.with_name("00099.h5"))


def a2d_empty_mp4(root):
  return cut(root / "Release" / "CLIPS320" / "_vid1.mp4", 0)


def a2d_missing_mp4(root):
  path = root / "Release" / "CLIPS320" / "_vid1.mp4"
  path.unlink()
  return path


def a2d_corrupt_h5(root):
  return cut(first(root, "text_annotations/*/_vid1/*.h5"))


def a2d_flat_masks(root):
  path = first(root, "text_annotations/*/_vid1/*.h5")
  with h5py.File(path, "r+") as file:
    masks = file["reMask"][()]
    del file["reMask"]
    file["reMask"] = masks.ravel()
  return path


def a2d_masks_not_transposed(root):
  path = first(root, "text_annotations/*/_vid1/*.h5")
  with h5py.File(path, "r+") as file:
    masks = file["reMask"][()]
    del file["reMask"]
    file["reMask"] = masks.swapaxes(-1, -2)
  return path


def a2d_instance_absent(root):
  path = first(root, "text_annotations/*/_vid1/*.h5")
  with h5py.File(path, "r+") as file:
    file["instance"][...] = file["instance"][()] + 50
  return path


def a2d_short_row(root):
  path = root / "Release" / "videoset.csv"
  path.write_text("_vid0,11\n" + path.read_text())
  return path


def jhmdb_mat_of_other_shape(root):
  path = first(root, "puppet_mask/*/*/puppet_mask.mat")
  scipy.io.savemat(path, {"part_mask": np.zeros((2, 3, 4, 5), np.uint8)})
  return path


def jhmdb_mat_transposed(root):
  path = first(root, "puppet_mask/*/*/puppet_mask.mat")
  masks = scipy.io.loadmat(path)["part_mask"]
  scipy.io.savemat(path, {"part_mask": masks.transpose(1, 0, 2)})
  return path


def jhmdb_mat_other_values(root):
  path = first(root, "puppet_mask/*/*/puppet_mask.mat")
  masks = scipy.io.loadmat(path)["part_mask"]
  scipy.io.savemat(path, {"part_mask": masks * 255})
  return path


def jhmdb_mat_mirrored(root):
  path = first(root, "puppet_mask/*/*/puppet_mask.mat")
  masks = scipy.io.loadmat(path)["part_mask"]
  scipy.io.savemat(path, {"part_mask": masks[:, ::-1]})
  return path


def jhmdb_corrupt_mat(root):
  return cut(first(root, "puppet_mask/*/*/puppet_mask.mat"))


def jhmdb_other_file_as_mat(root):
  path = first(root, "puppet_mask/*/*/puppet_mask.mat")
  path.write_text("<html>404</html>")
  return path


def jhmdb_no_samples(root):
  path = root / "jhmdb_sentences_samples_metadata.json"
  path.unlink()
  return path


def jhmdb_frame_beyond_masks(root):
  path = root / "jhmdb_sentences_samples_metadata.json"
  return edit(path, lambda c: c[0].__setitem__(3, 0))


def mevis_no_annotation(root):
  return edit(root / "train" / "mask_dict.json", lambda c: c.pop("0"))


def mevis_other_size(root):
  def change(content):
    next(filter(None, content["0"]))["size"] = [5, 7]

  return edit(root / "train" / "mask_dict.json", change)


def mevis_code_cut(root):
  def change(content):
    code = next(filter(None, content["0"]))
    code["counts"] = code["counts"][:-4]

  return edit(root / "train" / "mask_dict.json", change)


def mevis_too_few_masks(root):
  return edit(root / "train" / "mask_dict.json", lambda c: c["0"].pop())


def mevis_no_pixels(root):
  def change(content):
    content["0"] = [None] * len(content["0"])

  return edit(root / "train" / "mask_dict.json", change)


def refcoco_corrupt_pickle(root):
  return cut(root / "refcoco" / "refs(unc).p")


class _Malicious:
  def __reduce__(self):
    return os.getcwd, ()


def refcoco_malicious_pickle(root):
  path = root / "refcoco+" / "refs(unc).p"
  path.write_bytes(pickle.dumps([_Malicious()]))
  return path


def refcoco_no_instances(root):
  path = root / "refcocog" / "instances.json"
  path.unlink()
  return path


def refcoco_no_annotation(root):
  edit(root / "refcoco" / "instances.json", lambda c: c["annotations"].clear())
  return root / "refcoco" / "refs(unc).p"


def refcoco_crowd_in_val(root):
  def change(content):
    for annotation in content["annotations"]:
      annotation["iscrowd"] = 1

  edit(root / "refcoco" / "instances.json", change)
  return root / "refcoco" / "refs(unc).p"


def refcoco_missing_image(root):
  path = first(root, "train2014/*.jpg")
  path.unlink()
  return path


def refcoco_other_size(root):
  path = first(root, "train2014/*.jpg")
  PIL.Image.new("RGB", (10, 10)).save(path)
  return path


def refcoco_box_of_text(root):
  def change(content):
    content["annotations"][0]["bbox"] = "left"

  return edit(root / "refcoco" / "instances.json", change)


def refcoco_polygon_without_end(root):
  def change(content):
    content["annotations"][0]["segmentation"] = [[0, 0, float("inf"), 0, 9, 9]]

  edit(root / "refcoco" / "instances.json", change)
  return root / "refcoco" / "refs(unc).p"


def refcoco_conversion_differs(root):
  from sgmg_jax.input_pipeline.sets.refcoco import convert as refcoco

  refs = refcoco.read_refs(refcoco.refs_file(root, "refcoco"))
  instances = refcoco.read_instances(root, "refcoco")
  content = refcoco.examples(refs, instances, "refcoco", "val")
  content["images"][0]["caption"] = "changed"
  path = refcoco.examples_file(root, "refcoco", "val")
  path.write_text(json.dumps(content))
  return path


ERRORS = {
  "refer_ytvos": {
    missing_jpeg: "frame-missing",
    truncated_jpeg: "frame-corrupt",
    empty_jpeg: "frame-corrupt",
    text_as_jpeg: "frame-corrupt",
    jpeg_of_other_size: "frame-size",
    rgb_mask: "mask-mode",
    mask_of_other_size: "mask-size",
    missing_mask: "mask-missing",
    truncated_mask: "mask-corrupt",
    unknown_object: "object-without-pixels",
    no_object: "object-id-missing",
    object_by_name: "object-id-malformed",
    no_text: "expression-malformed",
    no_frames: "frames-empty",
    frame_twice: "frames-order",
    malformed_json: "malformed",
    no_meta: "file-missing",
    missing_folder: "video-missing",
    train_frame_in_valid: "leak-frame",
  },
  "own": {no_object: "object-id-missing"},
  "refer_davis": {
    davis_line_lost: "annotators",
    davis_line_malformed: "malformed",
    davis_text_missing: "file-missing",
    davis_list_missing: "file-missing",
    davis_gap: "frame-missing",
    davis_converted_not_four: "annotators",
  },
  "mevis": {
    mevis_no_annotation: "annotation-missing",
    mevis_other_size: "mask-size",
    mevis_code_cut: "mask-corrupt",
    mevis_too_few_masks: "mask-shape",
    mevis_no_pixels: "object-without-pixels",
  },
  "a2d": {
    a2d_missing_h5: "mask-missing",
    a2d_frame_too_large: "frame-index",
    a2d_empty_mp4: "video-corrupt",
    a2d_missing_mp4: "video-missing",
    a2d_corrupt_h5: "mask-corrupt",
    a2d_flat_masks: "mask-shape",
    a2d_masks_not_transposed: "mask-size",
    a2d_instance_absent: "object-without-pixels",
    a2d_short_row: "malformed",
  },
  "jhmdb": {
    jhmdb_mat_of_other_shape: "mask-shape",
    jhmdb_mat_transposed: "mask-size",
    jhmdb_mat_other_values: "mask-values",
    jhmdb_mat_mirrored: "mask-differs",
    jhmdb_corrupt_mat: "mask-corrupt",
    jhmdb_other_file_as_mat: "mask-corrupt",
    jhmdb_no_samples: "file-missing",
    jhmdb_frame_beyond_masks: "frame-index",
  },
  "refcoco": {
    refcoco_corrupt_pickle: "pickle-corrupt",
    refcoco_malicious_pickle: "pickle-unsafe",
    refcoco_no_instances: "file-missing",
    refcoco_no_annotation: "annotation-missing",
    refcoco_crowd_in_val: "annotation-crowd",
    refcoco_missing_image: "frame-missing",
    refcoco_other_size: "frame-size",
    refcoco_box_of_text: "malformed",
    refcoco_polygon_without_end: "mask-shape",
    refcoco_conversion_differs: "conversion-differs",
  },
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("fast", [False, True])
def test_sound_data_has_no_error(sound, name, fast):
  report = examine(sound[name], fast=fast)
  expected = "refer_ytvos" if name == "own" else name
  assert report.sets[0].plan.name == expected
  assert report.sets[0].plan.tasks
  found = [f for f in report.all_findings() if f.severity != "info"]
  # The three sets share images, as the published ones do.
  assert {f.code for f in found} <= {"leak-image"}


@pytest.mark.parametrize(
  "name, break_it, code",
  [
    pytest.param(name, break_it, code, id=f"{name}-{break_it.__name__}")
    for name, ways in ERRORS.items()
    for break_it, code in ways.items()
  ],
)
def test_finds_what_is_broken(copy, tmp_path, name, break_it, code):
  root = copy(name)
  file = break_it(root)
  listed = tmp_path / "report.json"
  page = tmp_path / "report.html"
  arguments = ["--counts", "off", "--json", listed, "--report", page]
  assert doctor(root, *arguments, "--examples", "2") == 1
  content = json.loads(listed.read_text())
  every = content["sets"][0]["findings"] + content["leaks"]
  found = [f for f in every if f["code"] == code and f["severity"] == "error"]
  assert any(f["file"] == str(file) for f in found), every
  assert code in page.read_text()


@pytest.mark.parametrize(
  "name, break_it, code",
  [
    ("refer_ytvos", missing_jpeg, "frame-missing"),
    ("refer_ytvos", truncated_jpeg, "frame-corrupt"),
    ("refer_ytvos", truncated_mask, "mask-corrupt"),
    ("refer_ytvos", rgb_mask, "mask-mode"),
    ("mevis", mevis_other_size, "mask-size"),
    ("a2d", a2d_empty_mp4, "video-corrupt"),
  ],
)
def test_headers_show_it_too(copy, name, break_it, code):
  root = copy(name)
  file = str(break_it(root))
  found = examine(root, fast=True).all_findings()
  assert (code, file) in {(f.code, f.file) for f in found}


class TestWarnings:
  """What reads well but is probably not meant: the exit code stays 0."""

  def check(self, root, code, *paths):
    assert doctor(root, *paths, "--counts", "off") == 0
    found = examine(root, *paths).all_findings()
    return [f for f in found if f.code == code and f.severity == "warning"]

  def test_empty_expression(self, copy):
    root = copy("refer_ytvos")
    file = expressions_of(root, lambda v: v["expressions"]["0"].update(exp=" "))
    (found,) = self.check(root, "expression-empty")
    assert (found.file, found.expression) == (str(file), "0")

  def test_one_sentence_for_two_objects(self, copy):
    root = copy("own")

    def change(video):
      several = list(video["expressions"].values())
      other = next(e for e in several if e["obj_id"] != several[0]["obj_id"])
      other["exp"] = several[0]["exp"].upper() + " "

    file = expressions_of(root, change)
    (found,) = self.check(root, "sentence-shared")
    assert found.file == str(file)

  def test_object_that_meta_does_not_name(self, copy):
    root = copy("refer_ytvos")
    file = root / "train" / "meta.json"
    edit(file, lambda c: c["videos"].clear())
    assert {f.file for f in self.check(root, "object-unknown")} == {str(file)}

  def test_frame_of_two_videos(self, copy):
    root = copy("refer_ytvos")
    one, other = sorted((root / "train" / "JPEGImages").iterdir())[::2]
    shutil.copy(one / "00000.jpg", other / "00005.jpg")
    (found,) = self.check(root, "frame-duplicate")
    assert {found.video} <= {one.name, other.name}

  def test_black_frame_of_many_videos(self):
    frames = [
      plan.Frame("train", f"v{i:04d}", f"{i}.jpg", b"black")
      for i in range(1000)
    ]
    (found,) = duplicates.check(frames)
    assert found.code == "frame-duplicate" and "994 more" in found.message

  def test_still_part_of_a_video(self):
    frames = [plan.Frame("train", "v", f"{i}.jpg", b"same") for i in range(4)]
    (found,) = duplicates.check(frames)
    assert (found.code, found.severity) == ("frame-repeated", "info")
    assert found.message.startswith("3 frames")

  def test_rotated_frame(self, copy):
    root = copy("refer_ytvos")
    path = first(root, "train/JPEGImages/*/*.jpg")
    with PIL.Image.open(path) as image:
      exif = image.getexif()
      exif[0x0112] = 3
      image.save(path, exif=exif)
    (found,) = self.check(root, "frame-rotated")
    assert found.file == str(path)

  def test_masks_by_sentence_are_no_label_maps(self, copy):
    root = copy("refer_ytvos")
    before = examine(root).all_findings()
    mask = first(root, "train/Annotations/*/*.png")
    video = next((root / "valid/JPEGImages").iterdir()).name
    folder = root / "valid/Annotations" / video / "0"
    folder.mkdir(parents=True)
    shutil.copy(mask, folder)
    assert list(examine(root).all_findings()) == list(before)

  def test_unordered_frames(self, copy):
    root = copy("own")
    expressions_of(root, lambda v: v["frames"].reverse())
    assert len(self.check(root, "frames-order")) == 1

  def test_davis_object_without_mask(self, copy):
    # Sentences and masks are of different years' objects.
    root = copy("refer_davis")
    for path in (root / "davis_text_annotations").iterdir():
      path.write_bytes(path.read_bytes() + b'\nboat 9 "a buoy"\n')
    assert len(self.check(root, "object-without-pixels")) == 1

  def test_same_names_in_another_set(self, sound, tmp_path):
    train = tmp_path / "other"
    shutil.copytree(sound["own"], train)
    file = train / "meta_expressions" / "valid" / "meta_expressions.json"
    (name,) = json.loads(file.read_text())["videos"]
    shutil.rmtree(train / "meta_expressions" / "valid")
    for folder in ("JPEGImages", "Annotations"):
      shutil.rmtree(train / "valid" / folder)
      path = first(train / "train" / folder, "*")
      path.rename(path.with_name(name))
    path = train / "meta_expressions" / "train" / "meta_expressions.json"

    def change(content):
      old = min(content["videos"])
      content["videos"][name] = content["videos"].pop(old)

    edit(path, change)
    found = self.check(sound["own"], "leak-video", train)
    assert [f.video for f in found] == [name]


class TestLeaks:
  def test_equal_frames_in_two_sets(self, sound, tmp_path):
    davis = tmp_path / "davis"
    shutil.copytree(sound["refer_davis"], davis)
    stolen = first(sound["refer_ytvos"], "train/JPEGImages/*/*.jpg")
    evaluated = davis / "DAVIS/JPEGImages/480p/blackswan/00000.jpg"
    shutil.copy(stolen, evaluated)
    report = examine(sound["refer_ytvos"], davis)
    (found,) = [f for f in report.leaks if f.code == "leak-frame"]
    assert found.severity == "error"
    assert (found.file, found.video) == (str(evaluated), "blackswan")

  def test_refcoco_shares_images(self, sound):
    found = examine(sound["refcoco"]).leaks
    assert {f.code for f in found} == {"leak-image"}
    assert {f.severity for f in found} == {"warning"}

  def test_own_evaluation_images(self):
    made = plan.Plan("refcoco", "coco", train=frozenset({"refcoco train"}))
    made.images["refcoco train"] = frozenset({"a.jpg", "b.jpg"})
    made.images["refcoco val"] = frozenset({"b.jpg"})
    (found,) = duplicates.check_leaks([(made, [])])
    assert found.severity == "error" and "b.jpg" in found.message


class TestCounts:
  def make(self, videos):
    made = plan.Plan("refer_ytvos", "root")
    made.counts["train"] = {"videos": videos, "expressions": 12913}
    return made

  @pytest.mark.parametrize(
    "videos, policy, severity",
    [
      (3471, "strict", None),
      (3470, "auto", "error"),
      (20, "auto", "warning"),
      (20, "strict", "error"),
      (3470, "off", None),
    ],
  )
  def test_policy(self, videos, policy, severity):
    found = counts.check(self.make(videos), policy)
    assert [f.severity for f in found] == ([severity] if severity else [])

  def test_unsure_numbers_only_warn(self):
    made = plan.Plan("mevis", "root", counts={"train": {"videos": 1661}})
    (found,) = counts.check(made, "strict")
    assert found.severity == "warning"


class TestRecognise:
  def test_says_what_it_looked_for(self, tmp_path):
    with pytest.raises(errors.UserError, match="videoset.csv"):
      examination.recognise(tmp_path)

  def test_points_to_data_sets_inside(self, sound):
    with pytest.raises(errors.UserError, match="mevis .mevis."):
      examination.recognise(sound["mevis"].parent)

  def test_no_folder(self, tmp_path):
    with pytest.raises(errors.UserError, match="no such folder"):
      examination.recognise(tmp_path / "absent")

  def test_name_overrules(self, sound):
    report = examine(sound["own"], name="refer_davis")
    assert report.sets[0].plan.name == "refer_davis"
    assert "annotators" in {f.code for f in report.all_findings()}


class TestReport:
  def test_goes_on_after_an_error(self, copy):
    root = copy("refer_ytvos")
    files = {str(missing_jpeg(root)), str(rgb_mask(root))}
    files |= {str(truncated_jpeg(root)), str(no_meta(root))}
    found = examine(root).all_findings()
    assert files <= {f.file for f in found if f.severity == "error"}

  def test_page_holds_pictures_of_the_masks(self, sound, tmp_path, capsys):
    page = tmp_path / "report.html"
    root = sound["own"]
    assert doctor(root, "--report", page, "--counts", "off") == 0
    text = page.read_text()
    assert len(re.findall("data:image/jpeg;base64,", text)) == 3
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]

  def test_text_of_the_data_is_escaped(self, copy, tmp_path):
    root = copy("own")
    bad = "<script>alert(1)</script>"
    expressions_of(root, lambda v: v["expressions"]["0"].update(exp=bad))
    page = tmp_path / "report.html"
    doctor(root, "--report", page)
    assert "<script>" not in page.read_text()

  def test_folder_of_the_report_must_exist(self, sound, tmp_path):
    with pytest.raises(errors.UserError, match="no such folder"):
      doctor(sound["own"], "--report", tmp_path / "absent" / "report.html")

  def test_order_does_not_depend_on_threads(self, copy):
    root = copy("refer_ytvos")
    for path in (root / "train" / "JPEGImages").glob("*/00005.jpg"):
      cut(path)
    one, four = (examine(root, workers=n).all_findings() for n in (1, 4))
    assert one == four and len(one) > 2


def test_malicious_pickle_is_not_run(copy, tmp_path, monkeypatch):
  root, marker = copy("refcoco"), tmp_path / "was_here"

  class Malicious:
    def __reduce__(self):
      return os.mkdir, (str(marker),)

  path = root / "refcoco" / "refs(unc).p"
  path.write_bytes(pickle.dumps([Malicious()]))
  found = examine(root).all_findings()
  assert "pickle-unsafe" in {f.code for f in found}
  assert not marker.exists()


def test_sentences_of_the_same_object_may_repeat():
  said = [
    plan.Sentence("train", "v", str(i), text, (1,), "file")
    for i, text in enumerate(["a dog", "A  dog", "the cat"])
  ]
  found = {f.code: f.severity for f in sentences.check(said)}
  assert found == {"sentence-repeated": "info", "expression-blanks": "info"}


def test_missing_h5py_is_no_damage(sound, monkeypatch):
  monkeypatch.setitem(sys.modules, "h5py", None)
  with pytest.raises(errors.UserError, match="pip install h5py"):
    examine(sound["a2d"])
