#!/usr/bin/env bash
# Measures everything that needs a GPU, made for an H200; some ten minutes, most
# of them spent compiling.
#
#   launch/h200_bench.sh figures/h200
#   launch/h200_bench.sh figures/h200 model_bfloat16 breakdown   # only these
#
# The folder gets a JSON file for each benchmark, its output beside it, and
# summary.txt with the figures that matter. A benchmark that fails does not
# stop the others. Takes the python3 of the path (PYTHON=... chooses another),
# with JAX for CUDA, PyAV and pycocotools; installs the package there if it is
# missing. PyTorch, where there is one, is measured beside the kernels.
#
# VARIANT, FRAMES, HEIGHT, WIDTH and REPEATS make it smaller:
#   VARIANT=mu FRAMES=2 HEIGHT=144 WIDTH=160 REPEATS=1 launch/h200_bench.sh out
set -uo pipefail
out=${1:?usage: launch/h200_bench.sh FOLDER [BENCHMARK...]}
only=" ${*:2} "
python=${PYTHON:-python3}
variant=${VARIANT:-video_swin_t}
size=(--variant "$variant" --height "${HEIGHT:-360}" --width "${WIDTH:-640}")
repeats=(--repeats "${REPEATS:-20}")
clip=(--frames "${FRAMES:-36}")
train=(--frames "$((${FRAMES:-36} < 5 ? ${FRAMES:-36} : 5))")

mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.." || exit
$python -c "import sgmg_jax.kernels" 2> /dev/null ||
  $python -m pip install --quiet --no-deps --no-build-isolation . || exit 1

failed=()
bench() {  # NAME ARGUMENTS...
  local name=$1
  shift
  [[ $only == "  " || $only == *" $name "* ]] || return
  echo "== sgmg bench $*"
  $python -m sgmg_jax.cli.main bench "$@" --json "$out/$name.json" \
    > "$out/$name.txt" 2>&1 || failed+=("$name")
  tail -n 25 "$out/$name.txt"
}

nvidia-smi > "$out/nvidia-smi.txt" 2>&1
for dtype in bfloat16 float32; do
  bench "kernels_$dtype" kernels "${size[@]}" "${train[@]}" "${repeats[@]}" \
    --dtype $dtype
  bench "model_$dtype" model "${size[@]}" "${clip[@]}" "${repeats[@]}" \
    --dtype $dtype
  bench "segment_$dtype" segment "${size[@]}" "${clip[@]}" "${repeats[@]}" \
    --dtype $dtype
  bench "training_$dtype" training "${size[@]}" "${train[@]}" "${repeats[@]}" \
    --dtype $dtype
done
for part in model training; do  # TF32
  frames=("${clip[@]}")
  [[ $part == training ]] && frames=("${train[@]}")
  bench "${part}_tf32" $part "${size[@]}" "${frames[@]}" "${repeats[@]}" \
    --dtype float32 --precision default
done
bench training_remat training "${size[@]}" "${train[@]}" "${repeats[@]}" \
  --dtype bfloat16 --remat
bench breakdown model "${size[@]}" "${clip[@]}" "${repeats[@]}" \
  --dtype bfloat16 --breakdown
bench explain kernels "${size[@]}" "${train[@]}" --explain

$python - "$out" <<'PYTHON' | tee "$out/summary.txt"
import json
import pathlib
import sys


def figures(name):
  path = pathlib.Path(sys.argv[1]) / f"{name}.json"
  return json.loads(path.read_text()) if path.exists() else None


for dtype in ("bfloat16", "float32"):
  print(dtype)
  if report := figures(f"model_{dtype}"):
    found, frames = report["figures"], report["setup"]["frames"]
    print(f"  model, frames/s           {frames / found['seconds']:10.1f}")
    print(f"  further sentence, share   {found['further_share']:10.2f}")
    print(f"  compile, cold, s          {found['compile_cold_seconds']:10.1f}")
  if report := figures(f"segment_{dtype}"):
    found = report["figures"]
    for kind in ("mask", "folder"):
      rate = found[f"{kind}_frames_per_second"]
      print(f"  mp4 to {kind}s, frames/s".ljust(28) + f"{rate:10.1f}")
  if report := figures(f"training_{dtype}"):
    found = report["figures"]
    print(f"  training, clips/s         {found['clips_per_second']:10.2f}")
    print(f"  training, peak GB         {found['peak_memory_gb']:10.2f}")
print("kernels: kernels_*.txt")
PYTHON
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}; see $out/NAME.txt" | tee -a "$out/summary.txt"
  exit 1
fi
