# shellcheck shell=bash
# What the tests of this folder share; they source it, with their own flags.
#
# BURN_ZOO  the program, built with the feature mpi [default: burn-zoo]
# PYTHON    an interpreter with numpy and safetensors [default: a new environment]
#
# With --two-hosts as the first flag everything runs on the two hosts of two_hosts.sh, else on this one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "$(command -v "${BURN_ZOO:-burn-zoo}")") || { echo "BURN_ZOO is not a program" >&2; exit 1; }
folder=$(mktemp -d)
hosts=1
if [ "${1:-}" = --two-hosts ]; then
    hosts=2
    shift
fi

# Exactly what these tests started ends with them: see `ranks` and two_hosts.sh.
cleanup() {
    local id
    for id in $(ranks "$folder"); do kill -9 "$id" 2>/dev/null || true; done
    if [ $hosts -eq 2 ]; then "$here/two_hosts.sh" down; fi
    if mountpoint -q "$folder/disk"; then umount -l "$folder/disk"; fi
    rm -rf "$folder" "${OMPI_MCA_btl_vader_backing_directory:-}"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if [ -z "${PYTHON:-}" ]; then
    if ! python3 -c 'import numpy, safetensors' 2>/dev/null; then
        python3 -m venv "$folder/venv"
        "$folder/venv/bin/python" -m pip install --quiet numpy safetensors
        PYTHON=$folder/venv/bin/python
    fi
fi
helper=("${PYTHON:-python3}" "$here/helper.py")

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
if [ $hosts -eq 2 ]; then
    # The folder of runs is the one that each host has for itself.
    export RUNS=$folder/runs
    "$here/two_hosts.sh" up
    names='burn-zoo-[ab]|10\.77\.0\.[12]' # mpirun calls the other host by its address
else
    mkdir "$folder/runs" "$folder/mpi"
    export OMPI_MCA_orte_tmpdir_base=$folder/mpi
    names=$(uname -n)
    # A killed mpirun leaves its shared memory behind, too: in a folder that is removed at the end.
    OMPI_MCA_btl_vader_backing_directory=$(mktemp -d -p /dev/shm burn-zoo-mpi.XXXXXX)
    export OMPI_MCA_btl_vader_backing_directory
fi
runs=$folder/runs

# job RANKS COMMAND: a parallel job in place of this process, for ( .. ) or a background job.
job() {
    local ranks=$1
    shift
    if [ $hosts -eq 2 ]; then
        exec "$here/two_hosts.sh" run -n "$ranks" "$@"
    fi
    exec mpirun -n "$ranks" --bind-to none --oversubscribe --mca mpi_yield_when_idle 1 "$@"
}

# at HOST COMMAND: on that host, a or b, or simply here. Rank 0 is on host a.
at() {
    local host=$1
    shift
    if [ $hosts -eq 2 ]; then
        "$here/two_hosts.sh" on "$host" "$@"
    else
        "$@"
    fi
}

# ranks TEXT [RANK]: process ids of the ranks whose command line has the text, such as a run folder.
ranks() {
    local file
    for file in $(grep -alsF -- "$1" /proc/[0-9]*/cmdline); do
        # Without a pipe, which pipefail takes for failed where grep ends first.
        if grep -zqsx "OMPI_COMM_WORLD_RANK=${2:-[0-9]*}" "${file%cmdline}environ"; then
            file=${file%/cmdline}
            echo "${file#/proc/}"
        fi
    done
}

# An error that comes after MPI was joined.
answer=$( (job 2 "$program" finetune nothing --data fashion-mnist-mini --limit-test 10) 2>&1 || true)
if [[ $answer != *"unknown model"* ]]; then
    echo "$answer" >&2
    echo "$program is not built with the feature mpi, or mpirun does not start it" >&2
    exit 1
fi
