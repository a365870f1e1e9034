"""Clips and frames against scripted draws of the official loaders."""

import json
import pathlib

import numpy as np
import pytest

from sgmg_jax.input_pipeline import seeds, source
from sgmg_jax.input_pipeline.batches import clip_sampler

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "eval"
CASES = json.loads((GOLDEN / "sampling_cases.json").read_text())


def _expression(video="v", frame=None):
  return source.Expression(video, "0", "a dog", (1,), frame)


def test_enumeration():
  cases = CASES["enumeration"]
  texts = {}
  for video, text, object_id, _, _ in cases["samples"]:
    texts.setdefault((video, text), object_id)
  expressions = [
    source.Expression(video, str(i), text, (object_id,))
    for i, ((video, text), object_id) in enumerate(texts.items())
  ]
  assert len(expressions) == 2 * len(cases["videos"])
  sampler = clip_sampler.SpreadClips(cases["num_frames"])
  samples = sampler.samples(expressions, cases["videos"].__getitem__)
  assert [
    [s.expression.video, s.expression.text, *s.expression.object_ids, s.anchor]
    for s in samples
  ] == [case[:4] for case in cases["samples"]]


@pytest.mark.parametrize("case", CASES["ytvos_sampling"])
def test_scripted_draws(case):
  draws = clip_sampler.Draws(
    case["before"],
    case["after"],
    tuple(case["sample_positions"]),
    reverse=case["reverse_coin"] < 0.3,
  )
  args = case["frame_id"], case["video_len"], case["num_frames"]
  frames = clip_sampler.spread_frames(*args, draws, lone_anchor=True)
  assert list(frames) == case["frames_idx"]
  near = clip_sampler.neighbours(
    *args, draws.before, draws.after, lone_anchor=True
  )
  candidates, count = clip_sampler.pool(near, *args[1:])
  drawn = [[len(candidates), count]] if count else []
  assert drawn == case["sample_calls_population_and_k"]


@pytest.mark.parametrize("num_frames", range(1, 12))
@pytest.mark.parametrize("length", (1, 2, 3, 5, 20))
def test_drawn_clips(num_frames, length):
  sampler = clip_sampler.SpreadClips(num_frames, reverse=0.3, lone_anchor=True)
  backwards = 0
  for i in range(40):
    sample = clip_sampler.Sample(_expression(), i % length)
    clip = sampler.clip(sample, length, seeds.generator(i))
    again = sampler.clip(sample, length, seeds.generator(i))
    assert clip == again
    assert len(clip.frames) == num_frames
    assert set(clip.frames) <= set(range(length))
    assert clip.annotated == tuple(range(num_frames))
    if num_frames != 2:
      assert sample.anchor in clip.frames
    up = list(clip.frames) == sorted(clip.frames)
    down = list(clip.frames) == sorted(clip.frames, reverse=True)
    assert up or down
    backwards += not up
    if num_frames > length + 3:
      assert set(clip.frames) == set(range(length))
  if length == 20 and num_frames > 2:
    assert 4 <= backwards <= 20


def test_distinct_frames_from_a_long_video():
  sampler = clip_sampler.SpreadClips(5)
  seen = set()
  for i in range(100):
    sample = clip_sampler.Sample(_expression(), 15)
    frames = sampler.clip(sample, 30, seeds.generator(i)).frames
    # Only the later neighbour can be drawn again.
    assert len(set(frames)) >= 4
    seen.update(frames)
  assert seen == set(range(30))


def test_davis_always_looks_around():
  sampler = clip_sampler.SpreadClips(1)
  for i in range(20):
    sample = clip_sampler.Sample(_expression(), 10)
    clip = sampler.clip(sample, 20, seeds.generator(i))
    assert 7 <= clip.frames[0] <= 9


@pytest.mark.parametrize("num_frames", (1, 2, 3, 5, 8))
def test_annotated_clips_hold_the_annotated_frame(num_frames):
  sampler = clip_sampler.AnnotatedClips(num_frames)
  (sample,) = sampler.samples([_expression(frame=4)], lambda name: 9)
  for i in range(30):
    clip = sampler.clip(sample, 9, seeds.generator(i))
    (position,) = clip.annotated
    assert clip.frames[position] == 4
    assert 4 not in clip.frames[:position]
    assert list(clip.frames) == sorted(clip.frames)


def test_annotated_clips_need_a_frame():
  with pytest.raises(ValueError, match="v/0"):
    clip_sampler.AnnotatedClips(5).samples([_expression()], lambda name: 9)


def _window(case, one_based_frame, length, first):
  sampler = clip_sampler.Windows(case["num_frames"])
  expression = _expression(frame=one_based_frame - 1)
  (sample,) = sampler.samples([expression], lambda name: length)
  clip = sampler.clip(sample, length, seeds.generator(0))
  assert list(clip.annotated) == [case["valid_index"]]
  return [frame + first for frame in clip.frames]


@pytest.mark.parametrize("case", CASES["a2d_val_windows"])
def test_a2d_windows(case):
  frames = _window(case, case["frame_idx_1based"], case["video_len"], 0)
  assert frames == case["frames_idx_0based"]


@pytest.mark.parametrize("case", CASES["jhmdb_windows"])
def test_jhmdb_windows(case):
  frames = _window(
    case, case["frame_idx_1based"], case["video_total_frames"], 1
  )
  assert frames == case["frames_idx_1based"]


def test_whole_videos():
  sampler = clip_sampler.WholeVideos()
  hidden = source.Expression("v", "1", "a cat")
  samples = sampler.samples([_expression(), hidden], lambda name: 3)
  clips = [sampler.clip(s, 3, np.random.default_rng(0)) for s in samples]
  assert [clip.frames for clip in clips] == [(0, 1, 2)] * 2
  assert [clip.annotated for clip in clips] == [(0, 1, 2), ()]
