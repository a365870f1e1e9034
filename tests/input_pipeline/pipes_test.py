"""A pipe in the place of any file of a data set ends in one line, at once."""

import os
import signal

import pytest

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.doctor import examination
from sgmg_jax.input_pipeline.sets import registry

SPLITS = {
  "own": "train",
  "refer_davis": "train",
  "mevis": "train",
  "a2d": "train",
  "jhmdb": "test",
  "refcoco": "train",
}


@pytest.fixture(autouse=True)
def _no_hang():
  def stop(*_):
    raise TimeoutError("waits for a pipe")

  before = signal.signal(signal.SIGALRM, stop)
  signal.alarm(60)
  yield
  signal.alarm(0)
  signal.signal(signal.SIGALRM, before)


def read_all(name, root, split):
  """Every frame and mask of the first expression."""
  source = registry.open_source(name, root, split)
  expression = source.expressions[0]
  video = source.video(expression.video)
  index = expression.frame or 0
  source.read_frames(video.name, [index])
  source.read_masks(expression, [index])


@pytest.mark.parametrize("name", SPLITS)
def test_no_reader_waits(name, miniatures, tmp_path):
  make = getattr(miniatures, f"make_{name}")
  root, split = make(tmp_path), SPLITS[name]
  read_all(name, root, split)
  kinds = {}
  for path in sorted(root.rglob("*")):
    if path.is_file():
      # One of each kind; the first is what is read above.
      kind = path.suffix if path.suffix in (".jpg", ".png") else path.name
      kinds.setdefault((kind, split in path.parts), path)
  for path in kinds.values():
    aside = path.rename(tmp_path / "aside")
    os.mkfifo(path)
    try:
      read_all(name, root, split)
    except UserError as e:
      assert "\n" not in str(e)
    report = examination.examine(
      [root],
      name="refer_ytvos" if name == "own" else name,
      workers=1,
      policy="off",
    )
    # A2D lists videos that are left out; nobody looks at those.
    assert report.all_findings() or path.name.startswith("missed"), path
    path.unlink()
    aside.rename(path)
