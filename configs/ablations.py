r"""A row of the ablations of the paper (Tables 5, 6 and H) on RefShapes.

  sgmg train --config=ablations:table=5,row=3 --workdir=runs/row3

`sgmg ablate --table 5 --seeds 3 --out runs/ablations` trains all rows and
writes the table. Rows: of Table 5 without everything, then with patch kernels
(CPK), the optimiser (MSO), the spectrum (SCF), CPK and MSO, and all three; of
Table 6 decode-and-segment, the same with MSO, and segment-and-optimise; of
Table H convolutions, layers of tokens and the spectrum.

The model has the sizes of `mini` and the paper's five queries. All rows start
from the encoders of the bundled model, which they leave as they are (other
ones: --config.init_from), and see the same clips: single frames, and sentences
that one frame can decide. A row takes minutes on two cores; what the rows
show is signs and order, not the paper's numbers.
"""

import common
import refshapes

_WITHOUT = dict(spectral="none", patch=1, refine=False)
# What differs from the released model.
_TABLES = {
  "5": (
    _WITHOUT,
    _WITHOUT | dict(patch=16),
    _WITHOUT | dict(refine=True),
    _WITHOUT | dict(spectral="fft"),
    dict(spectral="none"),
    {},
  ),
  "6": (
    _WITHOUT | dict(decoder="fpn"),
    _WITHOUT | dict(decoder="fpn", refine=True),
    _WITHOUT | dict(refine=True),
  ),
  "H": (dict(spectral="conv"), dict(spectral="linear"), {}),
}
_DEFAULTS = dict(spectral="fft", patch=16, refine=True, decoder="none")


def get_config(arg=None):
  arg = common.parse_arg(arg, runlocal=False, table="5", row=1, seed=0)
  if arg["table"] not in _TABLES:
    known = ", ".join(_TABLES)
    raise ValueError(f"table {arg['table']}: expected one of {known}")
  rows = _TABLES[arg["table"]]
  if not 1 <= arg["row"] <= len(rows):
    raise ValueError(
      f"row {arg['row']}: expected 1 to {len(rows)} of table {arg['table']}"
    )
  local = ",runlocal" if arg["runlocal"] else ""
  config = refshapes.get_config(f"stage=1{local}")
  # Other seeds draw other clips and other parameters, the same for all rows.
  config.seed = arg["seed"]
  config.num_rows = len(rows)
  row = _DEFAULTS | rows[arg["row"] - 1]
  config.model.update(num_queries=5, **row)

  # From the encoders alone; without what only another stage needs.
  config.init_from = "refshapes-mini"
  config.init_required = common.ENCODERS
  config.reinitialise = ("(?!backbone_0/|text_encoder/).*",)
  config.tokenizer.source = "refshapes-mini"
  config.auxiliary = ("sgmg_jax.pretraining.role_heads",)
  config.optimizer.groups = (
    ("backbone_0/.*", None),
    ("text_encoder/.*", None),
    (".*", 1.0),
  )
  config.ema_decay = 0.99

  config.evals.refshapes.data.split = "test"
  config.evals.refshapes.data.options.num_frames = 1
  if not arg["runlocal"]:
    config.total_steps = 400
    config.schedule.warmup_steps = 20
    config.schedule.drop_steps = (300, 370)
    config.evals.refshapes.data.options.num_clips = 200
  config.eval.every = config.total_steps
  config.checkpoint_every = max(2, config.total_steps // 4)
  config.keep_checkpoints = 1
  # Not by table and row: tables share runs.
  config.export.name = "ablation"
  return config
