"""The facts of Ref-YouTube-VOS."""

from sgmg_jax.input_pipeline.sets import about

ABOUT = about.About(
  splits={"refer_ytvos": ("train", "valid")},
  reader="ReferYTVOS",
  family="videos",
  description="Ref-YouTube-VOS: YouTube videos, full-video expressions.",
  homepage="https://youtube-vos.org/dataset/rvos/",
  download="""\
Register for the challenge at https://youtube-vos.org/dataset/rvos/ and unpack
train.zip, valid.zip and meta_expressions.zip, so that the folder holds train/,
valid/ and meta_expressions/. Frames and masks of train are those of
YouTube-VOS 2019. Split test needs test/JPEGImages, too. To score split valid,
put its masks, public since 2026, into valid/Annotations: as
<video>/<expression>/<frame>.png, or as label maps <video>/<frame>.png if the
expressions name their objects in `obj_id`.
""",
  citation="""\
@inproceedings{seo2020urvos,
  title={{URVOS}: Unified Referring Video Object Segmentation Network with a
    Large-Scale Benchmark},
  author={Seo, Seonguk and Lee, Joon-Young and Han, Bohyung},
  booktitle={ECCV},
  year={2020}
}""",
  published={
    "train": {"videos": 3471, "expressions": 12913, "objects": 6388},
    "valid": {"videos": 202},
    "test": {"videos": 305},
  },
  quoted={"valid": {"expressions": 834}},
  looked_for=("meta_expressions/*/meta_expressions.json",),
)
