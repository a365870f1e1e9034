"""Outputs are whole or absent, wherever links lead and whatever fails."""

import errno
import os
import pathlib

import pytest

from sgmg_jax import errors
from sgmg_jax.files import atomic


def _write(path, text="new", **options):
  with atomic.output(path, **options) as new:
    new.write_text(text)


def test_a_link_stays_a_link(tmp_path):
  (tmp_path / "disk").mkdir()
  (tmp_path / "disk" / "old").touch()
  link = tmp_path / "out"
  link.symlink_to("disk")
  with atomic.output(link, overwrite=True) as new:
    new.mkdir()
    (new / "result").touch()
  assert os.readlink(link) == "disk"
  assert [p.name for p in (tmp_path / "disk").iterdir()] == ["result"]
  assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "out"]


def test_a_dangling_link_gets_its_target(tmp_path):
  link = tmp_path / "out"
  link.symlink_to(tmp_path / "disk" / "run")
  _write(link)
  assert link.is_symlink() and (tmp_path / "disk" / "run").read_text() == "new"


def test_links_in_a_circle_are_refused(tmp_path):
  (tmp_path / "a").symlink_to("b")
  (tmp_path / "b").symlink_to("a")
  with pytest.raises(errors.UserError, match="lead in a circle"):
    _write(tmp_path / "a")
  assert (tmp_path / "a").is_symlink() and (tmp_path / "b").is_symlink()


def _full(new):
  new.write_text("half")
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _hidden(new):
  """As libraries report it: another error, the cause in its chain."""
  try:
    _full(new)
  except OSError as error:
    raise RuntimeError("writer failed") from error


def _quoted(new):
  """As libraries of C++ report it: their own error with the system's words."""
  new.write_text("half")
  raise ValueError("OUT_OF_RANGE: write failed: No space left on device [28]")


@pytest.mark.parametrize("path", ["gs://bucket/out", pathlib.Path("s3://b/o")])
def test_an_address_is_refused(tmp_path, monkeypatch, path):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match="is an address: expected a path"):
    _write(path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fail", [_full, _hidden, _quoted])
def test_a_full_disk_is_one_line_and_leaves_all_as_it_was(tmp_path, fail):
  _write(tmp_path / "taken", "old")
  for name in ("taken", "new/parents/file"):
    with pytest.raises(errors.UserError) as raised:
      with atomic.output(tmp_path / name, overwrite=True) as new:
        fail(new)
    assert str(raised.value) == (
      f"cannot write {tmp_path / name}: No space left on device"
    )
  assert [p.name for p in tmp_path.iterdir()] == ["taken"]
  assert (tmp_path / "taken").read_text() == "old"


def test_the_disk_is_asked_where_a_library_hides_the_cause(
  tmp_path, monkeypatch
):
  def no_space(path, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with pytest.raises(RuntimeError, match="unexpected pos"):
    with atomic.output(tmp_path / "out"):
      raise RuntimeError("unexpected pos 42")
  monkeypatch.setattr("pathlib.Path.write_bytes", no_space)
  with pytest.raises(errors.UserError, match="No space left"):
    with atomic.output(tmp_path / "out"):
      raise RuntimeError("unexpected pos 42")
  assert not list(tmp_path.iterdir())


def test_too_little_space_is_refused_at_once(tmp_path):
  with pytest.raises(errors.UserError, match="No space left"):
    with atomic.output(tmp_path / "out", num_bytes=1 << 60):
      pytest.fail("the block must not run")
  assert not list(tmp_path.iterdir())


def test_errors_of_the_block_itself_stay_themselves(tmp_path):
  with pytest.raises(FileNotFoundError):
    with atomic.output(tmp_path / "out"):
      open(tmp_path / "no such input")
  with pytest.raises(KeyboardInterrupt):
    with atomic.output(tmp_path / "a" / "out") as new:
      new.mkdir()
      raise KeyboardInterrupt
  assert not list(tmp_path.iterdir())


def test_the_folder_one_is_in_is_not_replaced(tmp_path, monkeypatch):
  (tmp_path / "out" / "deep").mkdir(parents=True)
  monkeypatch.chdir(tmp_path / "out" / "deep")
  for name in (".", "..", tmp_path / "out"):
    with pytest.raises(errors.UserError, match="the folder you are in"):
      _write(name, overwrite=True)
  assert (tmp_path / "out" / "deep").is_dir()
  _write("file")


def test_a_mount_point_is_not_replaced(tmp_path, monkeypatch):
  monkeypatch.setattr("pathlib.Path.is_mount", lambda p: p.name == "volume")
  (tmp_path / "volume").mkdir()
  with pytest.raises(errors.UserError, match="a mount point .*volume/out"):
    _write(tmp_path / "volume", overwrite=True)
  _write(tmp_path / "volume" / "out")


def test_a_device_is_not_replaced(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  (tmp_path / "link").symlink_to("pipe")
  for name in ("pipe", "link"):
    for write in (atomic.check_file, lambda p: _write(p, overwrite=True)):
      with pytest.raises(errors.UserError, match="neither a file nor a folder"):
        write(tmp_path / name)
  assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_not_replaced_by_a_file_nor_a_file_by_a_folder(tmp_path):
  (tmp_path / "folder").mkdir()
  (tmp_path / "folder" / "precious").touch()
  with pytest.raises(errors.UserError, match="a folder, expected a file to re"):
    _write(tmp_path / "folder", overwrite=True)
  with pytest.raises(errors.UserError, match="a folder, expected a file to wr"):
    atomic.check_file(tmp_path / "folder")
  assert (tmp_path / "folder" / "precious").exists()
  _write(tmp_path / "file", "old")
  with pytest.raises(errors.UserError, match="a file, expected a folder"):
    with atomic.output(tmp_path / "file", overwrite=True) as new:
      new.mkdir()
  assert (tmp_path / "file").read_text() == "old"


def test_files_that_could_not_be_written_are_refused_early(tmp_path):
  _write(tmp_path / "file")
  atomic.check_file(tmp_path / "file")
  atomic.check_file(tmp_path / "new" / "file")
  with pytest.raises(errors.UserError, match="/file is not writable"):
    atomic.check_file(tmp_path / "file" / "below")


def test_names_of_full_length(tmp_path):
  _write(tmp_path / ("é" * 127))
  assert len(list(tmp_path.iterdir())) == 1
  with pytest.raises(errors.UserError, match="File name too long"):
    with atomic.output(tmp_path / ("é" * 128)):
      pytest.fail("the block must not run")
  assert len(list(tmp_path.iterdir())) == 1
