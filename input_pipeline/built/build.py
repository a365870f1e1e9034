"""Build a data set, completely or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import optional_packages
from sgmg_jax.input_pipeline.built import builder as builder_lib


@dataclasses.dataclass(frozen=True)
class Built:
  """Content of a finished build.

  Attributes:
    splits: by name, (videos, frames, expressions, record files).
  """

  folder: str
  num_bytes: int
  splits: dict[str, tuple[int, int, int, int]]


def build(
  name: str,
  manual_dir: str | os.PathLike | None,
  data_dir: str | os.PathLike,
  *,
  splits: Sequence[str] = (),
  options: Mapping[str, Any] | None = None,
  beam_options: Sequence[str] | None = None,
) -> Built:
  """Store a raw data set below `data_dir`.

  Args:
    name: one of `registry.NAMES`.
    manual_dir: the raw files as downloaded; None for refshapes.
    data_dir: folder of built data sets, such as gs://bucket/data.
    beam_options: flags of Apache Beam, such as ["--runner=DataflowRunner"],
      to build with it; None builds in this process.

  Raises:
    UserError: an unknown set, it is built already, no such folder, no
      TensorFlow, or anything wrong with the raw files.
  """
  builder_class = builder_lib.of_set(name)
  for split in splits:
    if not re.fullmatch(r"[A-Za-z]\w*", split) or split.lower() == "all":
      raise UserError(
        f"split {split!r}: expected a letter, then letters, digits and "
        "underscores, and not 'all'"
      )
  raw_needed = builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS is not None
  if raw_needed and (manual_dir is None or not _holds_files(manual_dir)):
    raise UserError(
      f"manual_dir {manual_dir}: no such folder, or empty; expected the files "
      f"of {name}; "
      + " ".join(builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    )
  # It reaches for TensorFlow late, in the middle of a large build.
  optional_packages.require("tensorflow", "building a data set")
  config = {"config": name} if builder_class.BUILDER_CONFIGS else {}
  settings = {}
  if raw_needed:
    settings["manual_dir"] = os.fspath(manual_dir)
  if beam_options is not None:
    pipeline_options = builder_lib.import_beam().options.pipeline_options
    settings["beam_options"] = pipeline_options.PipelineOptions(
      flags=list(beam_options)
    )
  builder = builder_class(
    data_dir=os.fspath(data_dir),
    splits=splits,
    options=dict(options or {}),
    beam=beam_options is not None,
    **config,
  )
  folder = epath.Path(builder.data_dir)
  if folder.exists():
    raise UserError(
      f"{folder}: {name} is built already (splits "
      f"{', '.join(builder.info.splits) or 'none'}); remove this folder to "
      "build it again, or choose another --data_dir"
    )
  tfds.disable_progress_bar()
  try:
    # It announces downloads and makes a folder for them; there are none.
    with (
      contextlib.redirect_stdout(io.StringIO()),
      tempfile.TemporaryDirectory(prefix="sgmg-build-") as downloads,
    ):
      builder.download_and_prepare(
        download_dir=downloads,
        download_config=tfds.download.DownloadConfig(**settings),
      )
  except OSError as e:
    raise UserError(f"{folder}: cannot build {name} ({e})") from e
  return Built(
    str(folder),
    builder.info.dataset_size,
    {
      split: (
        len(index.videos),
        index.num_records,
        len(index.expressions),
        builder.info.splits[split].num_shards,
      )
      for split, index in builder.indices.items()
    },
  )


def _holds_files(folder: str | os.PathLike) -> bool:
  path = epath.Path(folder)
  return path.is_dir() and any(path.iterdir())
