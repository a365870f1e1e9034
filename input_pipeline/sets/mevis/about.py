"""The facts of MeViS."""

from sgmg_jax.input_pipeline.sets import about

ABOUT = about.About(
  splits={"mevis": ("train", "valid_u", "valid")},
  reader="MeViS",
  family="videos",
  description="MeViS: expressions of motion about one or several objects.",
  homepage="https://henghuiding.com/MeViS/",
  download="""\
Follow https://github.com/henghuiding/MeViS and unpack the archives, so that
the folder holds train/, valid_u/ and valid/, each with JPEGImages/ and
meta_expressions.json, the first two with mask_dict.json.
""",
  citation="""\
@inproceedings{ding2023mevis,
  title={{MeViS}: A Large-scale Benchmark for Video Segmentation with Motion
    Expressions},
  author={Ding, Henghui and Liu, Chang and He, Shuting and Jiang, Xudong and
    Loy, Chen Change},
  booktitle={ICCV},
  year={2023}
}""",
  quoted={
    "train": {"videos": 1662, "expressions": 23051},
    "valid_u": {"videos": 50, "expressions": 793},
    "valid": {"videos": 140, "expressions": 2236},
  },
  looked_for=(
    "*/mask_dict.json",
    "*/meta_expressions.json",
    "*/meta_expressions_v2*.json",
  ),
)
