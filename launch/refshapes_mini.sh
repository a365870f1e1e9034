#!/usr/bin/env bash
# Trains a RefShapes model from scratch, first what encodes video and text by
# itself, then all in three stages, and scores it; the same command goes on
# after a stop. About eight hours on two cores.
#
#   launch/refshapes_mini.sh runs/refshapes_mini
#   launch/refshapes_mini.sh runs/refshapes_mini gpu   # 16 cores and one GPU
#
# On a GPU batches are up to sixteen times as large; WORKERS processes make them
# (12). SGMG="python3 -m sgmg_jax" runs a package that is not installed.
set -euo pipefail
runs=${1:?usage: launch/refshapes_mini.sh FOLDER [gpu]}
machine=${2:-cpu}
read -ra sgmg <<< "${SGMG:-sgmg}"
cd "$(dirname "$0")/.."

video=() text=() stage1=() stage2=() stage3=()
# shellcheck disable=SC2034 # Used by name, below.
case $machine in
  cpu) ;;
  gpu)
    workers=(--config.loader.num_workers="${WORKERS:-12}")
    video=(--config.phases="((1,64,4000,3e-3),(6,32,4000,3e-3))"
      "${workers[@]}")
    text=("${workers[@]}")
    stage1=(--config.data.batch_size=32 --config.data.expressions_per_clip=8
      --config.total_steps=6000 --config.schedule.drop_steps="(4500,5500)"
      "${workers[@]}")
    stage2=(--config.data.batch_size=16 --config.data.expressions_per_clip=8
      --config.total_steps=3000 --config.schedule.drop_steps="(2500,)"
      "${workers[@]}")
    # Of six frames two go through the whole model: more clips a second.
    stage3=(--config.data.batch_size=16 --config.data.expressions_per_clip=8
      --config.data.num_annotated=2 --config.schedule.learning_rate=5e-4
      "${workers[@]}")
    ;;
  *)
    echo "launch/refshapes_mini.sh: $machine: expected cpu or gpu" >&2
    exit 2
    ;;
esac

"${sgmg[@]}" pretrain --config=configs/refshapes_video.py \
  --workdir="$runs/video" "${video[@]}"
"${sgmg[@]}" pretrain --config=configs/refshapes_text.py \
  --workdir="$runs/text" "${text[@]}"
start="$runs/video/model,$runs/text/model"
for stage in 1 2 3; do
  declare -n flags="stage$stage"
  "${sgmg[@]}" train --config=configs/refshapes.py:stage=$stage \
    --workdir="$runs/stage$stage" --config.init_from="$start" \
    --config.tokenizer.source="$runs/text/tokenizer" "${flags[@]}"
  start="$runs/stage$stage/model"
done
"${sgmg[@]}" evaluate --config=configs/eval/refshapes.py \
  --checkpoint="$runs/stage3/model" --out="$runs/eval"
