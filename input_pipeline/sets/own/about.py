"""The facts of own data: what follows from its layout."""

from sgmg_jax.input_pipeline.sets import about

ABOUT = about.About(
  # A folder each below meta_expressions/.
  splits={"own": ()},
  reader="OwnData",
  family="videos",
  description="Own videos and sentences, in the layout of Ref-YouTube-VOS.",
  download="""\
Put your data into the layout of Ref-YouTube-VOS; `sgmg data example` writes
an example and docs/own_data.md explains it.
""",
)
