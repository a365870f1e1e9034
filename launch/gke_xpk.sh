#!/usr/bin/env bash
# Runs `sgmg COMMAND...` on a TPU slice of a cluster that xpk made
# (https://github.com/AI-Hypercomputer/xpk); xpk writes the JobSet.
#
#   launch/gke_xpk.sh train --config=refer_ytvos --workdir=/shared/runs/ytvos \
#     --config.data.root=/shared/data --config.init_from=/shared/runs/coco/model
#
# The folder is a storage of the cluster (`xpk storage attach ... --auto-mount
# true`, mounted at /shared).
#
# ---- Config; the environment may set each as well -------------------------
name=${NAME:-sgmg}
cluster=${CLUSTER:-sgmg}
project=${PROJECT:-PROJECT}
zone=${ZONE:-us-west4-a}
type=${TYPE:-v5litepod-16}
image=${IMAGE:-us-docker.pkg.dev/PROJECT/sgmg/sgmg:tpu}  # launch/Dockerfile
mount=${MOUNT:-/shared}
restarts=${RESTARTS:-50}                     # pre-emptions count
# ---------------------------------------------------------------------------
set -euo pipefail
: "${1:?usage: launch/gke_xpk.sh COMMAND [ARGUMENT...]}"

printf -v command '%q ' sgmg "$@"
xpk workload create --workload="$name" --cluster="$cluster" \
  --project="$project" --zone="$zone" --tpu-type="$type" --num-slices=1 \
  --docker-image="$image" --env="SGMG_CACHE_DIR=$mount/cache" \
  --max-restarts="$restarts" --command="${command% }"
