#!/usr/bin/env bash
# Every figure of a GPU, on a machine with one; then the tables of docs/benchmarks.md.
#   bash benchmarks/gpu.sh
#   bash benchmarks/gpu.sh --tiny   small sizes, also without a GPU, into results of its own
set -eo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="${PYTHON:-python}"
short=(job.steps=20 job.seconds=5)
if [ "${1:-}" = --tiny ]; then
    export DMTC_RESULTS="${DMTC_RESULTS:-$(mktemp -d)}"
    "$python" "$here/gpu.py" --tiny --repeats 1
    exit
fi
"$python" "$here/gpu.py" --repeats 3
"$python" "$here/recipe.py" dmtc_cityscapes_1_8 run.device=cuda "${short[@]}"
"$python" "$here/recipe.py" dmtc_voc_1_8 run.device=cuda "${short[@]}"
"$python" "$here/table.py"
