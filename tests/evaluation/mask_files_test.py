"""Masks of any toolkit are read, or named with what is wrong."""

import io
import zipfile

import numpy as np
import PIL.Image
import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.evaluation import faults as faults_lib
from sgmg_jax.evaluation import mask_files
from sgmg_jax.files import tree

MASK = np.arange(12).reshape(3, 4) % 3 == 1
FRAMES = ("00000", "00005")
WANTED = {("v1", "0"): FRAMES, ("v1", "1"): FRAMES, ("v2", "0"): FRAMES}
LAYOUT = "<video>/<expression>/<frame>.png"


def png(values, mode="L", format="PNG", palette=None):
  file = io.BytesIO()
  image = PIL.Image.fromarray(np.asarray(values, np.uint8))
  if mode == "P":
    image = image.convert("P")
    image.putpalette((palette or [0, 0, 0]) + 255 * [128, 0, 0])
  elif mode != image.mode:
    image = image.convert(mode)
  image.save(file, format)
  return file.getvalue()


def animation():
  file = io.BytesIO()
  first, second = (PIL.Image.new("L", (4, 3), value) for value in (0, 255))
  first.save(file, "PNG", save_all=True, append_images=[second])
  return file.getvalue()


def write(root, files):
  for name, content in files.items():
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  return root


def complete(prefix=""):
  return {
    f"{prefix}{a}/{b}/{frame}.png": png(255 * MASK)
    for (a, b), frames in WANTED.items()
    for frame in frames
  }


def open_masks(path):
  return mask_files.open_masks(str(path), WANTED, LAYOUT)


@pytest.mark.parametrize(
  "data",
  [
    png(255 * MASK),
    png(MASK),
    png(255 * MASK, "1"),
    png(MASK, "P"),
    png(255 * MASK, "P"),
  ],
  ids=["grey", "grey 0 1", "one bit", "palette", "palette 255"],
)
def test_what_can_only_mean_one_mask(data, tmp_path):
  found = tree.open_tree(write(tmp_path, {"x.png": data}))
  np.testing.assert_array_equal(mask_files.read_mask(found, "x.png"), MASK)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_masks_of_one_value(value, tmp_path):
  data = png(np.full((3, 4), value))
  found = tree.open_tree(write(tmp_path, {"x.png": data}))
  mask = mask_files.read_mask(found, "x.png")
  np.testing.assert_array_equal(mask, np.full((3, 4), value > 0))


