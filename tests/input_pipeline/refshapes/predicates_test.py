"""Predicates on scenes made by hand."""

import dataclasses

import pytest

from sgmg_jax.input_pipeline.refshapes import facts as facts_lib
from sgmg_jax.input_pipeline.refshapes import predicates, render
from sgmg_jax.input_pipeline.refshapes import scene as scene_lib

P = predicates.Predicate
CIRCLE = (P("shape", "circle"),)


def _body(x, y, dx=0.0, dy=0.0, *, shape="circle", size="small", **motion):
  path = "line" if dx or dy else "still"
  return scene_lib.Body(
    shape=shape,
    colour="red",
    texture="plain",
    size=size,
    radius={"small": 0.08, "medium": 0.12, "large": 0.18}[size],
    rgb=(214.0, 34.0, 38.0),
    accent=(240.0, 200.0, 200.0),
    motion=scene_lib.Motion(
      **{"path": path, "start": (x, y), "travel": (dx, dy), **motion}
    ),
  )


def _judge(*bodies, depth=None, num_frames=6):
  scene = scene_lib.Scene(
    width=1.0,
    height=1.0,
    bodies=bodies,
    depth=tuple(depth or range(len(bodies))),
    background_seed=0,
  )
  drawn = render.render(scene, num_frames=num_frames, height=64, width=64)
  return predicates.Judge(facts_lib.measure(scene, drawn))


def _outcome(judge, *meaning):
  """ "T", "F" or "?" for each object."""
  verdict = judge.verdict(meaning)
  assert verdict.yes & verdict.no == 0
  return "".join(
    "T" if verdict.yes >> i & 1 else "F" if verdict.no >> i & 1 else "?"
    for i in range(judge.facts.num_objects)
  )


@pytest.mark.parametrize(
  "side,outcome",
  # The third crosses the middle; the others' rows are just above it.
  [("left", "TF??"), ("right", "FT?F"), ("top", "???T"), ("bottom", "FFFF")],
)
def test_side(side, outcome):
  judge = _judge(
    _body(0.2, 0.48),
    _body(0.85, 0.48),
    _body(0.3, 0.48, 0.4),
    _body(0.48, 0.1),
  )
  assert _outcome(judge, P("side", side)) == outcome


def test_middle():
  judge = _judge(_body(0.5, 0.5), _body(0.5, 0.35), _body(0.5, 0.1))
  assert _outcome(judge, P("middle")) == "T?F"


@pytest.mark.parametrize(
  "heading,outcome",
  [
    ("left", "TFFF?"),
    ("right", "FTFFF"),
    ("up", "FFTFF"),
    ("down", "FFFF?"),
    ("down left", "FFFFT"),
    ("up left", "FFFFF"),
  ],
)
def test_heads(heading, outcome):
  judge = _judge(
    _body(0.8, 0.2, -0.4),
    _body(0.2, 0.8, 0.4),
    _body(0.2, 0.6, 0.0, -0.4),
    _body(0.5, 0.5),
    _body(0.8, 0.4, -0.3, 0.3),
  )
  assert _outcome(judge, P("heads", heading)) == outcome


def test_a_slight_drift_is_no_heading_and_no_rest():
  judge = _judge(_body(0.5, 0.5, 0.08), _body(0.2, 0.2))
  assert _outcome(judge, P("heads", "right")) == "?F"
  assert _outcome(judge, P("still")) == "?T"
  assert _outcome(judge, P("moves")) == "?F"


def test_spinning_and_growing_things_do_not_stand_still():
  judge = _judge(
    _body(0.2, 0.2, shape="star"),
    _body(0.5, 0.5, shape="star", spin=2.5),
    _body(0.8, 0.8, shape="star", scale=(0.7, 1.4)),
  )
  assert _outcome(judge, P("still")) == "TFF"
  assert _outcome(judge, P("spins")) == "FTF"
  assert _outcome(judge, P("grows")) == "FFT"
  assert _outcome(judge, P("shrinks")) == "FFF"


