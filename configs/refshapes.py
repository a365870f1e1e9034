r"""SgMg `mini` on RefShapes, from scratch, on a CPU, in three stages.

After what encodes video and text (`configs/refshapes_video.py` and
`configs/refshapes_text.py`; launch/refshapes_mini.sh runs it all):

  sgmg train --config=refshapes:stage=1 --workdir=runs/stage1 \
      --config.init_from=runs/video/model,runs/text/model \
      --config.tokenizer.source=runs/text/tokenizer
  sgmg train --config=refshapes:stage=2 --workdir=runs/stage2 \
      --config.init_from=runs/stage1/model \
      --config.tokenizer.source=runs/text/tokenizer

and stage 3 from stage 2 alike.

Fast SgMg starts from the bundled model, whose backbone stays as it is, and
learns to answer any number of sentences of a clip together, some about
different objects, some about the same:

  sgmg train --config=refshapes:fast --workdir=runs/fast

Stage 1 has single frames and the sentences that one frame can decide: many
sentences per second. With the pre-trained encoders words come to mean looks
within some hundred steps; without it the model learned colours and places and
no textures or shapes. Stage 2 adds motion and order, on whole clips: the
backbone, which knows what moves, is frozen, and one frame of each clip goes
through the rest, which doubles the sentences a second. Stage 3 trains
everything on all frames. Each stage draws clips of its own. Without an
argument, all sentences on whole clips from the start.

The losses, the matching and the step decay are the paper's; the optimizer, the
learning rate and the length fit a small model without pretrained weights, what
encodes a video goes on naming what its cells show, and the cells of the maps
with words in them tell what they are to the sentence.

On several cores, one device each is a third faster:

  XLA_FLAGS=--xla_force_host_platform_device_count=2 sgmg train ...

Smoke test, under two minutes on two cores:

  sgmg train --config=refshapes:runlocal --workdir=/tmp/refshapes

Single values are set by flags such as --config.optimizer.weight_decay=1e-4
or --config.schedule.drop_steps="(4000,5000)".
"""

import common
from ml_collections import ConfigDict

# Clips, sentences of each and frames per step; frames with ground truth (0:
# all); kinds of sentences; steps; first learning rate; and what the backbone's
# is multiplied by, pre-trained in the stages but not in a run without them
# (None: it is frozen).
_STAGE = dict(
  clips=2, sentences=4, frames=6, annotated=0, kinds=(), backbone=0.3
)
_STAGES = {
  0: _STAGE | dict(steps=20000, rate=1e-3, backbone=1.0),
  1: _STAGE
  | dict(
    clips=8,
    frames=1,
    kinds=("appearance", "place", "size", "relation"),
    steps=8000,
    rate=1e-3,
  ),
  2: _STAGE
  | dict(
    clips=4, sentences=8, annotated=1, steps=6000, rate=8e-4, backbone=None
  ),
  3: _STAGE | dict(steps=6000, rate=3e-4),
}
_FAST = _STAGE | dict(
  clips=2, sentences=6, annotated=1, steps=9000, rate=5e-4, backbone=None
)


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, model="mini", stage=0, fast=False)
  if arg["stage"] not in _STAGES:
    raise ValueError(f"stage {arg['stage']}: expected one of {sorted(_STAGES)}")
  if arg["fast"] and arg["stage"]:
    raise ValueError("fast and stage: expected one of them")
  stage = _FAST if arg["fast"] else _STAGES[arg["stage"]]
  config = common.training(model=arg["model"])
  # Another seed draws other clips.
  config.seed = arg["stage"]
  config.total_steps = stage["steps"]
  # RefShapes has no end, hence no epochs.
  config.total_epochs = 0

  # Clips and sentences.
  config.data = ConfigDict()
  config.data.kind = "refshapes"
  config.data.split = "train"
  config.data.batch_size = stage["clips"]
  config.data.expressions_per_clip = stage["sentences"]
  config.data.num_frames = stage["frames"]
  config.data.height = 160
  config.data.width = 160
  # Kinds of expressions, such as ("appearance", "place"); empty: all.
  config.data.kinds = stage["kinds"]
  # Expressions that Fast SgMg is asked together, "objects", "all" or "mixed",
  # see `Stream`; empty: always as many.
  config.data.group = "mixed" if arg["fast"] else ""
  # Of expressions that are another clip's and false here: what an empty mask
  # is for.
  config.data.absent_share = 0.15
  # Frames of a clip with ground truth; 0: all.
  config.data.num_annotated = stage["annotated"]
  # Auxiliary losses: the cells of the encoded video go on naming what they
  # show, as in its pre-training, and those of the maps with words in them what
  # they are to each sentence: meant, alike, or what it compares with.
  config.auxiliary = (
    "sgmg_jax.pretraining.cell_heads",
    "sgmg_jax.pretraining.role_heads",
  )
  config.loader = ConfigDict(dict(num_workers=1, prefetch=4))
  # Learned from sentences of this many clips.
  config.tokenizer.source = ""
  config.tokenizer.vocab_clips = 2000
  config.tokenizer.max_tokens = 24
  config.checkpoint_every = 500
  config.init_required = ()

  # Optimiser.
  config.optimizer.name = "muon"
  config.optimizer.groups = (
    ("backbone_0/.*", stage["backbone"]),
    # What the frozen one gives can still be read in another way.
    (r"input_(proj|fft)_\d+(_\d)?/.*", stage["backbone"] or 1.0),
    ("text_encoder/.*", 0.3),
    (".*", 1.0),
  )
  config.schedule.learning_rate = stage["rate"]
  config.schedule.warmup_steps = 100
  config.schedule.drop_steps = tuple(
    int(share * config.total_steps) for share in (0.75, 0.92)
  )
  config.ema_decay = 0.998

  # Evaluations, J&F on the val split; the test split is `sgmg evaluate`'s. The
  # number whose best checkpoint is kept as `best/`: "refshapes/J&F", or none.
  config.eval.every = 1000
  config.evals.refshapes = common.evaluation(
    name="refshapes",
    folder="",
    split="val",
    options=dict(
      num_clips=40,
      num_frames=6,
      height=config.data.height,
      width=config.data.width,
      expressions_per_clip=0,
    ),
  )

  # The checkpoint that the run leaves behind.
  config.export = ConfigDict()
  config.export.name = "refshapes-mini"
  config.export.licence = "Apache-2.0"
  config.export.dtype = "float16"
  config.export.preprocess = ConfigDict(
    dict(short_side=160, long_side=320, window=8)
  )

  if arg["fast"]:
    config.model.decouple = "features"
    config.init_from = "refshapes-mini"
    config.init_required = ("(?!decouple_module/).*",)
    config.tokenizer.source = "refshapes-mini"
    config.export.name = "refshapes-mini-fast"
    config.evals.refshapes.grouping = "objects"
    config.eval.every = 3000

  if arg["runlocal"]:
    config.total_steps = 4
    config.data.expressions_per_clip = 2
    config.data.num_frames = 2
    config.tokenizer.vocab_clips = 50
    config.log_every = 2
    config.checkpoint_every = 2
    config.schedule.warmup_steps = 2
    config.schedule.drop_steps = ()
    config.freeze_random = True
    config.eval.every = 4
    config.evals.refshapes.data.options.num_clips = 1
    config.evals.refshapes.data.options.num_frames = 2
  return config
