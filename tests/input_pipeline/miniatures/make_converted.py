"""What other toolkits convert Ref-DAVIS17 and the RefCOCO sets to."""

import json
import pathlib

from sgmg_jax.input_pipeline.sets.refcoco import convert as refcoco
from sgmg_jax.input_pipeline.sets.refer_davis import convert as refer_davis


def make_converted(root):
  """Adds the converted files to a miniature as downloaded."""
  root = pathlib.Path(root)
  if (root / "DAVIS").is_dir():
    for split in refer_davis.VIDEO_LISTS:
      path = root / "meta_expressions" / split / "meta_expressions.json"
      path.parent.mkdir(parents=True)
      path.write_text(json.dumps(refer_davis.read_raw(root, split)))
    return
  for name, splits in refcoco.SPLITS.items():
    refs = refcoco.read_refs(refcoco.refs_file(root, name))
    instances = refcoco.read_instances(root, name)
    for split in splits:
      path = refcoco.examples_file(root, name, split)
      content = refcoco.examples(refs, instances, name, split)
      path.write_text(json.dumps(content))
