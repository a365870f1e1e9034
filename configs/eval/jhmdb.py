r"""JHMDB-Sentences: three frames of every video, with A2D's weights.

  sgmg evaluate --config=eval/jhmdb --checkpoint=CHECKPOINT \
      --out=runs/eval_jhmdb --config.data.root=/data
"""

import common


def get_config(arg=None):
  common.parse_arg(arg)
  return common.evaluation(
    name="jhmdb",
    folder="jhmdb_sentences",
    split="test",
    window=5,
  )
