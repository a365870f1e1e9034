#!/usr/bin/env bash
# Trains a RefShapes model from scratch, first the backbone by itself, then all
# in three stages, and scores it; the same command goes on after a stop. About
# seven hours on two cores.
#
#   launch/refshapes_mini.sh runs/refshapes_mini
set -euo pipefail
runs=${1:?usage: launch/refshapes_mini.sh FOLDER}
cd "$(dirname "$0")/.."
sgmg pretrain --config=configs/refshapes_backbone.py --workdir="$runs/backbone"
start=("--config.init_from=$runs/backbone/model")
for stage in 1 2 3; do
  sgmg train --config=configs/refshapes.py:stage=$stage \
    --workdir="$runs/stage$stage" "${start[@]}"
  start=("--config.init_from=$runs/stage$stage/model")
  start+=("--config.tokenizer.source=$runs/stage1/tokenizer")
done
sgmg eval refshapes --checkpoint "$runs/stage3/model" --split test --clips 500