@pytest.mark.parametrize(
  "data, reason",
  [
    (png(255 * MASK, "RGB"), "mode RGB"),
    (png(100 * np.arange(3)[None]), "values 0, 100, 200"),
    (png([[0, 1, 255]]), "values 0, 1, 255"),
    (png(2 * MASK, "P"), "values 0, 2, expected"),
    (png(MASK, "P", palette=[255, 255, 255]), "expected black"),
    (png(255 * MASK, format="JPEG"), "a JPEG, expected a PNG"),
    (png(255 * MASK)[:-30], "damaged"),
    (animation(), "an animation of 2 frames"),
    (b"", "the file is empty"),
  ],
  ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(data, reason, tmp_path):
  found = tree.open_tree(write(tmp_path, {"a/x.png": data}))
  faults = faults_lib.Faults()
  masks = mask_files.read_masks(found, ["a/x.png"], (3, 4), faults)
  assert not masks.any()
  ((message, _),) = faults.found["encoding"]
  assert message.startswith("a/x.png: ") and reason in message


def test_a_bomb_is_refused(make_bomb, tmp_path):
  make_bomb(tmp_path / "x.png")
  with pytest.raises(mask_files.Unreadable, match="more than the limit"):
    mask_files.read_mask(tree.open_tree(tmp_path), "x.png")


def test_label_maps_are_read_as_stored(tmp_path):
  labels = np.array([[0, 3, 20]], np.uint8)
  found = tree.open_tree(write(tmp_path, {"x.png": png(labels, "P")}))
  np.testing.assert_array_equal(mask_files.read_labels(found, "x.png"), labels)


@pytest.mark.parametrize("prefix", ["", "Annotations/", "mine/Annotations/"])
@pytest.mark.parametrize("zipped", [False, True])
def test_any_folders_around(prefix, zipped, tmp_path):
  path = tmp_path / "x"
  write(path, complete(prefix))
  if zipped:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
      for name, content in complete(prefix).items():
        archive.writestr(name, content)
    path = tmp_path / "x.zip"
  masks = open_masks(path)
  assert not mask_files.check_names(masks, WANTED)
  assert masks.find(("v2", "0"), ["00005", "00007"]) == [
    f"{prefix}v2/0/00005.png",
    None,
  ]


def test_all_faults_are_collected(tmp_path):
  files = complete()
  del files["v1/0/00005.png"], files["v2/0/00000.png"], files["v2/0/00005.png"]
  files["v1/1/00000.png"] = png(np.zeros((4, 4)))
  files["v1/1/00005.png"] = png(100 * MASK)
  files["v3/0/00000.png"] = files["log.txt"] = b""
  masks = open_masks(write(tmp_path, files))
  faults = mask_files.check_names(masks, WANTED)
  names = masks.find(("v1", "1"), FRAMES)
  mask_files.read_masks(masks.tree, names, (3, 4), faults)
  lines = faults.lines()
  assert lines[0] == "3 missing:"
  assert lines[1] == "  v1/0/00005.png"
  assert lines[2].startswith("  v2/0/: all its 2 masks, 00000.png and on")
  assert "1 of another size:" in lines
  assert "  v1/1/00000.png: 4x4 pixels, expected 3x4" in lines[4]
  assert "values 0, 100" in lines[6]
  assert lines[7:] == ["2 not asked for:", "  log.txt", "  v3/0/00000.png"]
  with pytest.raises(faults_lib.Unusable, match="3 missing.*--allow-missing"):
    mask_files.accept(faults, tmp_path, False)
  with pytest.raises(faults_lib.Unusable, match="1 of another size"):
    mask_files.accept(faults, tmp_path, True)
  notes = mask_files.accept(faults.without("size", "encoding"), tmp_path, True)
  assert notes[0].startswith("3 masks are missing and count as empty")
  assert "2 files were not asked for" in notes[1]


def test_many_faults_are_counted():
  faults = faults_lib.Faults()
  for i in range(25):
    faults.add("missing", f"v/{i}", 2)
  lines = faults.lines()
  assert lines[0] == "50 missing:" and lines[-1].split()[-2:] == ["10", "more"]
  assert len(lines) == 2 + faults_lib.SHOWN


@pytest.mark.parametrize(
  "rename, expected",
  [
    (lambda n: n.replace(".png", ".jpg.png"), "found v1/0/00000.jpg.png"),
    (lambda n: n.replace("v1/1/", "v1/b/"), "v1/ has 0, b"),
    (lambda n: n.replace("v2/", "w2/"), "there is no folder v2/"),
  ],
)
def test_another_naming_is_shown(rename, expected, tmp_path):
  files = {rename(name): data for name, data in complete().items()}
  faults = mask_files.check_names(open_masks(write(tmp_path, files)), WANTED)
  assert expected in faults.summary()


@pytest.mark.parametrize(
  "files, expected",
  [
    ({}, "empty, expected <video>"),
    (complete("x/") | complete("y/"), "in several places .x, y.;"),
    ({"other/0/00000.png": b""}, "it holds other/0/00000.png"),
    ({"v1/00000.png": b""}, "such as v1/0/; it holds v1/00000.png"),
  ],
)
def test_masks_of_something_else(files, expected, tmp_path):
  with pytest.raises(UserError, match=expected):
    open_masks(write(tmp_path, files))
