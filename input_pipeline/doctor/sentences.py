"""Checks of sentences that all data sets share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from sgmg_jax.input_pipeline.doctor import files, findings, plan


def check(sentences: Sequence[plan.Sentence]) -> findings.Findings:
  """Empty sentences, stray blanks, the same sentence more than once."""
  log = findings.Findings()
  _check_empty(sentences, log)
  _check_blanks(sentences, log)
  _check_shared(sentences, log)
  return log


def _check_empty(sentences, log) -> None:
  for sentence in sentences:
    if not sentence.text.strip():
      log.add(
        "expression-empty",
        "an empty sentence",
        file=sentence.file,
        video=sentence.video,
        expression=sentence.id,
      )


def _check_blanks(sentences, log) -> None:
  """One finding a file: published files have many."""
  untidy = defaultdict(list)
  for sentence in sentences:
    if sentence.text.strip() and sentence.text != _tidy(sentence.text):
      untidy[sentence.file].append(f"{sentence.video}/{sentence.id}")
  for file, keys in untidy.items():
    log.add(
      "expression-blanks",
      f"{len(keys)} sentences with stray blanks: {files.some(keys)}",
      file=file,
    )


def _check_shared(sentences, log) -> None:
  groups = defaultdict(list)
  for sentence in sentences:
    if sentence.objects is not None and sentence.text.strip():
      key = sentence.split, sentence.video, _tidy(sentence.text).lower()
      groups[key].append(sentence)
  repeated = Counter()
  for group in groups.values():
    meant = {sentence.objects for sentence in group}
    first = group[0]
    if len(meant) > 1:
      objects = ["+".join(map(str, each)) or "none" for each in sorted(meant)]
      log.add(
        "sentence-shared",
        f"{first.text!r} describes objects {files.some(objects)} alike",
        file=first.file,
        video=first.video,
        expression=files.some(sentence.id for sentence in group),
      )
    repeated[first.file] += len(group) - len(meant)
  for file, number in repeated.items():
    if number:
      log.add(
        "sentence-repeated",
        f"{number} sentences say the same of the same object again",
        file=file,
      )


def _tidy(text: str) -> str:
  return " ".join(text.split())
