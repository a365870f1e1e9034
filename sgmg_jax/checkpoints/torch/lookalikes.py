"""Refuse other files under a weight file's name."""

from __future__ import annotations

import pathlib

from sgmg_jax import errors

_HEAD = 512
_AGAIN = "download it again"

# What a file starts with, in lower case and without leading space: what it is
# and what to do.
_STARTS = (
  ((b"<!doctype html", b"<html", b"<head"), "an HTML page", _AGAIN),
  ((b"<?xml", b"<error"), "an XML page", _AGAIN),
  (
    (b"version https://git-lfs",),
    "a Git LFS pointer",
    "fetch the file itself with `git lfs pull`",
  ),
  ((b"\x1f\x8b", b"7z\xbc\xaf", b"rar!", b"bzh", b"\xfd7zxz"),
   "a compressed archive", "unpack it"),
  ((b"\x89hdf\r\n",), "an HDF5 file", "expected a file of torch.save"),
  ((b"\x93numpy",), "a NumPy file", "expected a file of torch.save"),
)  # fmt: skip


def refuse(path: pathlib.Path) -> None:
  """Raise a UserError if a file's first bytes are not those of weights."""
  try:
    with open(path, "rb") as file:
      head = file.read(_HEAD)
  except OSError as error:
    raise errors.UserError(
      f"{path} cannot be read: {error.strerror or error}"
    ) from error
  if what := _tell(head):
    kind, remedy = what
    raise errors.UserError(f"{path} is {kind}, not a checkpoint: {remedy}")


def _tell(head: bytes) -> tuple[str, str] | None:
  if not head:
    return "empty", _AGAIN
  if not any(head):
    return "filled with zeros", _AGAIN
  if head[257:262] == b"ustar":
    return (
      "a tar archive",
      "unpack it, or load and save it with PyTorch if it is of PyTorch 0.1",
    )
  text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
  for starts, kind, remedy in _STARTS:
    if text.startswith(starts):
      return kind, remedy
  if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
    if text.startswith((b"{", b"[")):
      return "a JSON text, perhaps a server's error message", _AGAIN
    # Pickles of protocol 0 are text too, without spaces where they start.
    if b" " in text.partition(b"\n")[0]:
      return "a text, perhaps a server's error message", _AGAIN
  return None
