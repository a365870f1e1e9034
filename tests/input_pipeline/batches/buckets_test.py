"""Padded sizes chosen for the sizes of clips."""

import itertools

import numpy as np
import pytest

from sgmg_jax.cli import config_files, main
from sgmg_jax.input_pipeline.batches import buckets, planner, recipes


def test_share_by_hand():
  sizes = {(32, 64): 0.5, (60, 64): 0.5}
  # 32 * 64 of 32 * 64, and 60 * 64 of 64 * 64.
  assert buckets.valid_share(sizes, [(64, 64), (32, 64)]) == pytest.approx(
    (32 + 60) / (32 + 64)
  )
  assert buckets.valid_share(sizes, [(64, 64)]) == pytest.approx(46 / 64)
  assert buckets.valid_share(sizes, [(32, 64)]) == 0


def test_few_sizes_are_all_chosen():
  sizes = {(160, 320): 0.9, (155, 310): 0.05, (300, 170): 0.05}
  assert buckets.choose(sizes) == ((160, 320), (320, 192))
  assert buckets.choose(sizes, always=[(320, 320)])[-1] == (320, 320)
  # The frequent size is not padded for the sake of the rare one.
  assert buckets.choose(sizes, 1) == ((320, 320),)
  rare = sizes | {(160, 640): 0.001}
  assert (160, 320) in buckets.choose(rare, 2)


def test_is_as_good_as_any_choice():
  random = np.random.default_rng(0)
  cells = 160 + 32 * random.integers(0, 4, (7, 2))
  sizes = dict(zip(map(tuple, cells.tolist()), random.dirichlet(np.ones(7))))
  sides = range(160, 257, 32)
  places = list(itertools.product(sides, sides))
  best = max(
    buckets.valid_share(sizes, chosen)
    for chosen in itertools.combinations(places, 3)
  )
  chosen = buckets.choose(sizes, 3)
  assert buckets.valid_share(sizes, chosen) == pytest.approx(best)


def test_too_small_clips_are_padded_to_what_the_model_takes():
  assert buckets.choose({(40, 300): 1.0}) == ((160, 320),)


@pytest.mark.parametrize(
  "config, name, frames, share",
  [
    ("refer_ytvos", "refer_ytvos", {(720, 1280): 1.0}, 0.885),
    ("a2d", "a2d", {(240, 320): 1.0, (240, 426): 1.0}, 0.86),
    ("refcoco_pretrain", "refcoco", {(480, 640): 0.7, (640, 480): 0.3}, 0.89),
  ],
)
def test_recipes_waste_little_and_hold_everything(config, name, frames, share):
  config = config_files.load(config)
  chosen = planner.check_buckets(config.data.buckets)
  assert len(chosen) <= 12
  recipe = recipes.get(name, "train")
  sizes = buckets.simulate(recipe.output_size, frames, 2000)
  assert buckets.valid_share(sizes, chosen) > share
  shapes = [(360, 3600), (1000, 333), (100, 100), (719, 1281), (1920, 1080)]
  for size, seed in itertools.product(shapes, range(100)):
    clip = recipe.output_size(size, (seed,))
    planner.choose_bucket(clip, chosen, str(size))


def test_command_prints_what_the_config_has(capsys):
  command = "data buckets refer_ytvos --frames 720x1280"
  assert main.main(command.split()) == 0
  printed = capsys.readouterr().out
  config = config_files.load("refer_ytvos")
  assert str(config.data.buckets).replace(" ", "") in printed
  assert "89.1% of the pixels; 95.7% with batches of one" in printed


@pytest.mark.parametrize(
  "arguments, message",
  [
    ("own", "expected PATH or --frames"),
    ("own data --frames 9x9", "expected PATH or --frames"),
    ("own --frames 9x0", "--frames 9x0: expected HEIGHTxWIDTH"),
    ("own --frames 9x9 --most 0", "--most 0: expected >= 1"),
  ],
)
def test_mistakes_of_the_command(arguments, message, capsys):
  assert main.main(["data", "buckets", *arguments.split()]) != 0
  assert message in capsys.readouterr().err


def test_stored_frames_are_looked_at(miniatures, tmp_path, capsys):
  miniatures.make_own(tmp_path)
  main.main(["data", "buckets", "own", str(tmp_path / "own"), "--most", "3"])
  printed = capsys.readouterr().out
  assert "100%" in printed and "--config.data.buckets='((" in printed
