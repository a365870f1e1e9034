"""Files below a folder or in a zip."""

import pickle
import zipfile

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.files import tree

FILES = {"Annotations/v/0/00000.png": b"one", "readme.txt": b"two"}
LITTER = {".DS_Store": b"", "__MACOSX/Annotations/v/._0": b"", "a/.x": b""}


def _zip(path, files, **options):
  with zipfile.ZipFile(path, "w", **options) as archive:
    for name, content in files.items():
      archive.writestr(name, content)
  return path


@pytest.fixture(params=["folder", "zip"])
def path(request, tmp_path):
  if request.param == "zip":
    return _zip(tmp_path / "x.zip", FILES | LITTER)
  for name, content in (FILES | LITTER).items():
    file = tmp_path / "x" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
  return tmp_path / "x"


def test_names_and_contents(path):
  found = pickle.loads(pickle.dumps(tree.open_tree(path)))
  assert found.names == tuple(sorted(FILES))
  for name, content in FILES.items():
    assert found.read(name) == content
  assert len(pickle.dumps(found)) < 300
  with pytest.raises(UserError, match="readme.txt: over 2 bytes"):
    found.read("readme.txt", 2)
  with pytest.raises(UserError, match="x.*none.png: "):
    found.read("none.png")


def test_links_are_followed_but_not_for_ever(tmp_path):
  (tmp_path / "a").mkdir()
  (tmp_path / "a/x.png").write_bytes(b"")
  (tmp_path / "b").mkdir()
  (tmp_path / "b/linked").symlink_to(tmp_path / "a")
  (tmp_path / "a/upwards").symlink_to(tmp_path)
  names = tree.open_tree(tmp_path).names
  assert {"a/x.png", "b/linked/x.png"} <= set(names)
  assert max(name.count("/") for name in names) < 10


def test_a_changed_folder_is_listed_again(tmp_path):
  assert not tree.open_tree(tmp_path).names
  (tmp_path / "x.png").write_bytes(b"")
  assert tree.open_tree(tmp_path).names == ("x.png",)


@pytest.mark.parametrize(
  "name", ["../x", "/x", "a//x", "a\\x", "a/../x", "a\nb"]
)
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
  path = _zip(tmp_path / "x.zip", {name: b""})
  with pytest.raises(UserError, match="x.zip: holds a file"):
    tree.open_tree(path)


def test_no_zip(tmp_path):
  (tmp_path / "x.zip").write_bytes(b"PK nothing")
  with pytest.raises(UserError, match="x.zip: not a zip"):
    tree.open_tree(tmp_path / "x.zip")
  with pytest.raises(UserError, match="y: No such file.*a folder or a zip"):
    tree.open_tree(tmp_path / "y")


def test_an_unusual_or_damaged_zip(tmp_path):
  path = _zip(tmp_path / "x.zip", FILES, compression=zipfile.ZIP_BZIP2)
  with pytest.raises(UserError, match="compressed in a way"):
    tree.open_tree(path)
  path = _zip(tmp_path / "y.zip", {"x.png": b"abcdef"})
  path.write_bytes(path.read_bytes().replace(b"abcdef", b"abcdeg"))
  with pytest.raises(UserError, match="y.zip/x.png: damaged"):
    tree.open_tree(path).read("x.png")
