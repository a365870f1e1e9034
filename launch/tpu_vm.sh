#!/usr/bin/env bash
# Runs `sgmg COMMAND...` on all workers of a TPU VM slice: creates the slice,
# starts the container on every worker, and does both again whenever the slice
# is pre-empted or fails, until the command has finished. Then the slice is
# deleted. Started again, it goes on.
#
#   launch/tpu_vm.sh train --config=refer_ytvos --workdir=/shared/runs/ytvos \
#     --config.data.root=/shared/data --config.init_from=/shared/runs/coco/model
#
# Ctrl-C ends this script alone: the slice goes on, and costs.
#
# ---- Config; the environment may set each as well -------------------------
name=${NAME:-sgmg}                           # of the slice
zone=${ZONE:-us-west4-a}
type=${TYPE:-v5litepod-16}                   # 16 chips of v5e, 4 workers
runtime=${RUNTIME:-v2-alpha-tpuv5-lite}      # v5p: v2-alpha-tpuv5
read -ra capacity <<< "${CAPACITY:---spot}"  # or --reserved, or " ": on demand
image=${IMAGE:-us-docker.pkg.dev/PROJECT/sgmg/sgmg:tpu}  # launch/Dockerfile
nfs=${NFS:-10.0.0.2:/share}                  # data and runs, by all workers
mount=${MOUNT:-/shared}                      # where workers find it
retries=${RETRIES:-3}                        # failures while the slice is well
pause=${PAUSE:-60}                           # seconds between two attempts
# ---------------------------------------------------------------------------
set -uo pipefail
: "${1:?usage: launch/tpu_vm.sh COMMAND [ARGUMENT...]}"

tpu() {  # VERB ARGUMENTS...
  gcloud compute tpus tpu-vm "$1" "$name" --zone="$zone" "${@:2}"
}

# What each worker does. A container of an earlier attempt saves and stops.
printf -v settings '%q ' "image=$image" "nfs=$nfs" "mount=$mount"
printf -v command '%q ' "$@"
read -r -d '' worker << 'END'
set -e
if ! mountpoint -q "$mount"; then
  command -v mount.nfs > /dev/null ||
    { sudo apt-get -qq update && sudo apt-get -qq install -y nfs-common; }
  sudo mkdir -p "$mount"
  sudo mount -t nfs "$nfs" "$mount"
fi
sudo gcloud --quiet auth configure-docker "${image%%/*}" 2> /dev/null || true
sudo docker pull --quiet "$image"
sudo docker stop --time 120 sgmg > /dev/null 2>&1 || true
sudo docker rm sgmg > /dev/null 2>&1 || true
exec sudo docker run --rm --init --name sgmg --privileged --network host \
  --volume "$mount:$mount" --env SGMG_CACHE_DIR="$mount/cache" "$image"
END

trap 'echo "tpu_vm: the slice $name goes on in $zone; delete it with:
  gcloud compute tpus tpu-vm delete $name --zone=$zone" >&2; exit 130' INT TERM
failures=0
while true; do
  state=$(tpu describe --format="value(state)" 2> /dev/null) || state=ABSENT
  case $state in
    READY) ;;
    ABSENT | PREEMPTED | TERMINATED | STOPPED)
      echo "tpu_vm: $name is $state; creating it"
      [[ $state == ABSENT ]] || tpu delete --quiet
      if ! tpu create --accelerator-type="$type" --version="$runtime" \
        "${capacity[@]}"; then
        echo "tpu_vm: no slice; trying again in $pause s"
        sleep "$pause"
        continue
      fi
      failures=0
      ;;
    *)  # On the way from one of these to another.
      echo "tpu_vm: $name is $state"
      sleep "$pause"
      continue
      ;;
  esac
  tpu ssh --worker=all --command="$settings; $worker $command"
  status=$?
  case $status in
    0)
      tpu delete --quiet
      exit
      ;;
    2)  # The command cannot run as it is given; its message says why.
      echo "tpu_vm: gave up; the slice $name is still there" >&2
      exit 2
      ;;
  esac
  # It takes a while until a pre-empted slice is known as such.
  sleep "$pause"
  state=$(tpu describe --format="value(state)" 2> /dev/null) || state=ABSENT
  [[ $state == READY ]] || continue
  failures=$((failures + 1))
  echo "tpu_vm: ended with $status though the slice is well" \
    "($failures of $retries)"
  if ((failures >= retries)); then
    echo "tpu_vm: gave up; the slice $name is still there" >&2
    exit 1
  fi
done
