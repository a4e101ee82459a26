#!/usr/bin/env bash
# The fast tests with the lowest versions that pyproject.toml allows, on the oldest interpreter there is, and with the
# newest versions, on the newest interpreter. Each environment takes about 6 GB of disk and of downloads.
#   scripts/test_matrix.sh                                        these two
#   SETS="3.12:highest 3.13:lowest-direct" scripts/test_matrix.sh    other sets, PYTHON:RESOLUTION
#   scripts/test_matrix.sh --resolve-only                         only ask whether the sets exist, for Python 3.10 to 3.13
# Other arguments are pytest's. A failure does not stop the other sets; the summary at the end names it. Interpreters of
# pyenv are found if they are active: PYENV_VERSION=3.10.13:3.13.0 scripts/test_matrix.sh
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
mkdir -p .matrix

resolve() {  # PYTHON RESOLUTION: writes the versions to a file and shows the main ones
    local extras=(--extra demo --extra onnx)
    [ "$2" != lowest-direct ] || extras=(--extra demo)  # the export needs a newer PyTorch than the rest
    "$BIN/uv" pip compile --quiet --python-version "$1" --resolution "$2" "${extras[@]}" --no-header --no-annotate \
        pyproject.toml --output-file ".matrix/$1-$2.txt"
    echo "== Python $1, $2: $(grep -E "^(nnunetv2|torch|numpy|monai|pandas)==" ".matrix/$1-$2.txt" | tr '\n' ' ')"
}

works() { "python$1" -c "" 2> /dev/null; }

there=()
for python in 3.10 3.11 3.12 3.13; do
    if [ "${1:-}" = --resolve-only ]; then
        resolve "$python" lowest-direct
        resolve "$python" highest
    elif works "$python"; then
        there+=("$python")
    fi
done
[ "${1:-}" != --resolve-only ] || exit 0
[ ${#there[@]} -gt 0 ] || { echo "There is no python3.10 to python3.13."; exit 1; }

summary=
for set in ${SETS:-${there[0]}:lowest-direct ${there[-1]}:highest}; do
    python=${set%:*} resolution=${set#*:} environment=.matrix/${set/:/-}
    resolve "$python" "$resolution"
    "$BIN/uv" venv --quiet --clear --python "python$python" "$environment"
    "$BIN/uv" pip install --quiet --python "$environment/bin/python" -r ".matrix/$python-$resolution.txt" -e . \
        "pytest>=8" "pytest-xdist>=3.7" "hypothesis>=6"
    outcome=passed
    OMP_NUM_THREADS=1 PATH="$PWD/$environment/bin:$PATH" "$environment/bin/python" -m pytest -q \
        -n "${JOBS:-2}" --dist loadfile --no-loadscope-reorder "$@" || outcome=FAILED
    summary+="Python $python, $resolution: $outcome"$'\n'
done
echo "$summary"
[[ $summary != *FAILED* ]]