def test_size_words_need_a_fixed_size():
  judge = _judge(
    _body(0.2, 0.2),
    _body(0.5, 0.8, size="large"),
    _body(0.8, 0.2, scale=(0.7, 1.4)),
  )
  assert _outcome(judge, P("size", "small")) == "TF?"
  assert _outcome(judge, P("most", "size", CIRCLE)) == "???"


def test_superlatives_need_a_clear_winner_in_a_crisp_set():
  three = (_body(0.1, 0.5), _body(0.5, 0.5, size="medium"), _body(0.8, 0.5))
  judge = _judge(*three)
  assert _outcome(judge, P("most", "size", CIRCLE)) == "FTF"
  assert _outcome(judge, P("least", "size", CIRCLE)) == "???"
  assert _outcome(judge, P("most", "x", CIRCLE)) == "FFT"
  assert _outcome(judge, P("least", "x", CIRCLE)) == "TFF"
  assert _outcome(judge, P("most", "y", CIRCLE)) == "???"
  # Of one object there is no largest.
  stars = (P("shape", "star"),)
  judge = _judge(*three, _body(0.5, 0.1, shape="star"))
  assert _outcome(judge, P("most", "size", stars)) == "????"
  # Outside the compared set nothing holds, however extreme.
  assert _outcome(judge, P("most", "size", CIRCLE)) == "FTFF"


def test_fastest_wants_a_clear_lead():
  slow, fast = _body(0.2, 0.2, 0.25), _body(0.2, 0.8, 0.6)
  key = P("most", "speed", CIRCLE)
  assert _outcome(_judge(slow, fast), key) == "FT"
  assert _outcome(_judge(_body(0.2, 0.2, 0.5), fast), key) == "??"


def test_beside():
  star = (P("shape", "star"),)
  judge = _judge(
    _body(0.5, 0.5, shape="star"),
    _body(0.2, 0.5),
    _body(0.8, 0.5),
    _body(0.4, 0.1),  # Left by a little, above by much.
  )
  assert _outcome(judge, P("beside", "left", star)) == "FTF?"
  assert _outcome(judge, P("beside", "right", star)) == "FFTF"
  assert _outcome(judge, P("beside", "top", star))[3] == "T"
  # Who the other object is has to be clear.
  assert _outcome(judge, P("beside", "left", CIRCLE)) == "????"


def test_exceeds():
  star = (P("shape", "star"),)
  judge = _judge(
    _body(0.5, 0.5, shape="star", size="medium"),
    _body(0.2, 0.2),
    _body(0.8, 0.2, size="medium"),
    _body(0.2, 0.8, size="large"),
    _body(0.8, 0.8, scale=(0.7, 1.4)),
  )
  assert _outcome(judge, P("exceeds", "larger", star)) == "FFFT?"
  assert _outcome(judge, P("exceeds", "smaller", star)) == "FTFF?"


def test_near():
  star = (P("shape", "star"),)
  judge = _judge(
    _body(0.3, 0.5, shape="star"), _body(0.5, 0.5), _body(0.9, 0.5)
  )
  assert _outcome(judge, P("near", "", star)) == "FTF"


def test_depth_follows_who_hides_whom():
  bodies = (
    _body(0.35, 0.5, shape="star", size="large"),
    _body(0.55, 0.5),
    _body(0.9, 0.1),
  )
  star = (P("shape", "star"),)
  front, behind = P("depth", "front", star), P("depth", "behind", star)
  judge = _judge(*bodies, depth=(0, 1, 2))
  assert (_outcome(judge, front), _outcome(judge, behind)) == ("FTF", "FFF")
  passes = [P("passes", side) for side in ("front", "behind")]
  assert [_outcome(judge, p) for p in passes] == ["FTF", "TFF"]
  judge = _judge(*bodies, depth=(2, 1, 0))
  assert (_outcome(judge, front), _outcome(judge, behind)) == ("FFF", "FTF")
  assert [_outcome(judge, p) for p in passes] == ["TFF", "FTF"]


