"""The facts of A2D-Sentences."""

from sgmg_jax.input_pipeline.sets import about

ABOUT = about.About(
  splits={"a2d": ("train", "test")},
  reader="A2D",
  family="actors",
  description="A2D-Sentences: actors and actions, few annotated frames.",
  homepage="https://web.eecs.umich.edu/~jjcorso/r/a2d/",
  download="""\
Take A2D_main_1_0.tar.bz2 from https://web.eecs.umich.edu/~jjcorso/r/a2d/ and
the text and instance annotations from
https://kgavrilyuk.github.io/publication/actor_action/, so that the folder
holds Release/ and text_annotations/. The lists
a2d_sentences_single_frame_{train,test}_annotations.json of other toolkits are
used if they lie there and made if not.
""",
  citation="""\
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
}""",
  # A frame as JPEG takes a fifth of the PNG. Evaluation stays exact.
  re_encoded=("train",),
  published={"all": {"clips": 3782, "rows": 6655}},
  quoted={"train": {"videos": 3017}, "test": {"videos": 737}},
  looked_for=(
    "Release/videoset.csv",
    "text_annotations/a2d_annotation.txt",
  ),
)
