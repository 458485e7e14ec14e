#!/usr/bin/env bash
# Kills, full disks, read-only folders and second processes: does a run go on to the same weights?
#
#   tests/campaigns/kills.sh [--kills N] [--disks N] [--pairs N] [--seed N] [COMMAND]
#
# COMMAND is the built `burn-zoo` (target/release/burn-zoo by default). Full disks and read-only
# folders are small tmpfs mounts, which take root; without it they are left out, and the last line
# says so. Ends with a table in Markdown, and with an error if anything was not as it should be; the
# folder of a run that went wrong is kept.

set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

kills=100 disks=20 pairs=20 seed=1 command=target/release/burn-zoo
while [ $# -gt 0 ]; do
    case $1 in
        --kills) kills=$2; shift 2 ;;
        --disks) disks=$2; shift 2 ;;
        --pairs) pairs=$2; shift 2 ;;
        --seed) seed=$2; shift 2 ;;
        -*) sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
        *) command=$1; shift ;;
    esac
done
command=$(realpath -e -- "$command") || exit 2
RANDOM=$seed

work=$(mktemp -d)
disk=$work/disk
mkdir "$disk"
faults=0
finish() {
    mountpoint -q "$disk" && umount -l "$disk"
    if [ "$faults" -eq 0 ]; then rm -rf -- "$work"; else echo "kept: $work" >&2; fi
}
trap finish EXIT

# Everything that has a state: an average, groups that join one by one, features on disk, and a
# checkpoint every third step.
train=(finetune test_resnet --recipe gradual --epochs 5 --limit-train 640 --limit-test 200
    --batch-size 16 --lr 3e-3 --ema 0.99 --feature-cache disk --checkpoint-steps 3 --no-report)

# fault TEXT: something is not as it should be.
fault() {
    faults=$((faults + 1))
    echo "FAULT: $*" >&2
}

# random LOW HIGH: a whole number in LOW..HIGH.
random() { echo $(($1 + (RANDOM * 32768 + RANDOM) % ($2 - $1 + 1))); }

# wait_ms MILLISECONDS
wait_ms() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }

now_ms() { echo $(($(date +%s%N) / 1000000)); }

sum() { sha256sum <"$1" | cut -c 1-64; }

# has_checkpoint RUN: whether there is one to go on from.
has_checkpoint() { compgen -G "$1/checkpoints/epoch-*/state.json" >/dev/null; }

# leftovers RUN: what is in a run folder that a run does not leave.
leftovers() {
    find "$1" \( -name '.burn-zoo-*' -o -name '.unfinished-*' -o -name '.best-*' \
        -o -name .previous -o -name features -o -name '*.tmp' \)
}

# check_whole RUN WHERE: a finished run equals the one that was never interrupted.
check_whole() {
    local run=$1 where=$2 left
    if [ "$(sum "$run/best/model.safetensors" 2>/dev/null)" != "$weights" ]; then
        fault "$where: other weights in $run/best"
    fi
    if ! cmp -s "$run/steps.csv" "$work/whole/steps.csv"; then
        fault "$where: other steps in $run/steps.csv"
    fi
    if [ "$(tail -n +2 "$run/log.csv" | cut -d , -f 1 | tr '\n' ' ')" != "1 2 3 4 5 " ]; then
        fault "$where: $run/log.csv does not have each epoch once"
    fi
    left=$(leftovers "$run")
    if [ -n "$left" ]; then
        fault "$where: left behind: $left"
        left_behind=$((left_behind + 1))
    fi
}

# begin RUN: starts a run, or goes on with one, in the background; its id is in `child`.
begin() {
    if has_checkpoint "$1"; then
        "$command" finetune --no-report --resume "$1" >"$work/log" 2>&1 &
    else
        # Before the first checkpoint a run can only be started again.
        "$command" "${train[@]}" --overwrite --out "$1" >"$work/log" 2>&1 &
    fi
    child=$!
}

# complete RUN WHERE: starts or goes on, to the end.
complete() {
    begin "$1"
    if ! wait "$child"; then
        fault "$2: $(tail -n 3 "$work/log")"
        return 1
    fi
}

echo "the run that is not interrupted" >&2
started=$(now_ms)
"$command" "${train[@]}" --out "$work/whole" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
length=$(($(now_ms) - started))
weights=$(sum "$work/whole/best/model.safetensors")
bytes=$(du -sb "$work/whole" | cut -f 1)
left_behind=0
[ -z "$(leftovers "$work/whole")" ] || fault "the whole run left $(leftovers "$work/whole")"

# ---- Killed at random moments --------------------------------------------------------------------

killed=0 runs=0 before_first=0 no_way=0
while [ "$killed" -lt "$kills" ]; do
    run=$work/killed-$runs
    runs=$((runs + 1))
    for _ in 1 2 3 4 5 6 7 8; do
        [ "$killed" -lt "$kills" ] || break
        begin "$run"
        wait_ms "$(random 5 $((length * 2 / 3)))"
        if kill -9 "$child" 2>/dev/null; then
            killed=$((killed + 1))
            has_checkpoint "$run" || before_first=$((before_first + 1))
        fi
        wait "$child" 2>/dev/null
        status=$?
        # 137 is killed; anything but that and success is a run that could not be started.
        if [ "$status" -ne 0 ] && [ "$status" -ne 137 ]; then
            no_way=$((no_way + 1))
            fault "after a kill: $(tail -n 3 "$work/log")"
            rm -rf -- "$run"
        fi
        [ "$status" -ne 0 ] || break
    done
    complete "$run" "killed run $runs" && check_whole "$run" "killed run $runs"
    [ "$faults" -gt 0 ] || rm -rf -- "$run"
    echo "killed $killed of $kills, $runs runs" >&2
