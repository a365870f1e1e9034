"""Windows over a stream: order, lengths, and how much is held at a time."""

import itertools

import pytest

from sgmg_jax.inference import windows as windows_lib


@pytest.mark.parametrize(
  "num_frames, window, whole_limit, lengths",
  [
    (10, 4, 0, [4, 4, 2]),
    (8, 4, 0, [4, 4]),
    (3, 4, 0, [3]),
    (1, 1, 0, [1]),
    (10, 4, 10, [10]),
    (11, 4, 10, [4, 4, 3]),
    (12, 36, 10, [12]),
    (3, 10**30, 0, [3]),
  ],
)
def test_windows(num_frames, window, whole_limit, lengths):
  got = list(windows_lib.windows(range(num_frames), window, whole_limit))
  assert [len(chunk) for chunk in got] == lengths
  assert list(itertools.chain(*got)) == list(range(num_frames))


def test_unbounded_stream_is_read_window_by_window():
  drawn = []
  source = (drawn.append(i) or i for i in itertools.count())
  stream = windows_lib.windows(source, 4, 6)
  assert next(stream) == [0, 1, 2, 3]
  assert next(stream) == [4, 5, 6, 7]
  assert len(drawn) == 8


def test_empty_window_is_refused():
  with pytest.raises(ValueError, match="window=0"):
    next(windows_lib.windows([1], 0))
