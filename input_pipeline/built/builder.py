"""One builder for every data set: a raw source stored frame by frame.

TensorFlow Datasets writes a temporary folder and renames it when everything
is complete, so a build that fails or is interrupted is never taken for one.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from etils import epath

from sgmg_jax.errors import UserError
from sgmg_jax.input_pipeline import source as source_lib
from sgmg_jax.input_pipeline.built import index as index_lib
from sgmg_jax.input_pipeline.built import reader, records
from sgmg_jax.input_pipeline.layouts import meta_expressions
from sgmg_jax.input_pipeline.sets import registry
from sgmg_jax.input_pipeline.sets.about import About

# Parts that TensorFlow Datasets sorts one after the other in memory before it
# writes a split of over a gigabyte; each is an open file until then.
_SORT_PARTS = 125
_KEY_SPACE = 2**128


@dataclasses.dataclass(frozen=True)
class RawSplit:
  """Recipe to open a raw split, here or in a worker of Beam.

  Attributes:
    name, path, split: as for `registry.open_source`.
    options: (name, value) of each.
  """

  name: str
  path: str | None
  split: str
  options: tuple[tuple[str, Any], ...] = ()

  # A worker reads many videos of a split.
  @functools.cached_property
  def source(self) -> source_lib.Source:
    return registry.open_source(
      self.name, self.path, self.split, **dict(self.options)
    )


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Builder that stores one record per frame; see `of_set`.

  Attributes:
    indices: of the splits built, by name.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {
    "1.0.0": "One record per frame with masks of all objects, and an index."
  }
  ABOUT: ClassVar[About]
  # Nothing is downloaded: there are no checksums to look for near the code.
  code_path = None

  def __init__(
    self,
    *,
    splits: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    beam: bool = False,
    file_format: str = "array_record",
    **kwargs: Any,
  ):
    """Set up as any builder.

    Args:
      splits: to build, in place of the data set's.
      options: of the raw reader, such as {"version": 2}.
      beam: whether Apache Beam runs the build. Its workers read the raw
        files, by the same path.
      file_format: another than array_record has no random access.
      **kwargs: data_dir, config, version.
    """
    self._chosen = tuple(splits)
    self._options = dict(options or {})
    self._beam = beam
    self.indices: dict[str, index_lib.Index] = {}
    self._index_files = _IndexFiles(self.indices)
    super().__init__(file_format=file_format, **kwargs)

  @property
  def set_name(self) -> str:
    """The data set's name, such as "refcoco+"."""
    return self.builder_config.name if self.builder_config else self.name

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.ABOUT.description,
      features=tfds.features.FeaturesDict(
        {
          "video": tfds.features.Text(),
          "frame": tfds.features.Text(),
          "image": tfds.features.Image(
            shape=(None, None, 3), doc="as in the raw data"
          ),
          "objects": tfds.features.Sequence(
            {
              "id": tfds.features.Scalar(np.int64),
              "rle": tfds.features.Tensor(
                shape=(), dtype=np.str_, doc="COCO run-length code of the mask"
              ),
            }
          ),
        }
      ),
      homepage=self.ABOUT.homepage,
      citation=self.ABOUT.citation,
      disable_shuffling=True,
      metadata=self._index_files,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    path = dl_manager.manual_dir if self.MANUAL_DOWNLOAD_INSTRUCTIONS else None
    if path is not None and reader.is_built(path, self.set_name):
      raise UserError(
        f"{path}: is a built {self.set_name}, expected the raw files"
      )
    splits = self._chosen or self.ABOUT.splits[self.set_name]
    generators = {}
    # All are opened, hence checked, before any is stored.
    for split in splits or meta_expressions.splits(path):
      raw = RawSplit(
        self.set_name,
        None if path is None else os.fspath(path),
        split,
        tuple(self._options.items()),
      )
      index = index_lib.make(raw.source)
      self.indices[split] = index
      generators[split] = self._generate_examples(raw, index)
    return generators

  def _generate_examples(self, raw: RawSplit, index: index_lib.Index):
    as_jpeg = index.split in self.ABOUT.re_encoded
    if self._beam:
      return _beam_examples(raw, index, as_jpeg)
    return _examples(raw.source, index, as_jpeg)

  def _example_writer(self):
    return _Writer(self.info.file_format)


