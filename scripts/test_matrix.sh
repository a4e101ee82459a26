#!/usr/bin/env bash
# The fast tests with the lowest and with the newest versions that pyproject.toml allows, on each interpreter there is.
#   scripts/test_matrix.sh                    all of it
#   scripts/test_matrix.sh --resolve-only     only ask whether such sets of versions exist
#   PYTHONS="3.12 3.13" scripts/test_matrix.sh    these interpreters; otherwise 3.10 to 3.13
# A failure does not stop the others; the summary at the end names it.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin}
summary=
for python in ${PYTHONS:-3.10 3.11 3.12 3.13}; do
    for resolution in lowest-direct highest; do
        echo "== Python $python, $resolution"
        mkdir -p .matrix
        pins=.matrix/$python-$resolution.txt
        "$BIN/uv" pip compile --quiet --python-version "$python" --resolution "$resolution" --extra demo --extra onnx \
            --no-header --no-annotate pyproject.toml --output-file "$pins"
        grep -E "^(nnunetv2|torch|numpy|monai|pandas)==" "$pins" | tr '\n' ' '
        echo
        [ "${1:-}" != --resolve-only ] || continue
        if ! command -v "python$python" > /dev/null || ! "python$python" -c "" 2> /dev/null; then
            echo "python$python is not installed: not tested"
            continue
        fi
        environment=.matrix/$python-$resolution
        "$BIN/uv" venv --quiet --clear --python "python$python" "$environment"
        "$BIN/uv" pip install --quiet --python "$environment/bin/python" -r "$pins" -e . "pytest>=8" \
            "pytest-xdist>=3.6" "hypothesis>=6"
        outcome=passed
        OMP_NUM_THREADS=1 PATH="$PWD/$environment/bin:$PATH" "$environment/bin/python" -m pytest -q \
            -n "${JOBS:-2}" --dist loadfile "$@" || outcome=FAILED
        summary+="Python $python, $resolution: $outcome"$'\n'
    done
done
echo "$summary"
[[ $summary != *FAILED* ]]
