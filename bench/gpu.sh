#!/bin/bash
# All that a GPU can show, in at most eight minutes on a bare machine with torch, pytest and nvcc:
#   bench/gpu.sh FOLDER
# Builds for the architecture of this GPU, then: tests of every backend, kernels beside the copy
# bandwidth, training to equal quality, samples a second, memory. FOLDER gets a log of each step,
# steps.tsv (step, exit code, seconds) and gpu_models.json; bench/records gets the record.
set -u
out=$(realpath -m "${1:?the folder of the results}")
python=${PYTHON:-python3}
total=${SECONDS_IN_ALL:-480}
mkdir -p "$out"
: > "$out/steps.tsv"
cd "$(dirname "$0")/.." || exit 1
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1

# step NAME MOST COMMAND…: runs it for MOST seconds at most, or those that are left
step() {
    local name=$1 most=$2 began=$SECONDS left=$((total - SECONDS)) code
    shift 2
    if ((left < 5)); then
        printf '%s\tno time left\t0\n' "$name" | tee -a "$out/steps.tsv"
        return
    fi
    timeout $((most < left ? most : left)) "$@" > "$out/$name.log" 2>&1
    code=$?
    printf '%s\t%s\t%s\n' "$name" "$code" $((SECONDS - began)) | tee -a "$out/steps.tsv"
}

architecture=$("$python" -c 'import torch; print("".join(map(str, torch.cuda.get_device_capability())))') || exit 1
nvidia-smi > "$out/nvidia-smi.log" 2>&1
export CMAKE_ARGS="-DCMAKE_CUDA_ARCHITECTURES=$architecture"
step build 150 "$python" setup.py build_ext --inplace
step tests 120 "$python" -m pytest -q -p no:cacheprovider tests/ops tests/test_device.py
step kernels 90 "$python" -m pytest -q -s -p no:cacheprovider bench/test_gpu.py --record
step models 180 "$python" -m bench.gpu_models "$out/gpu_models.json"
cp bench/records/*.json "$out/" 2> /dev/null
! grep -vqP '\t0\t' "$out/steps.tsv"
