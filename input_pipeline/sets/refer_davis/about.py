"""The facts of Ref-DAVIS17."""

from sgmg_jax.input_pipeline.sets import about

ABOUT = about.About(
  splits={"refer_davis": ("train", "valid")},
  reader="ReferDAVIS",
  family="videos",
  description="Ref-DAVIS17: DAVIS 2017 with four expressions an object.",
  homepage="https://davischallenge.org",
  download="""\
From https://davischallenge.org/davis2017/code.html take
DAVIS-2017-Unsupervised-trainval-480p.zip, and from the project page of
"Video Object Segmentation with Language Referring Expressions" (MPI
Informatics) davis_text_annotations.zip; unpack both, so that the folder holds
DAVIS/ and davis_text_annotations/. The converted layout of other toolkits
(train/, valid/, meta_expressions/) works as well.
""",
  citation="""\
@inproceedings{khoreva2018video,
  title={Video Object Segmentation with Language Referring Expressions},
  author={Khoreva, Anna and Rohrbach, Anna and Schiele, Bernt},
  booktitle={ACCV},
  year={2018}
}""",
  lone_anchor=False,
  published={"train": {"videos": 60}, "valid": {"videos": 30}},
  quoted={
    "train": {"expressions": 576, "objects": 144},
    "valid": {"expressions": 244, "objects": 61},
  },
  looked_for=(
    "DAVIS/JPEGImages",
    "DAVIS/Annotations_unsupervised",
    "davis_text_annotations/Davis17_annot*.txt",
  ),
  layout_of="refer_ytvos",
  called="davis",
)
