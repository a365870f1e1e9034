"""Run-length codes decode as by pycocotools, or not at all."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sgmg_jax import errors
from sgmg_jax.inference import results
from sgmg_jax.input_pipeline import run_lengths
from sgmg_jax.input_pipeline.doctor import files, findings
from sgmg_jax.input_pipeline.layouts import mask_dict

SIZE = (37, 53)


def masks():
  rng = np.random.default_rng(0)
  yield np.zeros(SIZE, bool)
  yield np.ones(SIZE, bool)
  for density in (0.02, 0.5):
    yield rng.random(SIZE) < density


def codes(mask):
  """The code of a mask in all three spellings."""
  packed = coco_mask.encode(np.asfortranarray(mask, np.uint8))
  flat = mask.ravel("F")
  ends = np.flatnonzero(np.diff(flat)) + 1
  listed = np.diff([0, *ends, flat.size]).tolist()
  for counts in (
    packed["counts"],
    packed["counts"].decode(),
    [0] * bool(flat[0]) + listed,
  ):
    yield {"size": list(mask.shape), "counts": counts}


def pack(*numbers):
  """The compressed code of any runs, also of impossible ones."""
  text = ""
  for i, number in enumerate(numbers):
    rest = number - (numbers[i - 2] if i > 2 else 0)
    while True:
      low, rest = rest & 31, rest >> 5
      more = rest != (-1 if low & 16 else 0)
      text += chr(48 + low + 32 * more)
      if not more:
        break
  return text


def test_all_spellings():
  for mask in masks():
    for code in codes(mask):
      decoded = run_lengths.decode(code, SIZE)
      assert decoded.dtype == bool and decoded.flags.c_contiguous
      assert np.array_equal(decoded, mask)
    assert pack(*code["counts"]) == next(codes(mask))["counts"].decode()


AREA = SIZE[0] * SIZE[1]
DAMAGED = {
  "ends early": [100, 200],
  "has no runs": [],
  "ends late": [AREA, 1],
  "goes back": [AREA + 5, -5],
}


@pytest.mark.parametrize("counts", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("packed", (False, True))
def test_runs_that_do_not_fill_the_mask(counts, packed, tmp_path):
  value = {"size": list(SIZE), "counts": pack(*counts) if packed else counts}
  with pytest.raises(run_lengths.Malformed) as caught:
    run_lengths.decode(value)
  assert caught.value.kind == "runs"
  with pytest.raises(errors.UserError, match="not a COCO run-length mask"):
    results.decode_rle(value)
  path = tmp_path / "mask_dict.json"
  path.write_text(json.dumps({"7": [value]}))
  with pytest.raises(errors.UserError, match=r"annotation 7 .*frame 0"):
    mask_dict.MaskDict(path).decode(7, 0, SIZE, "x")
  log = findings.Findings()
  assert files.has_pixels(value, SIZE, log, fast=False) is None
  assert log[0].code == "mask-corrupt"
  # Its runs are not looked at.
  assert files.has_pixels(value, SIZE, log, fast=True)


@pytest.mark.parametrize(
  "size",
  (
    [-37, -53],
    [0, 5],
    [10**5, 10**5],
    [37, 53.0],
    [True, 53],
    [37],
    "37",
    None,
  ),
)
def test_sizes(size):
  for counts in ([37 * 53], pack(37 * 53), [10**10], [0]):
    with pytest.raises(run_lengths.Malformed) as caught:
      run_lengths.decode({"size": size, "counts": counts})
    assert caught.value.kind in ("size", "shape")


def test_another_size_than_the_frame():
  (code, *_) = codes(np.ones(SIZE, bool))
  with pytest.raises(run_lengths.Malformed, match="37x53 .* expected 53x37"):
    run_lengths.decode(code, SIZE[::-1])


@pytest.mark.parametrize(
  "counts",
  ("", "P" * 9 + "0", "Q", "\x7f0", "é", ["1"], [1.5], [None], [2**70]),
)
def test_no_code(counts):
  with pytest.raises(run_lengths.Malformed) as caught:
    run_lengths.decode({"size": [1, 1], "counts": counts})
  assert caught.value.kind == "runs"


def test_not_even_an_object():
  for value in (None, [], "abc", {}, {"size": [1, 1]}, {"counts": [1]}):
    with pytest.raises(run_lengths.Malformed) as caught:
      run_lengths.decode(value)
    assert caught.value.kind == "shape"
