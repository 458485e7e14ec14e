#!/bin/bash
# N ranks with batches of B / N train as one rank with batches of B does: weights of the last checkpoints.
#
#   equality.sh [--two-hosts]        (variables: see common.sh)
#
# RANKS  numbers of ranks, which divide 32 [default: "2 4"]
#
# Sums in another order round differently, and a ReLU or a max-pool turns a difference of 1e-7 into another
# gradient once two numbers are as close. In PyTorch alone, with nothing but the order of the images within
# each batch changed, ResNet-18 on images of 28 pixels (SGD, momentum 0.9) differs by this much at most:
#
#   rate 0.01, after 1 step       3e-6 for 8 seeds at a rate of 1e-4
#   rate 0.01, after 3 steps      5e-5 to 3e-3
#   rate 0.01, after 20 steps     0.5
#   rate 0.0001, after 10 steps   3e-6 to 4e-3
#
# So it is compared after one step, for several seeds: that covers the sums of gradients and the statistics
# of batches, forward and backward. What many steps add (momentum, the order of images, the ranks' drift)
# shows in models without kinks: a transformer, 2e-6 after 20 steps, and an EfficientNet with SiLU and batch
# normalisation, up to 5e-4. The latter has statistics that are zero but for rounding, hence its floor.
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=common.sh
source "$here/common.sh"

batch=32
count=0
failed=0

train() { # RANKS RUN FLAGS
    local ranks=$1 run=$2
    shift 2
    local command=("$program" finetune "$@" --weights random --data fashion-mnist-mini --limit-test 64 --epochs 1
        --optimizer sgd:momentum=0.9 --schedule constant --augment none --drop-rate 0 --threads 1
        --tensorboard off --no-report --out "$run" --batch-size)
    case $ranks in
    1) at a "${command[@]}" $batch ;;
    cpu:*) at a "${command[@]}" $((batch / ${ranks#cpu:})) --devices "$ranks" --sync-batch-norm ;;
    *) (job "$ranks" "${command[@]}" $((batch / ranks)) --sync-batch-norm) ;;
    esac >"$folder/log" 2>&1 || { cat "$folder/log"; echo "FAILED: $ranks"; return 1; }
}

row() { # LIMIT FLOOR FLAGS
    local limit=$1 floor=$2 ranks one
    shift 2
    one=$runs/$((++count))
    echo "$*"
    train 1 "$one" "$@"
    for ranks in ${RANKS:-2 4} $([ $hosts -eq 2 ] || echo cpu:2); do
        echo " $ranks ranks of $((batch / ${ranks#cpu:})) and one of $batch:"
        train "$ranks" "$runs/$((++count))" "$@" &&
            at a "${helper[@]}" compare "$runs/$count" "$one" --limit "$limit" --floor "$floor" || failed=1
    done
}

for seed in 1 2 3; do
    row 1e-5 0 resnet18 --lr 0.01 --limit-train 32 --seed $seed
done
row 1e-5 0 vit_tiny_patch16_224 --small-images --lr 0.01 --limit-train 640 --seed 1
row 5e-3 1e-3 test_efficientnet --image-size 64 --lr 0.01 --limit-train 640 --seed 1
[ $failed -eq 0 ] && echo "all equal"
exit $failed
