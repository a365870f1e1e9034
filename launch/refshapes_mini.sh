#!/usr/bin/env bash
# Trains a RefShapes model from scratch in three stages and scores it; the same
# command goes on after a stop. About six hours on two cores.
#
#   launch/refshapes_mini.sh runs/refshapes_mini
set -euo pipefail
runs=${1:?usage: launch/refshapes_mini.sh FOLDER}
cd "$(dirname "$0")/.."
start=()
for stage in 1 2 3; do
  sgmg train --config=configs/refshapes.py:stage=$stage \
    --workdir="$runs/stage$stage" "${start[@]}"
  start=("--config.init_from=$runs/stage$stage/model")
  start+=("--config.tokenizer.source=$runs/stage1/tokenizer")
done
sgmg eval refshapes --checkpoint "$runs/stage3/model" --split test --clips 500
