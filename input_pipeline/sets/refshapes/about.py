"""The facts of RefShapes, which is drawn."""

from sgmg_jax.input_pipeline.sets import about

ABOUT = about.About(
  splits={"refshapes": ("train", "val", "test")},
  reader="RefShapes",
  family="drawn",
  description="RefShapes: synthetic clips of moving shapes.",
)
