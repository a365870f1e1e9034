"""The builders: names of data sets, where users get them, their splits.

Raw folders are those that the readers in `sets/` describe.
"""

from __future__ import annotations

from typing import Final

import tensorflow_datasets as tfds

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline.built import builder


class ReferYtvos(builder.Builder):
  """Ref-YouTube-VOS."""

  SPLITS = ("train", "valid")
  OTHER_SPLITS = ("test",)
  DESCRIPTION = "Ref-YouTube-VOS: YouTube videos, full-video expressions."
  HOMEPAGE = "https://youtube-vos.org/dataset/rvos/"
  MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Register for the challenge at https://youtube-vos.org/dataset/rvos/ and unpack
train.zip, valid.zip and meta_expressions.zip, so that the folder holds train/,
valid/ and meta_expressions/. Frames and masks of train are those of
YouTube-VOS 2019. Split test needs test/JPEGImages, too.
"""
  CITATION = """\
@inproceedings{seo2020urvos,
  title={{URVOS}: Unified Referring Video Object Segmentation Network with a
    Large-Scale Benchmark},
  author={Seo, Seonguk and Lee, Joon-Young and Han, Bohyung},
  booktitle={ECCV},
  year={2020}
}"""


class ReferDavis(builder.Builder):
  """Ref-DAVIS17."""

  SPLITS = ("train", "valid")
  DESCRIPTION = "Ref-DAVIS17: DAVIS 2017 with four expressions an object."
  HOMEPAGE = "https://davischallenge.org"
  MANUAL_DOWNLOAD_INSTRUCTIONS = """\
From https://davischallenge.org/davis2017/code.html take
DAVIS-2017-Unsupervised-trainval-480p.zip, and from the project page of
"Video Object Segmentation with Language Referring Expressions" (MPI
Informatics) davis_text_annotations.zip; unpack both, so that the folder holds
DAVIS/ and davis_text_annotations/. The converted layout of other toolkits
(train/, valid/, meta_expressions/) works as well.
"""
  CITATION = """\
@inproceedings{khoreva2018video,
  title={Video Object Segmentation with Language Referring Expressions},
  author={Khoreva, Anna and Rohrbach, Anna and Schiele, Bernt},
  booktitle={ACCV},
  year={2018}
}"""


class Mevis(builder.Builder):
  """MeViS."""

  SPLITS = ("train", "valid_u", "valid")
  DESCRIPTION = "MeViS: expressions of motion about one or several objects."
  HOMEPAGE = "https://henghuiding.com/MeViS/"
  MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Follow https://github.com/henghuiding/MeViS and unpack the archives, so that
the folder holds train/, valid_u/ and valid/, each with JPEGImages/ and
meta_expressions.json, the first two with mask_dict.json.
"""
  CITATION = """\
@inproceedings{ding2023mevis,
  title={{MeViS}: A Large-scale Benchmark for Video Segmentation with Motion
    Expressions},
  author={Ding, Henghui and Liu, Chang and He, Shuting and Jiang, Xudong and
    Loy, Chen Change},
  booktitle={ICCV},
  year={2023}
}"""


class A2d(builder.Builder):
  """A2D-Sentences."""

  SPLITS = ("train", "test")
  # A frame as JPEG takes a fifth of the PNG. Evaluation stays exact.
  RE_ENCODED = ("train",)
  DESCRIPTION = "A2D-Sentences: actors and actions, few annotated frames."
  HOMEPAGE = "https://web.eecs.umich.edu/~jjcorso/r/a2d/"
  MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Take A2D_main_1_0.tar.bz2 from https://web.eecs.umich.edu/~jjcorso/r/a2d/ and
the text and instance annotations from
https://kgavrilyuk.github.io/publication/actor_action/, so that the folder
holds Release/ and text_annotations/. The lists
a2d_sentences_single_frame_{train,test}_annotations.json of other toolkits are
used if they lie there and made if not.
"""
  CITATION = """\
