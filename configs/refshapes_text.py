r"""The text encoder of SgMg `mini`, pre-trained on RefShapes, on a CPU.

  sgmg pretrain --config=refshapes_text --workdir=runs/text
  sgmg train --config=refshapes:stage=1 --workdir=runs/stage1 \
      --config.init_from=runs/video/model,runs/text/model \
      --config.tokenizer.source=runs/text/tokenizer

The paper's text encoder is RoBERTa, this one has read nothing. From masks
alone, words that few masks hang on came to mean the same: the features of "the
red star" and "the red heart" were 0.7 apart, where other colours made 2.5 and
other sizes 8.5. So the encoder first learns to name what sentences say, each
predicate of their meaning, those of the other object of a relation apart
(`sgmg_jax/pretraining/sentence_heads.py`).

Some five minutes on two cores. Every step has sentences of new clips, so the
accuracies logged are those on sentences about unseen scenes.

Smoke test, under a minute:

  sgmg pretrain --config=refshapes_text:runlocal --workdir=/tmp/text
"""

import common
from ml_collections import ConfigDict


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, model="mini")
  config = ConfigDict()
  # What is pre-trained.
  config.pretrain = "text"
  config.seed = 0
  # (frames of a clip, sentences, steps, highest learning rate) each.
  config.phases = ((6, 192, 1500, 6e-4),)

  # Clips that the sentences are about; these see their outlines alone.
  config.data = ConfigDict(dict(height=64, width=64))
  config.loader = ConfigDict(dict(num_workers=1, prefetch=8))
  config.tokenizer = ConfigDict()
  # A folder or a hub name; empty: learn one from sentences of this many clips.
  config.tokenizer.source = ""
  config.tokenizer.vocab_clips = 2000
  config.tokenizer.max_tokens = 24

  common.add_logs(config, checkpoint_every=500)

  # Model; of its sizes only the text encoder's matter.
  config.model = ConfigDict(dict(name=arg["model"]))
  # Of float32 products on accelerators, "highest" or "default", see common.py.
  config.precision = "highest"

  # Optimiser.
  config.optimizer = ConfigDict(
    dict(name="adamw", weight_decay=1e-4, grad_clip=1.0)
  )
  # In each phase, from 0 to the learning rate and down to this part of it.
  config.schedule = ConfigDict(dict(warmup_steps=100, final_factor=0.05))

  common.add_devices(config)

  # The checkpoint that the run leaves behind.
  config.export = ConfigDict()
  config.export.name = "refshapes-text"
  config.export.licence = "Apache-2.0"

  if arg["runlocal"]:
    config.phases = ((6, 24, 5, 6e-4),)
    config.tokenizer.vocab_clips = 50
    config.log_every = 1
    config.checkpoint_every = 2
    config.schedule.warmup_steps = 1
  return config
