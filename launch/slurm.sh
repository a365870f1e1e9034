#!/usr/bin/env bash
# Runs `sgmg COMMAND...` on GPU nodes of a Slurm cluster, one process for each
# GPU. Five minutes before the time limit, and when it is pre-empted, the run
# saves and stops, and the job is queued again; then it goes on.
#
#   sbatch launch/slurm.sh train --config=refer_ytvos --workdir=runs/ytvos \
#     --config.data.root=data --config.init_from=runs/coco/model
#
# Paths are those of the folder that sbatch is called in, on a file system that
# all nodes share. SGMG="..." runs another program than the PATH's sgmg, such as
# "apptainer run --nv sgmg.sif".
#
# ---- Config; options of sbatch go before these ----------------------------
#SBATCH --job-name=sgmg
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# ---------------------------------------------------------------------------
set -uo pipefail
: "${1:?usage: sbatch launch/slurm.sh COMMAND [ARGUMENT...]}"
read -ra sgmg <<< "${SGMG:-sgmg}"

# The batch script, too, gets SIGTERM at a pre-emption, and must outlive srun.
trap : TERM
# JAX picks the GPU with the number that a process has on its node, so each must
# see all of them. A process that has saved must not end the others, which a
# second signal would keep from saving.
srun --label --gpu-bind=none --kill-on-bad-exit=0 "${sgmg[@]}" "$@"
status=$?
# 143: ended by SIGTERM, and saved. Slurm itself queues a job that is pre-empted
# with PreemptMode=REQUEUE; one that was cancelled stays so.
if ((status == 143)) &&
  [[ "$(scontrol show job --oneliner "$SLURM_JOB_ID") " == \
    *" JobState=RUNNING "* ]]; then
  echo "slurm: queued again, to go on from what is saved"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
