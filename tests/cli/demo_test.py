"""`sgmg demo` from clips to scores, with a random model."""

import re
import shlex

import pytest

from sgmg_jax.cli import demo
from sgmg_jax.cli import main as cli
from sgmg_jax.input_pipeline.refshapes import dataset


@pytest.mark.slow
def test_demo(mu_checkpoint, tmp_path, capsys):
  arguments = ["demo", "--checkpoint", str(mu_checkpoint), "--clips", "2"]
  arguments += ["--frames", "4", "--size", "96", "--expressions", "3"]
  out = tmp_path / "my demo"
  arguments += ["--out", str(out)]
  assert cli.main(arguments) == 0
  text = capsys.readouterr().out
  for name in ("test_000000", "test_000001"):
    assert (out / "videos" / f"{name}.mp4").exists()
    assert (out / "results" / name / "overlay.mp4").exists()
  assert (out / "contact_sheet.png").exists()
  scores = re.findall(r"^ +(\d+\.\d) +\d+\.\d +\d+\.\d  \w", text, re.M)
  assert len(scores) == 6
  mean = sum(map(float, scores)) / 6
  (stated,) = re.findall(r"mean J&F of 6 sentences: (\S+)", text)
  assert float(stated) == pytest.approx(mean, abs=0.1)
  assert text.count("\n$ ") == 2
  # The line to try next works as printed.
  (line,) = re.findall(r"own sentence:\n(.*\\\n.*)\n", text)
  words = shlex.split(line.replace("\\\n", ""))
  assert cli.main(words[words.index("segment") :]) == 0
  assert (out / "mine" / "overlay.mp4").exists()
  # Again only when asked to.
  assert cli.main(arguments) == 2
  assert "--overwrite" in capsys.readouterr().err
  assert cli.main([*arguments, "--overwrite"]) == 0


def test_chosen_sentences_name_several_objects():
  clip = dataset.generate_clip("test", 0, num_frames=8, height=96, width=96)
  chosen = demo._choose(clip.expressions, 3)
  assert len(chosen) == 3
  objects = {e.object_index for e in clip.expressions}
  assert len({e.object_index for e in chosen}) == min(3, len(objects))


def test_a_wrong_checkpoint_leaves_no_videos(tmp_path, capsys):
  out = tmp_path / "demo"
  assert cli.main(["demo", "--checkpoint", "mine", "--out", str(out)]) == 2
  assert "no checkpoint 'mine'" in capsys.readouterr().err
  assert not out.exists()


def test_nonsense_is_refused(tmp_path, capsys):
  assert cli.main(["demo", "--clips", "0", "--out", str(tmp_path)]) == 2
  assert "--clips 0" in capsys.readouterr().err
