"""`sgmg evaluate`: what a newcomer gets wrong first is one line."""

import pytest

from sgmg_jax.cli import main


@pytest.mark.parametrize("root", [[], ["--config.data.root={root}/mevis"]])
def test_a_root_without_the_data_set(root, tmp_path, capsys):
  (tmp_path / "mevis").mkdir()
  command = ["evaluate", "--config=eval/mevis", "--checkpoint=refshapes-mini"]
  command += [option.format(root=tmp_path) for option in root]
  assert main.main([*command, f"--out={tmp_path}/out"]) == 2
  error = capsys.readouterr().err
  assert "mevis: no such folder, expected the data set mevis in" in error
  assert "--config.data.root" in error and error.count("\n") == 1
  assert not (tmp_path / "out").exists()
