"""Opening a user's file never waits, whatever lies under its name."""

import os
import socket

import pytest

from sgmg_jax.files import regular_file


def test_reads_a_file(tmp_path):
  path = tmp_path / "a"
  path.write_bytes(b"content")
  assert regular_file.read_bytes(path) == b"content"
  link = tmp_path / "link"
  link.symlink_to(path)
  assert regular_file.read_bytes(link) == b"content"


def test_says_what_it_is_instead(tmp_path, monkeypatch):
  os.mkfifo(tmp_path / "fifo")
  monkeypatch.chdir(tmp_path)  # A socket's path must be short.
  with socket.socket(socket.AF_UNIX) as server:
    server.bind("socket")
  kinds = {
    "fifo": "a pipe",
    "socket": "a socket",
    ".": "a folder",
    "/dev/zero": "a device",
  }
  for path, kind in kinds.items():
    with pytest.raises(OSError) as caught:
      regular_file.open_binary(path)
    assert caught.value.strerror == f"{kind}, expected a regular file"
    assert caught.value.filename == path


def test_names_that_no_file_can_have(tmp_path):
  with pytest.raises(FileNotFoundError):
    regular_file.check(tmp_path / "missing")
  for name in ("a" * 5000, "a\0b"):
    with pytest.raises(OSError) as caught:
      regular_file.check(tmp_path / name)
    assert caught.value.strerror
