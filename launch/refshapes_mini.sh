#!/usr/bin/env bash
# Trains a RefShapes model from scratch, first the backbone and the text encoder
# by themselves, then all in three stages, and scores it; the same command goes
# on after a stop. About seven hours on two cores.
#
#   launch/refshapes_mini.sh runs/refshapes_mini
set -euo pipefail
runs=${1:?usage: launch/refshapes_mini.sh FOLDER}
cd "$(dirname "$0")/.."
sgmg pretrain --config=configs/refshapes_backbone.py --workdir="$runs/backbone"
sgmg pretrain --config=configs/refshapes_text.py --workdir="$runs/text"
start="$runs/backbone/model,$runs/text/model"
for stage in 1 2 3; do
  sgmg train --config=configs/refshapes.py:stage=$stage \
    --workdir="$runs/stage$stage" --config.init_from="$start" \
    --config.tokenizer.source="$runs/text/tokenizer"
  start="$runs/stage$stage/model"
done
sgmg eval refshapes --checkpoint "$runs/stage3/model" --split test --clips 500