def test_hidden_is_not_absent():
  judge = _judge(
    _body(0.4, 0.5, size="large"),
    _body(0.4, 0.5, 0.5),  # Comes out from behind.
    _body(0.5, 0.1),
    depth=(2, 1, 0),
  )
  facts = judge.facts
  assert facts.share[1, 0] == 0 and facts.share[1, -1] > 0.9
  assert not facts.absent.any()
  assert (facts.overlap == facts.overlap.swapaxes(0, 1)).all()
  assert _outcome(judge, P("enters")) == "F?F"
  assert _outcome(judge, P("stays")) == "T?T"


def test_order_of_appearance():
  judge = _judge(
    _body(0.5, 0.2),
    _body(-0.3, 0.5, 0.9),  # Enters early.
    _body(-0.7, 0.8, 1.0),  # Enters late.
    _body(0.8, 0.35, 0.6),  # Leaves.
    num_frames=11,
  )
  assert _outcome(judge, P("enters")) == "FTTF"
  assert _outcome(judge, P("leaves")) == "FFFT"
  assert _outcome(judge, P("stays")) == "TFFF"
  entering = CIRCLE + (P("enters"),)
  assert _outcome(judge, P("least", "entry", entering)) == "FTFF"
  assert _outcome(judge, P("most", "entry", CIRCLE)) == "FFTF"
  assert _outcome(judge, P("least", "exit", CIRCLE)) == "FFFT"


def test_entries_that_differ_in_degree_only_have_no_order():
  first = _body(-0.3, 0.2, 0.9)
  judge = _judge(first, _body(-0.415, 0.8, 0.9), _body(0.5, 0.5))
  assert judge.facts.enters.tolist() == [True, True, False]
  assert judge.facts.first_seen.tolist() == [2, 3, 0]
  assert judge.facts.absent.argmin(1).tolist() == [2, 2, 0]
  entering = CIRCLE + (P("enters"),)
  assert _outcome(judge, P("least", "entry", entering)) == "???"
  assert _outcome(judge, P("most", "entry", CIRCLE)) == "???"


def test_half_visible_at_the_start_is_neither_entering_nor_staying():
  judge = _judge(_body(-0.01, 0.5, 0.5), _body(0.5, 0.8))
  assert _outcome(judge, P("enters")) == "?F"
  assert _outcome(judge, P("stays")) == "?T"


def test_conjunction_and_identification():
  judge = _judge(
    _body(0.2, 0.5), _body(0.8, 0.5), _body(0.2, 0.2, shape="star")
  )
  left = P("side", "left")
  assert judge.identifies(CIRCLE + (left,), 0)
  assert not judge.identifies(CIRCLE, 0)
  assert not judge.identifies(CIRCLE + (left,), 1)
  # Not clearly false of another object: not identified.
  judge = _judge(_body(0.2, 0.5), _body(0.44, 0.5))
  assert _outcome(judge, left) == "T?"
  assert not judge.identifies((left,), 0)


def test_what_never_shows_is_no_candidate():
  hidden = _body(3.0, 3.0)
  judge = _judge(_body(0.2, 0.5), hidden)
  assert judge.identifies(CIRCLE, 0)


def test_verdicts_do_not_depend_on_frame_size():
  bodies = (_body(0.2, 0.3, 0.4), _body(0.7, 0.7, shape="star", size="large"))
  scene = scene_lib.Scene(1.0, 1.0, bodies, (0, 1), 0)
  small, large = (
    facts_lib.measure(
      scene, render.render(scene, num_frames=5, height=side, width=side)
    )
    for side in (64, 256)
  )
  assert abs(small.share - large.share).max() < 0.1
  for field in dataclasses.fields(small):
    if field.name in ("centres", "radii"):
      assert (getattr(small, field.name) == getattr(large, field.name)).all()
