#!/usr/bin/env bash
# Runs `sgmg COMMAND...` on a TPU slice of a GKE cluster as a JobSet, which
# starts again from the last checkpoint after a pre-emption, and at most
# RESTARTS times after failures. The cluster has the JobSet controller and a
# node pool of the slice's type.
#
#   launch/gke_jobset.sh train --config=refer_ytvos \
#     --workdir=/shared/runs/ytvos --config.data.root=/shared/data \
#     --config.init_from=/shared/runs/coco/model
#   PRINT=1 launch/gke_jobset.sh train ...  # the manifest, nothing else
#   kubectl logs -f -l jobset.sigs.k8s.io/jobset-name=sgmg --prefix
#
# ---- Config; the environment may set each as well -------------------------
name=${NAME:-sgmg}
image=${IMAGE:-us-docker.pkg.dev/PROJECT/sgmg/sgmg:tpu}  # launch/Dockerfile
accelerator=${ACCELERATOR:-tpu-v5-lite-podslice}
topology=${TOPOLOGY:-4x4}                    # 16 chips; v5e-256: 16x16
chips=${CHIPS:-4}                            # of a node
spot=${SPOT-yes}                             # pre-emptible nodes; "": others
claim=${CLAIM:-shared}                       # ReadWriteMany: data and runs
mount=${MOUNT:-/shared}                      # where containers find it
restarts=${RESTARTS:-10}
# ---------------------------------------------------------------------------
set -euo pipefail
: "${1:?usage: launch/gke_jobset.sh COMMAND [ARGUMENT...]}"

selector='cloud.google.com/gke-spot: "true"'
nodes=$((${topology//x/*} / chips))
arguments() {  # As YAML strings; $( would be a variable to Kubernetes.
  local argument
  for argument; do
    argument=${argument//\$(/\$\$(}
    printf "              - '%s'\n" "${argument//\'/\'\'}"
  done
}

manifest() {
  cat << END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $name
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool
spec:
  failurePolicy:
    maxRestarts: $restarts
    rules:
    # What follows does not count.
    - name: preemption
      action: RestartJobSetAndIgnoreMaxRestarts
      onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
  - name: slice
    replicas: 1
    template:
      spec:
        completionMode: Indexed
        completions: $nodes
        parallelism: $nodes
        backoffLimit: 0
        podFailurePolicy:
          rules:
          # SIGTERM to one process makes all of them save and end.
          - action: FailJob
            onExitCodes:
              containerName: sgmg
              operator: In
              values: [143]
          - action: FailJob
            onPodConditions:
            - type: DisruptionTarget
              status: "True"
        template:
          spec:
            restartPolicy: Never
            # From SIGTERM, which saves, to SIGKILL.
            terminationGracePeriodSeconds: 120
            nodeSelector:
              cloud.google.com/gke-tpu-accelerator: $accelerator
              cloud.google.com/gke-tpu-topology: $topology
              ${spot:+$selector}
            tolerations:
            - key: cloud.google.com/gke-spot
              operator: Exists
            containers:
            - name: sgmg
              image: $image
              args:
$(arguments "$@")
              env:
              - name: SGMG_CACHE_DIR
                value: $mount/cache
              resources:
                requests:
                  google.com/tpu: $chips
                limits:
                  google.com/tpu: $chips
              volumeMounts:
              - name: shared
                mountPath: $mount
            volumes:
            - name: shared
              persistentVolumeClaim:
                claimName: $claim
END
}

if [[ ${PRINT:-} ]]; then
  manifest "$@"
  exit
fi
# Of an earlier run, which saves first.
kubectl delete jobset "$name" --ignore-not-found --wait
manifest "$@" | kubectl apply -f -
