#!/bin/bash
# Tests the integrations with real trials. Ends with a status other than 0 at the first failure.
#
# PYTHON    an interpreter into whose environment missing packages are installed [default: a new environment]
# BURN_ZOO  the program [default: burn-zoo]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(command -v "${BURN_ZOO:-burn-zoo}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

if [ -z "${PYTHON:-}" ]; then
    python3 -m venv "$folder/venv"
    PYTHON=$folder/venv/bin/python
fi
"$PYTHON" -m pip install --quiet 'ray[tune]' optuna sqlalchemy 'psycopg[binary]' wandb pyyaml tensorboard pytest

# By its usual name, as the files for W&B, Katib and Slurm call it.
mkdir "$folder/bin"
ln -s "$(realpath "$program")" "$folder/bin/burn-zoo"
export PATH=$folder/bin:$PATH BURN_ZOO=burn-zoo
export PYTHONPATH=$here/ray:$here/tests PYTHONDONTWRITEBYTECODE=1
export RAY_TMPDIR=$folder RAY_USAGE_STATS_ENABLED=0 RAY_AIR_NEW_OUTPUT=0

cd "$folder"
"$PYTHON" -m pytest -x -rs --tb=short --durations=0 -p no:cacheprovider --basetemp="$folder/t" "$@" "$here/tests"