def of_set(name: str) -> type[Builder]:
  """The builder of a data set; sister sets are its configs.

  Raises:
    UserError: an unknown name.
  """
  about = registry.about(name)

  class SetBuilder(Builder, skip_registration=True):
    name = about.folder
    ABOUT = about
    MANUAL_DOWNLOAD_INSTRUCTIONS = about.download
    BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(name=sister, description=about.description)
      for sister in about.splits
      if about.has_sisters
    ]

  return SetBuilder


def _examples(
  source: source_lib.Source, index: index_lib.Index, as_jpeg: bool
) -> Iterator[tuple[int, records.Record]]:
  title = f"{index.name} {index.split}"
  with tqdm.tqdm(total=index.num_records, desc=title, unit="frame") as bar:
    needed = records.needed_objects(index)
    for stored in index.videos:
      for number, record in records.of_video(
        source, stored, needed[stored.video.name], as_jpeg=as_jpeg
      ):
        yield _sort_key(number, index.num_records), record
        bar.update()


def _sort_key(number: int, total: int) -> int:
  """Key that rises with `number` over the whole space of keys.

  Numbers themselves lie at its lower end, where the sort would take the whole
  split for one part and load it into memory.
  """
  part = number * _SORT_PARTS // total
  return part * (_KEY_SPACE // _SORT_PARTS) + number


def _beam_examples(raw: RawSplit, index: index_lib.Index, as_jpeg: bool):
  """A Beam transform that gives the same; videos are read in parallel."""
  beam = import_beam()
  read = functools.partial(_read_video, as_jpeg)
  # A fresh one: a source that is open here is not sent to the workers.
  raw = dataclasses.replace(raw)
  needed = records.needed_objects(index)
  entries = [(raw, v, needed[v.video.name]) for v in index.videos]
  return beam.Create(entries) | beam.FlatMap(read)


def _read_video(as_jpeg, entry):
  raw, stored, needed = entry
  source = _worker_split(raw).source
  # Beam itself spreads the numbers over the record files, in their order.
  yield from records.of_video(source, stored, needed, as_jpeg=as_jpeg)


@functools.lru_cache(maxsize=4)
def _worker_split(raw: RawSplit) -> RawSplit:
  """Share one of equal splits, so that each is opened once a process."""
  return raw


def import_beam():
  """The module apache_beam.

  Raises:
    UserError: it is not installed.
  """
  try:
    import apache_beam
  except ImportError as e:
    raise UserError(
      "--beam needs Apache Beam: pip install apache-beam (apache-beam[gcp] "
      f"for Dataflow); {e}"
    ) from e
  return apache_beam


class _IndexFiles(tfds.core.Metadata):
  """Metadata: the index of each split, in the folder of the build."""

  def __init__(self, indices: dict[str, index_lib.Index]):
    super().__init__()
    self._indices = indices

  def save_metadata(self, data_dir):
    for split, index in self._indices.items():
      path = epath.Path(data_dir) / index_lib.file_name(split)
      path.write_text(index_lib.to_json(index))

  def load_metadata(self, data_dir):
    """Load nothing: `BuiltSource` reads the index of its split."""


class _Writer(tfds.core.ExampleWriter):
  """Writer of record files; to remote folders by way of a local file.

  ArrayRecord writes local files only.
  """

  def write(self, path: epath.PathLike, examples: Iterable[Any]):
    if "://" not in os.fspath(path):
      return super().write(path, examples)
    with tempfile.TemporaryDirectory(prefix="sgmg-build-") as folder:
      local = epath.Path(folder) / epath.Path(path).name
      written = super().write(local, examples)
      local.copy(path, overwrite=True)
    return written
