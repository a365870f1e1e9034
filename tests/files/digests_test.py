"""Digests of files."""

from sgmg_jax.files import digests

# SHA-256 of "abc" (FIPS 180-2, appendix B.1) and of nothing.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def _folder(tmp_path):
  (tmp_path / "params/deep").mkdir(parents=True)
  (tmp_path / "params/deep/array").write_bytes(b"abc")
  (tmp_path / "params/.empty").write_bytes(b"")
  (tmp_path / "card.json").write_bytes(b"{}")
  return tmp_path


def test_every_file_under_its_path(tmp_path):
  found = digests.of_folder(_folder(tmp_path), "params")
  assert found == {"params/.empty": NOTHING, "params/deep/array": ABC}
  assert digests.of_folder(tmp_path / "params") == {
    ".empty": NOTHING,
    "deep/array": ABC,
  }


def test_each_damage_is_named(tmp_path):
  folder = _folder(tmp_path)
  expected = digests.of_folder(folder)
  assert digests.differences(expected, digests.of_folder(folder)) == []
  (folder / "params/deep/array").write_bytes(b"abb")
  (folder / "params/.empty").unlink()
  (folder / "more").write_bytes(b"harmless")
  assert digests.differences(expected, digests.of_folder(folder)) == [
    "params/.empty is missing",
    "params/deep/array is changed",
  ]
