#!/usr/bin/env bash
# Build wheel and source distribution, install the wheel into an empty environment, and try what works there.
# The dependencies are left out: the command line and the package data must not need them.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${BIN:-.venv/bin} PYTHON=${PYTHON:-python3}
unset PYTHONPATH  # or the repository would be found instead of what was installed
rm -rf dist build
"$BIN/python" -m build --outdir dist .
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$PYTHON" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-deps dist/*.whl
"$BIN/python" scripts/check_package.py dist
cd "$folder"  # not in the repository, whose folder would be imported instead
"$folder/env/bin/nnUNetv2_dualagg" --version
"$folder/env/bin/nnUNetv2_dualagg" --help > help.txt
"$folder/env/bin/nnUNetv2_dualagg" path
grep -q convert_iseg help.txt
echo "The package installs, and its command line works."
