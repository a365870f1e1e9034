"""The facts of RefCOCO, RefCOCO+ and RefCOCOg."""

from sgmg_jax.input_pipeline.sets import about

ABOUT = about.About(
  splits={
    "refcoco": ("train", "val", "testA", "testB"),
    "refcoco+": ("train", "val", "testA", "testB"),
    "refcocog": ("train", "val", "test"),
  },
  reader="RefCOCO",
  family="images",
  description="COCO images with expressions, masks and cleaned sentences.",
  homepage="https://github.com/lichengunc/refer",
  download="""\
Take train2014.zip from https://cocodataset.org and refcoco.zip, refcoco+.zip
and refcocog.zip from https://github.com/lichengunc/refer, so that the folder
holds train2014/, refcoco/, refcoco+/ and refcocog/.
""",
  citation="""\
@inproceedings{yu2016modeling,
  title={Modeling Context in Referring Expressions},
  author={Yu, Licheng and Poirson, Patrick and Yang, Shan and
    Berg, Alexander C. and Berg, Tamara L.},
  booktitle={ECCV},
  year={2016}
}
@inproceedings{mao2016generation,
  title={Generation and Comprehension of Unambiguous Object Descriptions},
  author={Mao, Junhua and Huang, Jonathan and Toshev, Alexander and
    Camburu, Oana and Yuille, Alan L. and Murphy, Kevin},
  booktitle={CVPR},
  year={2016}
}""",
  published={
    "refcoco train": {"refs": 42404, "images": 16994, "sentences": 120624},
    "refcoco val": {"refs": 3811, "images": 1500, "sentences": 10834},
    "refcoco testA": {"refs": 1975, "images": 750, "sentences": 5657},
    "refcoco testB": {"refs": 1810, "images": 750, "sentences": 5095},
    "refcoco+ train": {"refs": 42278, "images": 16992},
    "refcoco+ val": {"refs": 3805, "images": 1500, "sentences": 10758},
    "refcoco+ testA": {"refs": 1975, "images": 750, "sentences": 5726},
    "refcoco+ testB": {"refs": 1798, "images": 750, "sentences": 4889},
    "refcocog train": {"refs": 42226, "images": 21899},
    "refcocog val": {"refs": 2573, "images": 1300, "sentences": 4896},
    "refcocog test": {"refs": 5023, "images": 2600, "sentences": 9602},
  },
  quoted={
    "refcoco+ train": {"sentences": 120191},
    "refcocog train": {"sentences": 80512},
  },
  looked_for=(
    "refcoco*/refs(*).p",
    "refcoco*/instances.json",
    "refcoco*/instances_refcoco*_*.json",
  ),
)
