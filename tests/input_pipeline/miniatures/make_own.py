"""Own data in miniature: masks in every split, sentences about several."""

import json
import pathlib

from sgmg_jax.input_pipeline.refshapes import ytvos_writer


def make_own(folder, *, seed=0, train=2, valid=1, num_frames=4, size=(96, 128)):
  """Writes the data set below `folder`, returns its root.

  Videos are RefShapes clips `train/<seed + k>` and `val/<seed + k>`. The last
  expression of each refers to two objects, by a list of ids.

  Args:
    folder: an existing folder.
    seed: of the first clip of each split.
    train, valid: number of videos.
    num_frames, size: of a video, (height, width).
  """
  root = pathlib.Path(folder) / "own"
  root.mkdir()
  for split, count in (("train", train), ("val", valid)):
    ytvos_writer.write_ytvos(
      root,
      split,
      range(seed, seed + count),
      num_frames=num_frames,
      height=size[0],
      width=size[1],
    )
    name = ytvos_writer.FOLDERS[split]
    path = root / "meta_expressions" / name / "meta_expressions.json"
    content = json.loads(path.read_text())
    for video in content["videos"].values():
      expressions = video["expressions"]
      expressions[str(len(expressions))] = {
        "exp": "the first and the second shape",
        "obj_id": ["1", "2"],
      }
    path.write_text(json.dumps(content))
  return root
