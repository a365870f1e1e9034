"""The facts of JHMDB-Sentences."""

from sgmg_jax.input_pipeline.sets import about

# Lists the frames to score.
SAMPLES_FILE = "jhmdb_sentences_samples_metadata.json"

ABOUT = about.About(
  splits={"jhmdb": ("test",)},
  reader="JHMDB",
  family="actors",
  description="JHMDB-Sentences: people in action, for evaluation.",
  homepage="http://jhmdb.is.tue.mpg.de",
  download=f"""\
From http://jhmdb.is.tue.mpg.de take Rename_Images and puppet_mask, from
https://kgavrilyuk.github.io/publication/actor_action/ jhmdb_annotation.txt,
and from https://github.com/mttr2021/MTTR the file
{SAMPLES_FILE}, which lists the frames to score.
""",
  citation="""\
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
}""",
  published={
    "test": {"videos": 928, "rows": 928, "samples": 2784, "actions": 21}
  },
  looked_for=(
    "puppet_mask",
    "Rename_Images",
    "jhmdb_annotation.txt",
    SAMPLES_FILE,
  ),
)
