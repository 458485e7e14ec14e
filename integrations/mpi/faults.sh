#!/bin/bash
# What can happen to a run of several ranks, for real: processes killed and stopped, a full disk, images
# that one rank cannot read, a cable pulled out. After each, the job has to end by itself within 30 s with a
# status other than 0 and a message that names rank and host; the newest checkpoint has to be whole, and
# --resume has to go on from it.
#
#   faults.sh [--two-hosts]        (variables: see common.sh)
#
# KILLS   how often each rank is killed at a random moment [default: 3]
# RANDOM_SEED  of these moments [default: the clock's]
here=$(dirname "${BASH_SOURCE[0]}")
export SIZE=256m # of a host's file system: the full disk is quickly full
# shellcheck source=common.sh
source "$here/common.sh"

RANDOM=${RANDOM_SEED:-$(date +%N | sed 's/^0*//')}
patience=15 most=30
images=$runs/images
disk=$runs
if [ $hosts -eq 1 ] && [ "$(id -u)" -eq 0 ]; then
    disk=$folder/disk
    mkdir "$disk"
    mount -t tmpfs -o size=64m burn-zoo "$disk"
elif [ $hosts -eq 1 ]; then
    disk=
fi
at a "${helper[@]}" images "$images"
if [ $hosts -eq 2 ]; then at b "${helper[@]}" images "$images"; fi

count=0 failed=0
job=0 run='' log=''

newest() { at a ls "$run/checkpoints" 2>/dev/null | grep '^epoch-' | tail -1; }
now() { date +%s%3N; }
alive() { kill -0 "$job" 2>/dev/null; }

# Whether anything of the job is there, on two hosts also mpirun's daemon, which has no number of a rank.
left() { alive || [ -n "$(ranks "$run")" ] || { [ $hosts -eq 2 ] && [ -n "$("$here/two_hosts.sh" busy)" ]; }; }

launch() { # FLAGS
    (job 2 "$program" finetune "$@" --threads 1 --tensorboard off --no-report --parallel-timeout $patience) \
        >"$log" 2>&1 </dev/null &
    job=$!
}

# wait_for SECONDS COMMAND: until it succeeds, or the job is gone.
wait_for() {
    local end=$(($(now) + $1 * 1000))
    shift
    until "$@"; do
        [ "$(now)" -lt $end ] && alive || return 1
        sleep 0.1
    done
}

end_all() {
    local id
    kill -TERM "$job" 2>/dev/null || true
    wait_for 5 false || true
    for id in "$job" $(ranks "$run") $([ $hosts -eq 1 ] || "$here/two_hosts.sh" busy); do
        kill -9 "$id" 2>/dev/null || true
    done
    wait "$job" 2>/dev/null || true
}

started() { [ -n "$(newest)" ]; }
went_on() { local there; there=$(newest) && [ -n "$there" ] && [ "$there" != "$1" ]; }

print() { printf '%-38s %7s %5s  %-8s %-8s %s\n' "$@"; }

# fault NAME MESSAGE FOLDER BREAK REPAIR FLAGS: BREAK is called until the job has ended. MESSAGE has to be in
# the output; where it is "-" nobody is left who could say anything.
fault() {
    local name=$1 message=$2 where=$3 break=$4 repair=$5
    shift 5
    run=$where/run-$((++count)) log=$folder/$count.log
    local began took status line=- before whole opens=yes resumed=no wrong=''
    launch test_resnet --image-size 32 --weights random --batch-size 8 --epochs 100000 --schedule constant \
        --out "$run" "$@"
    if ! wait_for 60 started; then
        print "$name" "" "" "" "" "NO CHECKPOINT within 60 s: $(tail -1 "$log")"
        end_all
        failed=1
        return
    fi
    sleep "$((RANDOM % 2)).$((RANDOM % 1000))"

    # Bash would tell of each process that a signal ended.
    {
        began=$(now)
        $break
        while left && [ $(($(now) - began)) -lt $((most * 1000)) ]; do
            sleep 0.2
            $break again
        done
        took=$(($(now) - began))
        if left; then wrong+=" still there after $most s;"; fi
        status='?'
        if ! alive; then
            status=0
            wait "$job" || status=$?
        fi
        end_all
    } 2>/dev/null
    [ "$status" != 0 ] || wrong+=" status 0;"

    if [ "$message" != - ]; then
        # The last is mpirun's own, which can notice the cable before our ranks do.
        line=$(grep -aiE "rank [0-9]+.*($names)|($names).*rank [0-9]+|Remote daemon.*($names)" "$log" | head -1) || true
        [ -n "$line" ] || wrong+=" no line with rank and host;"
        grep -aqE "$message" "$log" || wrong+=" nothing about '$message';"
    fi
    $repair
    before=$(newest)
    whole=$(at a "${helper[@]}" check "$run" 2>&1) || { opens=no wrong+=" checkpoint: $whole;"; }

    log=$folder/$count.resume.log
    launch --resume "$run"
    if wait_for 60 went_on "$before"; then resumed=yes; else wrong+=" --resume: $(tail -1 "$log");"; fi
    end_all
    print "$name" "$((took / 1000)).$((took % 1000 / 100))" "$status" $opens $resumed "${line:0:150}"
    if [ -n "$wrong" ]; then
        echo "  FAILED:$wrong"
        sed 's/^/    | /' "$folder/$count.log" | tail -15
        failed=1
    fi
    at a rm -rf "$run"
}

# What breaks, and what repairs. `again` says that it is not the first call.
kill_rank() { [ -n "${1:-}" ] || kill -9 $(ranks "$run" "$victim"); }
stop_rank() { [ -n "${1:-}" ] || kill -STOP $(ranks "$run" "$victim"); }
kill_mpirun() { [ -n "${1:-}" ] || kill -9 "$job"; }
# Again and again: the run itself makes room, by what it deletes.
fill_disk() { at a sh -c 'cat /dev/zero >>"$0/filler" 2>/dev/null || true' "$disk"; }
empty_disk() { at a rm -f "$disk/filler"; }
# An image is read by one rank only; of two hosts, one has broken copies of them all.
break_images() {
    [ -z "${1:-}" ] || return 0
    if [ $hosts -eq 2 ]; then at b "${helper[@]}" damage "$images"; else "${helper[@]}" damage "$images" 1; fi
}
mend_images() { at b "${helper[@]}" images "$images"; }
pull_cable() { [ -n "${1:-}" ] || at b ip link set cable down; }
plug_cable() { at b ip link set cable up; }

small=(--limit-train 256 --limit-test 32)
print fault seconds code "opens" resumed message
for _ in $(seq "${KILLS:-3}"); do
    for victim in 1 0; do
        fault "rank $victim killed" "rank $victim" "$runs" kill_rank : "${small[@]}"
    done
done
for victim in 1 0; do
    fault "rank $victim stopped" rank "$runs" stop_rank : "${small[@]}"
done
if [ -n "$disk" ]; then
    fault "disk of rank 0 full" "No space left" "$disk" fill_disk empty_disk "${small[@]}"
else
    echo "disk of rank 0 full: left out, a small disk needs root"
fi
fault "images that one rank cannot read" "\.png" "$runs" break_images mend_images --data "$images"
fault "mpirun killed" - "$runs" kill_mpirun : "${small[@]}"
if [ $hosts -eq 2 ]; then
    fault "cable pulled out" "rank|lost communication" "$runs" pull_cable plug_cable "${small[@]}"
fi
exit $failed
