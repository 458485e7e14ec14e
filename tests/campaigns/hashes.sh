#!/usr/bin/env bash
# Prints the SHA-256 of the best weights of short seeded runs: everything trains, gradual unfreezing
# with averaged weights, a frozen backbone with cached features, a vision transformer; each with 1 and
# with 2 threads. Last, those of a run that an earlier version began (tests/fixtures/run-0.1).
#
#   tests/campaigns/hashes.sh [BINARY] > hashes.txt
#
# BINARY is the built `burn-zoo` (target/release/burn-zoo by default). A change that should not change
# results leaves every line as it was. Compare hashes on the same machine only: other instruction sets
# and other system libraries round differently.

set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."
binary=$(realpath -e -- "${1:-target/release/burn-zoo}")

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

# best_hash NAME THREADS ARGUMENT ..: fine-tunes, and prints a line.
best_hash() {
    local name=$1 threads=$2 run=$work/$1-$2
    shift 2
    if ! "$binary" --threads "$threads" finetune "$@" --seed 3 --limit-test 100 --no-report \
        --tensorboard off --out "$run" >"$work/log" 2>&1; then
        cat "$work/log" >&2
        return 1
    fi
    echo "$name threads=$threads $(sha256sum <"$run/best/model.safetensors" | cut -c 1-64)"
}

bundled=(resnet18 --weights bundled)
for threads in 1 2; do
    best_hash full "$threads" "${bundled[@]}" --limit-train 300 --epochs 2 --batch-size 32 \
        --schedule cosine
    best_hash gradual "$threads" "${bundled[@]}" --recipe gradual --ema 0.99 --limit-train 200 \
        --epochs 3 --batch-size 32
    best_hash features "$threads" "${bundled[@]}" --recipe features --feature-cache memory \
        --limit-train 300 --epochs 3
    best_hash vit "$threads" test_vit --image-size 160 --in-channels 1 --limit-train 60 --epochs 1 \
        --batch-size 16
done

# A run that an earlier version began, and stopped in its second epoch, goes on here.
cp -r tests/fixtures/run-0.1/interrupted "$work/interrupted"
"$binary" --threads 2 finetune --resume "$work/interrupted" --no-report >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
echo "resumed threads=2 $(sha256sum <"$work/interrupted/best/model.safetensors" | cut -c 1-64)"
