r"""SgMg on MeViS, sentences of motion, from the weights of `refer_ytvos`.

  sgmg train --config=mevis --workdir=runs/mevis \
      --config.data.root=/data --config.init_from=runs/refer_ytvos/model

Below data.root lies mevis/ as downloaded. --config=mevis:version=2 takes the
sentences of version 2 (Ding et al., TPAMI 2025), of which some refer to no
object: these are trained on with empty masks, so that the scores fall where
there is nothing to find (--config.data.no_target=False leaves them out).

This is the paper's fine-tuning, 5-frame clips, 2 of them a step, 6 epochs, text
encoder frozen, on a data set that it does not have: there is no published
result. No clip runs backwards, and the scores of queries are kept.
--config=mevis:evals scores valid_u along the way. Smoke test on a miniature of
the data:

  sgmg train --config=mevis:runlocal --workdir=/tmp/mevis \
      --config.data.root=MINIATURE
"""

import common


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, model="", version=0, evals=False)
  config = common.paper(
    name="mevis",
    sets=(("mevis", "mevis", 1),),
    num_frames=5,
    batch_size=2,
    buckets=common.VIDEO_BUCKETS,
    model=arg["model"] or ("mu" if arg["runlocal"] else "video_swin_t"),
  )
  options = dict(version=arg["version"]) if arg["version"] else {}
  if options:
    config.data.options.mevis = options
  config.total_epochs = 6
  config.init_required = common.WHOLE
  config.optimizer.groups = common.groups(None, config.model.name)
  config.schedule.learning_rate = 5e-5
  config.schedule.drop_epochs = (3, 5)
  if arg["evals"]:
    common.add_evaluation(
      config, name="mevis", folder="mevis", split="valid_u", options=options
    )
  if arg["runlocal"]:
    common.shrink(config)
  return config
