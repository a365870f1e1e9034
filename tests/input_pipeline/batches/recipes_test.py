"""What every recipe promises, and the order of its ops."""

import copy

import numpy as np
import pytest

from sgmg_jax import errors
from sgmg_jax.input_pipeline import source
from sgmg_jax.input_pipeline.batches import clip_sampler, recipes
from sgmg_jax.input_pipeline.sets import registry

ACTORS = ("a2d", "jhmdb")
TRAINED = [name for name in registry.NAMES if name != "jhmdb"]
CASES = [(name, "train", False) for name in TRAINED]
CASES += [(name, "eval", False) for name in registry.NAMES]
CASES += [("refcoco", "train", True)]
# Small, so that tests are fast; the ranges are those of real frames.
SMALL = {
  "shorts": (40, 50),
  "longest": 90,
  "recrop_shorts": (44,),
  "crop_shorts": (60, 80),
  "min_side": 50,
  "max_side": 70,
}


def _recipe(name, phase, pseudo_video, **kwargs):
  sizes = SMALL if phase == "train" else {"short": 30}
  if name == "refshapes":
    sizes = None
  return recipes.get(
    name,
    phase,
    num_frames=3,
    pseudo_video=pseudo_video,
    sizes=sizes,
    **kwargs,
  )


def _example(num_frames, annotated, height=72, width=96):
  random = np.random.default_rng(height)
  masks = np.zeros((1, len(annotated), height, width), bool)
  masks[..., 20:50, 30:60] = True
  return {
    "frames": random.integers(0, 256, (num_frames, height, width, 3), np.uint8),
    "masks": masks,
    "annotated": np.array(annotated, np.int32),
    "expressions": [" The bright  box on the LEFT"],
    "size": (height, width),
    "name": "passes through",
  }


def _example_of(recipe, **kwargs):
  expression = source.Expression("v", "0", "box", (1,), 2)
  clip = recipe.clip(clip_sampler.Sample(expression, 2), 6, (0,))
  return _example(len(clip.frames), clip.annotated, **kwargs)


@pytest.mark.parametrize("name, phase, pseudo_video", CASES)
def test_every_recipe(name, phase, pseudo_video):
  recipe = _recipe(name, phase, pseudo_video)
  for i in range(12):
    size = {"height": 72 + 5 * (i % 3), "width": 96 - 9 * (i % 5)}
    example, seed = _example_of(recipe, **size), (7, 0, i, 0)
    before = copy.deepcopy(example)
    got, again = (recipe.apply(example, seed) for _ in range(2))
    assert recipe.output_size(example["size"], seed) == got["size"]
    num_annotated = len(got["annotated"])
    assert got["frames"].shape[1:] == (*got["size"], 3)
    assert got["masks"].shape == (1, num_annotated, *got["size"])
    assert got["boxes"].shape == (1, num_annotated, 4)
    assert got["valid"].shape == (1, num_annotated)
    dtypes = {"frames": np.uint8, "masks": bool, "boxes": np.float32}
    dtypes |= {"valid": bool, "annotated": np.int32}
    for key, dtype in dtypes.items():
      assert got[key].dtype == dtype, key
    assert set(got) == set(example) | {"boxes", "valid"}
    for key, value in before.items():
      np.testing.assert_array_equal(example[key], value, err_msg=key)
    for key, value in got.items():
      np.testing.assert_array_equal(again[key], value, err_msg=key)
    assert (got["boxes"] >= 0).all()
    assert (got["boxes"] <= np.tile(got["size"][::-1], 2)).all()


@pytest.mark.parametrize("name", TRAINED)
def test_output_size_over_many_seeds(name):
  recipe = recipes.get(name, "train")
  for i in range(200):
    size = (240 + 7 * (i % 40), 320 + 31 * (i % 33))
    seed = (0, i, 3, 0)
    height, width = recipe.output_size(size, seed)
    assert recipe.output_size(size, seed) == (height, width)
    if name != "refshapes":
      longest = 800 if name in recipes.IMAGES else 640
      # The short side is rounded first: slim frames end a little longer.
      slimness = max(size) / min(size)
      assert max(height, width) <= longest + slimness / 2


def _names(recipe):
  return [type(op).__name__ for op in recipe.ops]


def test_order_of_ops():
  prepare = ["NormaliseCaption", "BoxesFromMasks"]
  colours = ["RandomFlip", "RandomPhotometric"]
  videos = prepare + ["RandomResizeCrop"] + colours
  for name in recipes.VIDEOS:
    assert _names(recipes.get(name, "train")) == videos
    assert _names(recipes.get(name, "eval")) == ["BoxesFromMasks", "Resize"]
  a2d = prepare + colours + ["RandomResizeCrop"]
  assert _names(recipes.get("a2d", "train")) == a2d
  for name in ACTORS:
    assert _names(recipes.get(name, "eval")) == prepare + ["Resize"]
  images = ["BoxesFromMasks", "RandomFlip", "RandomResizeCrop"]
  for name in recipes.IMAGES:
    assert _names(recipes.get(name, "train")) == images
    clips = recipes.get(name, "train", pseudo_video=True)
    assert _names(clips) == [
      "PseudoVideo",
      "BoxesFromMasks",
      "DropSlim",
      *colours,
      "RandomResizeCrop",
      "ZeroEmptyBoxes",
    ]
  assert _names(recipes.get("refshapes", "train")) == ["BoxesFromMasks"]


