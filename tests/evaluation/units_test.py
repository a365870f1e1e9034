"""Units of an evaluation."""

from sgmg_jax.evaluation import units
from sgmg_jax.input_pipeline import source


class Fake:
  expressions = (
    source.Expression("v1", "0", "a dog"),
    source.Expression("v2", "0", "a cat", frame=3),
    source.Expression("v1", "1", "a bird"),
    source.Expression("v2", "1", "a fish", frame=5),
    source.Expression("v2", "2", "an ape", frame=3),
  )


def test_sentences_of_a_video_or_a_frame_come_together():
  found = units.of_source(Fake)
  assert [u.name for u in found] == ["v1", "v2/3", "v2/5"]
  assert [[e.id for e in u.expressions] for u in found] == [
    ["0", "1"],
    ["0", "2"],
    ["1"],
  ]


def test_the_digest_tells_sentences_apart():
  found = units.of_source(Fake)
  assert units.digest(found) != units.digest(found[:2])
  assert units.digest(found) == units.digest(units.of_source(Fake))


def test_what_threads_share_ends_for_all():
  shared = units.Shared([1, 2, 3])
  assert next(shared) == 1
  shared.end()
  assert list(shared) == []