@inproceedings{gavrilyuk2018actor,
  title={Actor and Action Video Segmentation from a Sentence},
  author={Gavrilyuk, Kirill and Ghodrati, Amir and Li, Zhenyang and
    Snoek, Cees G. M.},
  booktitle={CVPR},
  year={2018}
}
@inproceedings{xu2015can,
  title={Can Humans Fly? Action Understanding with Multiple Classes of Actors},
  author={Xu, Chenliang and Hsieh, Shao-Hang and Xiong, Caiming and
    Corso, Jason J.},
  booktitle={CVPR},
  year={2015}
}"""


class Jhmdb(builder.Builder):
  """JHMDB-Sentences."""

  SPLITS = ("test",)
  DESCRIPTION = "JHMDB-Sentences: people in action, for evaluation."
  HOMEPAGE = "http://jhmdb.is.tue.mpg.de"
  MANUAL_DOWNLOAD_INSTRUCTIONS = """\
From http://jhmdb.is.tue.mpg.de take Rename_Images and puppet_mask, from
https://kgavrilyuk.github.io/publication/actor_action/ jhmdb_annotation.txt,
and from https://github.com/mttr2021/MTTR the file
jhmdb_sentences_samples_metadata.json, which lists the frames to score.
"""
  CITATION = """\
@inproceedings{gavrilyuk2018actor,
  title={Actor and Action Video Segmentation from a Sentence},
  author={Gavrilyuk, Kirill and Ghodrati, Amir and Li, Zhenyang and
    Snoek, Cees G. M.},
  booktitle={CVPR},
  year={2018}
}
@inproceedings{jhuang2013towards,
  title={Towards Understanding Action Recognition},
  author={Jhuang, Hueihan and Gall, Juergen and Zuffi, Silvia and
    Schmid, Cordelia and Black, Michael J.},
  booktitle={ICCV},
  year={2013}
}"""


class Refcoco(builder.Builder):
  """RefCOCO, RefCOCO+ and RefCOCOg (umd), a config each."""

  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name=name, description=description)
    for name, description in (
      ("refcoco", "RefCOCO, unc partition."),
      ("refcoco+", "RefCOCO+, unc partition."),
      ("refcocog", "RefCOCOg, umd partition."),
    )
  ]
  DESCRIPTION = "COCO images with expressions, masks and cleaned sentences."
  HOMEPAGE = "https://github.com/lichengunc/refer"
  MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Take train2014.zip from https://cocodataset.org and refcoco.zip, refcoco+.zip
and refcocog.zip from https://github.com/lichengunc/refer, so that the folder
holds train2014/, refcoco/, refcoco+/ and refcocog/.
"""
  CITATION = """\
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
}"""

  def default_splits(self, path):
    if self.set_name == "refcocog":
      return ("train", "val", "test")
    return ("train", "val", "testA", "testB")


class Own(builder.Builder):
  """Own data in the layout of Ref-YouTube-VOS."""

  DESCRIPTION = "Own videos and sentences, in the layout of Ref-YouTube-VOS."
  MANUAL_DOWNLOAD_INSTRUCTIONS = """\
Put your data into the layout of Ref-YouTube-VOS; `sgmg data example` writes
an example and docs/own_data.md explains it.
"""

  def default_splits(self, path):
    folder = path / "meta_expressions"
    if not folder.is_dir():
      raise UserError(
        f"{folder}: no such folder, expected one in it for each split"
      )
    splits = tuple(sorted(f.name for f in folder.iterdir() if f.is_dir()))
    if not splits:
      raise UserError(f"{folder}: expected a folder for each split, found none")
    return splits


class Refshapes(builder.Builder):
  """RefShapes, drawn and stored."""

  SPLITS = ("train", "val", "test")
  DESCRIPTION = "RefShapes: synthetic clips of moving shapes."


# One for each name of `registry.NAMES`.
BUILDERS: Final[dict[str, type[builder.Builder]]] = {
  "refer_ytvos": ReferYtvos,
  "refer_davis": ReferDavis,
  "mevis": Mevis,
  "a2d": A2d,
  "jhmdb": Jhmdb,
  "refcoco": Refcoco,
  "refcoco+": Refcoco,
  "refcocog": Refcoco,
  "own": Own,
  "refshapes": Refshapes,
}