def test_samplers():
  def sampler(name, phase="train", **kwargs):
    return recipes.get(name, phase, **kwargs).sampler

  spread = clip_sampler.SpreadClips
  assert sampler("refer_ytvos") == spread(5, lone_anchor=True)
  assert sampler("mevis", num_frames=8, reverse=0.3) == spread(
    8, reverse=0.3, lone_anchor=True
  )
  assert sampler("refer_davis") == spread(5)
  assert sampler("a2d") == clip_sampler.AnnotatedClips(5)
  assert sampler("jhmdb", "eval") == clip_sampler.Windows(5)
  assert sampler("refcocog") == clip_sampler.Windows(1)
  assert sampler("refcocog", "eval") == clip_sampler.Windows(1)
  assert sampler("refer_davis", "eval") == clip_sampler.WholeVideos()


def test_evaluation_sizes():
  for name in recipes.VIDEOS:
    recipe = recipes.get(name, "eval")
    assert recipe.output_size((300, 1000), ()) == (360, 1200)
  for name in (*ACTORS, *recipes.IMAGES):
    recipe = recipes.get(name, "eval")
    assert recipe.output_size((300, 1000), ()) == (192, 640)


@pytest.mark.parametrize(
  "name, expected",
  [
    ("refer_ytvos", " The bright  box on the LEFT"),
    ("a2d", "the bright box on the left"),
    ("refcoco", " The bright  box on the LEFT"),
  ],
)
def test_sentences_of_evaluation(name, expected):
  recipe = _recipe(name, "eval", False)
  got = recipe.apply(_example_of(recipe), (0,))
  assert got["expressions"] == [expected]


def _flipped(recipe):
  for i in range(20):
    example = _example_of(recipe)
    got = recipe.apply(example, (0, i))
    if "on the right" in got["expressions"][0] and got["valid"].any():
      return got
  raise AssertionError("no flip in twenty samples")


def test_quirk_of_sentences():
  fixed = _flipped(_recipe("refer_ytvos", "train", False))
  assert fixed["expressions"] == ["the bright box on the right"]
  quirks = recipes.Quirks(substring_caption_flip=True)
  recipe = _recipe("refer_ytvos", "train", False, quirks=quirks)
  got = _flipped(recipe)
  assert "bleft" in got["expressions"][0]
  np.testing.assert_array_equal(got["boxes"], fixed["boxes"])
  np.testing.assert_array_equal(got["frames"], fixed["frames"])


def test_quirk_of_boxes():
  fixed = _flipped(_recipe("refer_ytvos", "train", False))
  quirks = recipes.Quirks(flipped_box_offset=True)
  got = _flipped(_recipe("refer_ytvos", "train", False, quirks=quirks))
  np.testing.assert_array_equal(got["boxes"], fixed["boxes"] + [1, 0, 1, 0])


def test_quirk_of_grey_levels():
  fixed = _recipe("refer_ytvos", "train", False)
  quirks = recipes.Quirks(photometric_wraparound=True)
  quirky = _recipe("refer_ytvos", "train", False, quirks=quirks)
  example = _example_of(fixed)
  example["frames"] = np.full_like(example["frames"], 250)
  frames = [
    [recipe.apply(example, (i,))["frames"] for i in range(20)]
    for recipe in (fixed, quirky)
  ]
  assert min(f.min() for f in frames[0]) > 160
  assert min(f.min() for f in frames[1]) < 60


def test_resampling():
  empty = {"valid": np.zeros(2, bool)}
  seen = {"valid": np.array([False, True])}
  for name, phase, pseudo_video in CASES:
    recipe = _recipe(name, phase, pseudo_video)
    assert recipe.accepts(seen)
    assert recipe.accepts(empty) == (phase == "eval")


def test_an_object_never_seen_is_never_valid():
  for name in TRAINED:
    recipe = _recipe(name, "train", False)
    example = _example_of(recipe)
    example["masks"] = np.zeros_like(example["masks"])
    for i in range(5):
      assert not recipe.accepts(recipe.apply(example, (i,)))


@pytest.mark.parametrize(
  "args, kwargs, message",
  [
    (("ytvos", "train"), {}, "ytvos"),
    (("mevis", "test"), {}, "'test'"),
    (("jhmdb", "train"), {}, "evaluation only"),
    (("mevis", "train"), {"pseudo_video": True}, "pseudo_video"),
    (("refcoco", "eval"), {"pseudo_video": True}, "pseudo_video"),
    (("mevis", "train"), {"sizes": {"long": 3}}, "sizes.long"),
  ],
)
def test_errors(args, kwargs, message):
  with pytest.raises(errors.UserError, match=message):
    recipes.get(*args, **kwargs)


@pytest.mark.parametrize("short_side", [64, 160, 360, 500])
def test_clips_of_any_model_fit_their_padded_sizes(short_side):
  sizes, buckets = recipes.clip_sizes(short_side)
  recipe = recipes.get("refer_ytvos", "train", sizes=sizes)
  for seed in range(300):
    size = [(720, 1280), (1280, 720), (300, 300), (200, 1500)][seed % 4]
    made = recipe.output_size(size, (seed,))
    assert any(made[0] <= b[0] and made[1] <= b[1] for b in buckets), made
  assert len(buckets) <= 6
  official = recipes.get("refer_ytvos", "train").ops[2]
  scaled = recipe.ops[2]
  for name in ("shorts", "crop_shorts"):
    ratios = np.divide(getattr(scaled, name), getattr(official, name))
    np.testing.assert_allclose(ratios, short_side / 360, rtol=0.02)
