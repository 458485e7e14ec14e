#!/usr/bin/env bash
# burn-zoo on a GPU beside PyTorch, in one command of at most 12 minutes that needs no network:
# agreement with the CPU, the first start, a fine-tuning run, NCCL, steps. See benches/gpu.py.
#
#   cargo build --release --features cuda
#   bash benches/gpu.sh --out DIR            writes DIR/gpu.json, DIR/gpu.md, DIR/autotune.jsonl
#   bash benches/gpu.sh --device cpu --tiny  tries the script itself, without a GPU
#
# BURN_ZOO           the command, by default target/release/burn-zoo
# PYTHON             a Python with torch, timm and numpy, by default python3
# FASHION_MNIST_DIR  FashionMNIST's four files; without it, the bundled sample is trained on
set -euo pipefail

fail() {
    echo "gpu.sh: $*" >&2
    exit 2
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BURN_ZOO=${BURN_ZOO:-$here/../target/release/burn-zoo}
PYTHON=${PYTHON:-python3}
BURN_ZOO=$(command -v "$BURN_ZOO") ||
    fail "BURN_ZOO: no such command; build it with \`cargo build --release --features cuda\`, or name one"
command -v "$PYTHON" >/dev/null || fail "PYTHON: no such command: $PYTHON"
for package in torch timm numpy; do
    "$PYTHON" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$package') is None)" ||
        fail "PYTHON: $PYTHON lacks the package $package"
done
export BURN_ZOO
exec "$PYTHON" "$here/gpu.py" "$@"
