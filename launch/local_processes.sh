#!/usr/bin/env bash
# Runs `sgmg COMMAND...` in several processes on the CPU of this machine, as a
# pod would: to try out what needs more than one. Ctrl-C and SIGTERM reach all.
#
#   launch/local_processes.sh train --config=refshapes:runlocal \
#     --workdir=/tmp/processes --config.data.batch_size=8
#
# ---- Config; the environment may set each as well -------------------------
processes=${PROCESSES:-2}
devices=${DEVICES:-4}                        # of each process
port=${PORT:-12355}
# ---------------------------------------------------------------------------
set -uo pipefail
: "${1:?usage: launch/local_processes.sh COMMAND [ARGUMENT...]}"
read -ra sgmg <<< "${SGMG:-sgmg}"

export JAX_PLATFORMS=cpu
export JAX_COORDINATOR_ADDRESS=localhost:$port JAX_NUM_PROCESSES=$processes
export XLA_FLAGS="${XLA_FLAGS:-} \
--xla_force_host_platform_device_count=$devices"
running=()
# As SIGTERM: what a shell starts in the background ignores SIGINT.
trap 'kill -TERM "${running[@]}" 2> /dev/null' INT TERM
for ((process = 0; process < processes; process++)); do
  JAX_PROCESS_ID=$process "${sgmg[@]}" "$@" \
    > >(sed -u "s/^/[$process] /") 2>&1 &
  running+=($!)
done

status=0
for pid in "${running[@]}"; do
  wait "$pid"
  code=$?
  # A signal to this script interrupts the wait.
  while kill -0 "$pid" 2> /dev/null; do
    wait "$pid"
    code=$?
  done
  ((status)) || status=$code
done
exit "$status"
