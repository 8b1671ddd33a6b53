#!/usr/bin/env bash
# Every benchmark, one after the other, on an otherwise idle machine; then the tables of docs/benchmarks.md and README.md.
#   bash benchmarks/all.sh --dmtc CHECKOUT --dmt CHECKOUT --reco CHECKOUT
# Checkouts are of MohammadDehghan/DMTC, voldemortX/DST-CBC and lorenmt/reco; without one, its part is not compared.
set -eo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
python="$(realpath -s "$(type -P "${PYTHON:-python}")")"
dmtc=() dmt=() reco=()
while [ $# -gt 0 ]; do
    folder="$(realpath -e "${2:?$1 needs a folder}")"
    case "$1" in
        --dmtc) dmtc=(--reference "$folder") ;;
        --dmt) dmt=(--reference "$folder") ;;
        --reco) reco=(--reco "$folder") ;;
        *) echo "unknown option $1; see the head of this file" >&2; exit 2 ;;
    esac
    shift 2
done

cd "$(mktemp -d)" # the published code leaves files where it runs

measure() {
    echo "== $1" >&2
    "$python" "$here/$@"
}

measure startup.py
measure side_by_side.py
measure runs_at_once.py --repeats 1
measure processes.py --repeats 3
measure many.py
measure loader.py "${dmt[@]}" --threads 1
measure loader.py "${dmt[@]}" --threads 1 --handed-over
measure labelling.py "${dmt[@]}" --repeats 3
measure contrast.py "${dmtc[@]}" "${reco[@]}" --repeats 3
measure scaling.py --repeats 3
measure recipe.py dmtc_voc_1_8 run.device=cpu
measure online.py --repeats 3
measure bare.py --repeats 3 --threads 1 --trained
measure guard.py --repeats 3 --threads 1 --store
measure step.py "${dmtc[@]}" --repeats 3
"$python" "$here/table.py"
