#!/bin/bash
# Two hosts: a run that is killed and resumed ends with the weights of one that is not, with as many ranks and
# with one; then images a second of ResNet-18 beside those of one process. Variables: see common.sh.
here=$(dirname "${BASH_SOURCE[0]}")
set -- --two-hosts
# shellcheck source=common.sh
source "$here/common.sh"

# logged COMMAND: its output only if it fails.
logged() { ("$@") >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }; }
last() { at a "${helper[@]}" log "$@"; }

flags=(--threads 1 --tensorboard off --no-report)
recipe=("${flags[@]}" --weights random --data fashion-mnist-mini --schedule constant --seed 1)
small=(test_resnet --image-size 32 --batch-size 16 --epochs 12 --limit-train 1024 --limit-test 64)

echo "without a break"
logged job 2 "$program" finetune "${small[@]}" "${recipe[@]}" --out "$runs/whole"

(job 2 "$program" finetune "${small[@]}" "${recipe[@]}" --out "$runs/killed") >"$folder/log" 2>&1 &
for _ in $(seq 600); do
    at a sh -c "ls $runs/killed/checkpoints | grep -q ^epoch-" 2>/dev/null && break
    sleep 0.1
done
sleep "0.$((RANDOM % 10))"
victim=$(ranks "$runs/killed" 1)
[ -n "$victim" ] || { echo "the run had ended, or never began:"; cat "$folder/log"; exit 1; }
kill -9 "$victim"
if wait $! 2>/dev/null; then
    echo "a run without one of its ranks ended with status 0"
    exit 1
fi
echo "killed on host b after $(at a "${helper[@]}" check "$runs/killed")"

at a cp -r "$runs/killed" "$runs/alone"
logged job 2 "$program" finetune --resume "$runs/killed" "${flags[@]}"
echo "resumed by 2 ranks, and without a break:"
at a "${helper[@]}" compare "$runs/killed" "$runs/whole"
logged at a "$program" finetune --resume "$runs/alone" "${flags[@]}"
echo "resumed by one process: validation loss $(last "$runs/alone" valid_loss) at epoch $(last "$runs/alone" epoch)," \
    "and $(last "$runs/whole" valid_loss) by two"

# The last epoch: the first one has everything that happens once.
speed=(resnet18 --epochs 3 --batch-size 64 --limit-test 64)
logged job 2 "$program" finetune "${speed[@]}" "${recipe[@]}" --limit-train 1280 --out "$runs/two"
logged at a "$program" finetune "${speed[@]}" "${recipe[@]}" --limit-train 640 --out "$runs/one"
two=$(last "$runs/two" images_per_second)
one=$(last "$runs/one" images_per_second)
awk -v one="$one" -v two="$two" 'BEGIN {
    printf "ResNet-18 at 28 pixels, 64 images a rank: %.0f images a second by two hosts, %.0f by one: %.2f times\n",
        two, one, two / one }'
