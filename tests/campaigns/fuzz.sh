#!/usr/bin/env bash
# Fuzzes the public doors of the library and prints a table: executions, seconds, edges, findings.
#
#   tests/campaigns/fuzz.sh [--runs N] [--seconds N] [--keep] [TARGET ..]
#
# Without targets it is all of them. Each runs N times (1000000), the slow ones (image, resize,
# checkpoint) for so many seconds together (3600); --seconds N alone gives every target N seconds.
# --keep takes what was found into fuzz/corpus, minimised, as far as it stays small. It needs
# cargo-fuzz and a C++ compiler, and runs on a stable toolchain, on one core.
#
# A finding is an input that panics, takes more than 20 seconds, or more memory than it is worth; it
# lies in fuzz/artifacts/TARGET, and `cargo fuzz run -s none TARGET FILE` repeats it.

set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

slow=(image resize checkpoint)
runs=1000000 seconds=0 slow_seconds=3600 keep=0 targets=()
while [ $# -gt 0 ]; do
    case $1 in
        --runs) runs=$2; shift 2 ;;
        --seconds) seconds=$2; shift 2 ;;
        --slow-seconds) slow_seconds=$2; shift 2 ;;
        --keep) keep=1; shift ;;
        -*) sed -n '2,12s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
        *) targets+=("$1"); shift ;;
    esac
done
all=$(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' fuzz/Cargo.toml)
[ ${#targets[@]} -gt 0 ] || mapfile -t targets <<<"$all"

# The versions that the library is tested with.
cp Cargo.lock fuzz/Cargo.lock
export RUSTC_BOOTSTRAP=1
# No sanitizer: only the kernels in crates/cpu have unsafe code, and it would be several times slower. The allocator of the targets bounds the memory.
cargo fuzz build -s none >&2 || exit 1
built=fuzz/target/$(rustc -vV | sed -n 's/^host: //p')/release

# The targets write files; a file system in memory spares the disk.
scratch=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
trap 'rm -rf -- "$scratch"' EXIT

# number NAME FILE: the last figure of libFuzzer's that has this name.
number() { grep -ao "$1:* *[0-9]*" "$2" | tail -n 1 | grep -o '[0-9]*$' || echo 0; }

faults=0
table="| target | executions | seconds | edges | corpus | findings |\n|---|---:|---:|---:|---:|---:|"
for target in "${targets[@]}"; do
    limit=(-runs="$runs") time=0
    if [ "$seconds" -gt 0 ]; then
        time=$seconds
    elif [[ " ${slow[*]} " == *" $target "* ]]; then
        time=$((slow_seconds / ${#slow[@]}))
    fi
    found=fuzz/found/$target
    artifacts=fuzz/artifacts/$target
    mkdir -p "$found" "$artifacts"
    dictionary=()
    [ ! -e "fuzz/dictionaries/$target.dict" ] || dictionary=(-dict="fuzz/dictionaries/$target.dict")
    executions=0 edges=0 findings=0 started=$SECONDS
    # A finding ends the process; a few are looked for.
    while [ "$findings" -lt 5 ]; do
        if [ "$time" -gt 0 ]; then
            left=$((time - (SECONDS - started)))
            limit=(-max_total_time="$left")
        else
            left=$((runs - executions))
            limit=(-runs="$left")
        fi
        [ "$left" -gt 0 ] || break
        TMPDIR=$scratch nice -n 19 "$built/$target" "$found" "fuzz/corpus/$target" "${limit[@]}" \
            "${dictionary[@]}" -max_len=4096 -timeout=20 -rss_limit_mb=4096 -detect_leaks=0 \
            -artifact_prefix="$artifacts/" -print_final_stats=1 >"$scratch/log" 2>&1
        status=$?
        executions=$((executions + $(number stat::number_of_executed_units "$scratch/log")))
        reached=$(number cov "$scratch/log")
        [ "$reached" -le "$edges" ] || edges=$reached
        rm -rf -- "$scratch"/burn-zoo-fuzz-*
        [ "$status" -ne 0 ] || break
        findings=$((findings + 1))
        echo "FOUND by $target:" >&2
        grep -aE "panicked|^==|ERROR|Test unit written" -A 1 "$scratch/log" | head -n 12 >&2
    done
    faults=$((faults + findings))
    inputs=$(find "$found" -type f | wc -l)
    row="| $target | $executions | $((SECONDS - started)) | $edges | $inputs | $findings |"
    echo "$row" >&2
    table+="\n$row"

    if [ "$keep" -eq 1 ]; then
        # Everything that adds an edge, smallest first, as long as there is room.
        merged=$scratch/merged
        rm -rf -- "$merged"
        mkdir "$merged"
        TMPDIR=$scratch "$built/$target" -merge=1 -use_counters=0 -timeout=20 "$merged" \
            "fuzz/corpus/$target" "$found" >"$scratch/log" 2>&1
        room=16384
        known=$(find "fuzz/corpus/$target" -type f -exec sha1sum {} + | cut -c 1-40)
        while read -r size path; do
            sum=$(sha1sum <"$path" | cut -c 1-40)
            ! grep -q "$sum" <<<"$known" || continue
            room=$((room - size))
            [ "$room" -ge 0 ] || break
            cp "$path" "fuzz/corpus/$target/$sum"
        done < <(find "$merged" -type f -printf '%s %p\n' | sort -n)
    fi
done
echo -e "$table"
[ "$faults" -eq 0 ]
