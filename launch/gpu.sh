#!/usr/bin/env bash
# Runs `sgmg COMMAND...` on the GPUs of this machine, in one process; without a
# GPU it stops rather than go on slowly.
#
#   launch/gpu.sh train --config=finetune_own --workdir=runs/mine \
#     --config.init_from=checkpoints/sgmg_t --config.data.root=my_data
#
# ---- Config; the environment may set each as well -------------------------
gpus=${GPUS:-all}                            # or numbers: 0,1
memory=${MEMORY:-0.92}                       # share that JAX takes at once
image=${IMAGE:-}                             # of launch/Dockerfile; empty: none
mount=${MOUNT:-$PWD}                         # the folder an image sees, as here
# ---------------------------------------------------------------------------
set -euo pipefail
: "${1:?usage: launch/gpu.sh COMMAND [ARGUMENT...]}"
read -ra sgmg <<< "${SGMG:-sgmg}"

export JAX_PLATFORMS=cuda XLA_PYTHON_CLIENT_MEM_FRACTION=$memory
if [[ $image ]]; then
  [[ $gpus == all ]] || gpus="\"device=$gpus\""
  exec docker run --rm --init --gpus "$gpus" --user "$(id -u):$(id -g)" \
    --volume "$mount:$mount" --workdir "$PWD" --env HOME=/tmp \
    --env SGMG_CACHE_DIR="$mount/.cache/sgmg_jax" \
    --env JAX_PLATFORMS --env XLA_PYTHON_CLIENT_MEM_FRACTION "$image" "$@"
fi
[[ $gpus == all ]] || export CUDA_VISIBLE_DEVICES=$gpus
exec "${sgmg[@]}" "$@"
