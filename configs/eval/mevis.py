r"""MeViS: whole videos, against the union of a sentence's objects.

  sgmg evaluate --config=eval/mevis --checkpoint=CHECKPOINT \
      --out=runs/eval_mevis --config.data.root=/data

Split valid_u has public ground truth; --config=eval/mevis:split=valid predicts
what `sgmg submit` packs. Sentences of version 2:
--config=eval/mevis:version=2.
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, split="valid_u", version=0)
  return common.evaluation(
    name="mevis",
    folder="mevis",
    split=arg["split"],
    options=dict(version=arg["version"]) if arg["version"] else None,
  )
