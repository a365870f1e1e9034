r"""SgMg on Ref-YouTube-VOS: the paper's main training (ICCV 2023, table 1).

From the weights that `refcoco_pretrain` leaves, 6 epochs:

  sgmg train --config=refer_ytvos --workdir=runs/refer_ytvos \
      --config.data.root=/data --config.init_from=runs/refcoco/model

From Video Swin (Kinetics) and RoBERTa, which are on their authors' pages and
on the Hugging Face hub, 9 epochs:

  sgmg convert swin_tiny_patch244_window877_kinetics400_1k.pth init/swin
  sgmg convert roberta-base/ init/roberta
  sgmg train --config=refer_ytvos:scratch --workdir=runs/scratch \
      --config.data.root=/data --config.init_from=init/swin,init/roberta

Fast SgMg (section 3.5), which answers all sentences of a video in one pass, is
trained like that, with up to 8 sentences of a video in a clip:

  sgmg train --config=refer_ytvos:fast --workdir=runs/fast \
      --config.data.root=/data --config.init_from=init/swin,init/roberta

An SgMg in place of both starts it, too, which is beyond the paper.

Below data.root lies refer_youtube_vos/ as downloaded, or built by
`sgmg data build`. Other mixtures, by name:

  mix=joint               and RefCOCO/+/g, images as clips, see `joint`
  mix=joint_coco          RefCOCO/+/g alone, images as clips
  mix=ytvos_joint_davis   and Ref-DAVIS17, five times over

5-frame clips, 2 of them a step (the paper: one on each of two GPUs), text
encoder frozen. Of the clips of Ref-YouTube-VOS 30 % run backwards, as in the
released training; --config.data.reverse.refer_ytvos=0 leaves time alone.
With --config=refer_ytvos:evals Ref-DAVIS17, in refer_davis/, is scored along
the way. The paper has, with Video Swin tiny, a J&F of 62.0 on Ref-YouTube-VOS
and 61.9 on Ref-DAVIS17 (which is not trained on), and with Video Swin base 65.7
and 63.3; none of this was repeated here. Smoke test on a miniature of the
data:

  sgmg train --config=refer_ytvos:runlocal --workdir=/tmp/ytvos \
      --config.data.root=MINIATURE
"""

import common

_YTVOS = ("refer_ytvos", "refer_youtube_vos", 1)
_COCO = tuple((name, "coco", 1) for name in ("refcoco", "refcoco+", "refcocog"))
_MIXTURES = {
  "ytvos": (_YTVOS,),
  "joint": (*_COCO, _YTVOS),
  "joint_coco": _COCO,
  "ytvos_joint_davis": (("refer_davis", "refer_davis", 5), _YTVOS),
}

# A clip of a Fast SgMg has any number of its video's 3.72 sentences on average,
# (1 + 3.72) / 2 of them: epochs are longer, so that as many clips with a
# sentence are seen in all.
_FAST_EPOCHS = 3.72 / ((1 + 3.72) / 2)


def get_config(arg=None):
  arg = common.parse_arg(
    arg,
    runlocal=False,
    model="",
    mix="ytvos",
    scratch=False,
    fast=False,
    evals=False,
  )
  if arg["mix"] not in _MIXTURES:
    raise ValueError(f"mix={arg['mix']}: expected one of {sorted(_MIXTURES)}")
  config = common.paper(
    name="refer-ytvos",
    sets=_MIXTURES[arg["mix"]],
    num_frames=5,
    batch_size=2,
    buckets=common.VIDEO_BUCKETS,
    model=arg["model"] or ("mu" if arg["runlocal"] else "video_swin_t"),
  )
  # As released; "turns left" is shown turning right.
  config.data.reverse.refer_ytvos = 0.3
  config.data.pseudo_video = arg["mix"].startswith("joint")
  if arg["fast"] and arg["mix"] != "ytvos":
    raise ValueError("fast: expected mix=ytvos, for its number of epochs")
  scratch = arg["scratch"] or arg["fast"]
  config.init_required = common.ENCODERS if scratch else common.WHOLE
  config.total_epochs = 9 if scratch else 6
  # Pre-trained scores are about single images.
  config.reinitialise = () if scratch else ("class_embed_.*",)
  config.optimizer.groups = common.groups(None, config.model.name)
  config.schedule.learning_rate = 5e-5
  config.schedule.drop_epochs = (6, 8) if scratch else (3, 5)
  if arg["fast"]:
    config.model.decouple = "features"
    config.data.expressions_per_clip = 8
    config.total_epochs = round(9 * _FAST_EPOCHS)
    config.schedule.drop_epochs = tuple(
      round(epoch * _FAST_EPOCHS) for epoch in (6, 8)
    )
    config.export.name = "refer-ytvos-fast"
  if arg["evals"]:
    common.add_evaluation(
      config, name="refer_davis", folder="refer_davis", split="valid", window=36
    )
  if arg["runlocal"]:
    common.shrink(config)
  return config