done

# ---- Full disks and read-only folders --------------------------------------------------------------

full=0 first_full=0 read_only=0
if [ "$disks" -gt 0 ] && ! mount -t tmpfs -o size=1m burn-zoo "$disk" 2>/dev/null; then
    disks=0
fi
mountpoint -q "$disk" && umount "$disk"
for round in $(seq "$disks"); do
    run=$disk/run
    if [ $((round % 2)) -eq 0 ]; then
        # Too small for a run.
        size=$(random 65536 $((bytes - 65536)))
        mount -t tmpfs -o "size=$size" burn-zoo "$disk" || { fault "no mount"; break; }
    else
        # Room enough until there is a checkpoint, and then for less than another one.
        size=$((bytes * 4))
        mount -t tmpfs -o "size=$size" burn-zoo "$disk" || { fault "no mount"; break; }
        begin "$run"
        until has_checkpoint "$run" || ! kill -0 "$child" 2>/dev/null; do sleep 0.01; done
        kill -9 "$child" 2>/dev/null
        wait "$child" 2>/dev/null
        free=$(($(stat -f -c '%a * %S' "$disk")))
        size=$(random 4096 $((bytes / 2)))
        head -c "$((free - size))" /dev/zero >"$disk/other"
    fi
    where="disk $round with room for $size bytes"
    begin "$run"
    if wait "$child"; then
        fault "$where: it did not fill"
    else
        full=$((full + 1))
        grep -q 'No space left on device' "$work/log" && grep -qF "$disk" "$work/log" ||
            fault "$where: the error does not say it: $(tail -n 3 "$work/log")"
        has_checkpoint "$run" || first_full=$((first_full + 1))
        before=$(find "$disk" -name '.burn-zoo-*' -o -name '.unfinished-*' -o -name '.best-*')
        [ -z "$before" ] || fault "$where: left behind when it was full: $before"
    fi

    # Read-only: nothing is changed, and the path is named.
    before=$(cd "$disk" && find . -type f -exec sha256sum {} + | sort)
    mount -o remount,ro "$disk"
    begin "$run"
    if wait "$child"; then
        fault "$where: it ran in a read-only folder"
    else
        read_only=$((read_only + 1))
        grep -q 'Read-only file system' "$work/log" && grep -qF "$disk" "$work/log" ||
            fault "$where: read-only, the error does not say it: $(tail -n 3 "$work/log")"
    fi
    after=$(cd "$disk" && find . -type f -exec sha256sum {} + | sort)
    [ "$before" = "$after" ] || fault "$where: files of a read-only folder changed"

    # There is room again.
    mount -o "remount,rw,size=$((bytes * 4 + (64 << 20)))" "$disk"
    rm -f -- "$disk/other"
    complete "$run" "$where, with room" && check_whole "$run" "$where, with room"
    [ "$faults" -eq 0 ] || cp -r "$run" "$work/disk-$round"
    umount "$disk"
    echo "disk $round of $disks: room for $size bytes" >&2
done

# ---- Two processes -------------------------------------------------------------------------------

refused=0 tried=0
for round in $(seq "$pairs"); do
    run=$work/pair
    rm -rf -- "$run"
    begin "$run"
    first=$child
    wait_ms "$(random 5 $((length / 2)))"
    # One that would replace the run, and one that would go on with it.
    second=("${train[@]}" --overwrite --out "$run")
    if [ $((round % 2)) -eq 0 ] && has_checkpoint "$run"; then
        second=(finetune --no-report --resume "$run")
    fi
    if [ -e "$run/config.toml" ] && kill -0 "$first" 2>/dev/null; then
        tried=$((tried + 1))
        if "$command" "${second[@]}" >"$work/log-2" 2>&1; then
            fault "pair $round: the second process was not refused (${second[*]})"
        elif ! grep -qF "$run" "$work/log-2"; then
            fault "pair $round: the error does not name the folder: $(tail -n 3 "$work/log-2")"
        else
            refused=$((refused + 1))
        fi
    fi
    wait "$first" || fault "pair $round: the first process: $(tail -n 3 "$work/log")"
    check_whole "$run" "pair $round"
    echo "pair $round of $pairs" >&2
done

cat <<TABLE
| what | times | of them | as they should be |
|---|---:|---|---|
| killed at random (seed $seed, runs of $length ms) | $killed | $before_first before the first checkpoint; $runs runs, $no_way not to be started again | the same weights, steps and epochs at the end |
| disk full | $full | $first_full before the first checkpoint | error names the file; with room, the same weights |
| read-only folder | $read_only | | error names the file; nothing changed |
| second process in a run folder | $tried | $refused refused | error names the folder; the first ends with the same weights |
| temporary files left by a finished run | $left_behind | | none |
| faults | $faults | | none |
TABLE
[ "$disks" -gt 0 ] || echo "Without root, disks were neither filled nor made read-only."
[ "$faults" -eq 0 ]
