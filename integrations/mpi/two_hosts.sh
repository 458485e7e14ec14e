#!/bin/bash
# Two hosts on one machine, to try what only happens between hosts: two network namespaces joined by a
# cable, each with its own host name, its own /dev/shm and its own file system for run folders.
#
#   two_hosts.sh up                       make them; what an earlier run left is taken down before
#   two_hosts.sh run [-n RANKS] COMMAND   mpirun on host a: half of the ranks (of 2) on each host
#   two_hosts.sh on a|b COMMAND           run a command on one host
#   two_hosts.sh busy                     process ids of what runs there
#   two_hosts.sh down                     end what runs there and take them down
#
# `run` makes them and takes them down again if they were not up. Needs root and iproute2.
#
# RUNS    the folder that each host has for itself [default: burn-zoo-two-hosts/runs in TMPDIR]
# SIZE    of its file system, a tmpfs [default: 2g]
# RATE    of the cable, in each direction [default: 1gbit]
# DELAY   of the cable, in each direction [default: 1ms]
# MPIRUN_FLAGS  more flags of mpirun
set -euo pipefail

self=$(realpath "${BASH_SOURCE[0]}")
state=${TMPDIR:-/tmp}/burn-zoo-two-hosts
runs=${RUNS:-$state/runs}
declare -A address=([a]=10.77.0.1 [b]=10.77.0.2)
# As root mpirun refuses to start unless told otherwise.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
# A killed mpirun leaves files behind: where `down` removes them.
export OMPI_MCA_orte_tmpdir_base=$state/mpi

say() { echo "two_hosts: $*" >&2; }
fail() { say "$*"; exit 1; }

# A process that does nothing keeps the namespaces of a host; its id, if it is still that process.
holder() {
    local id
    id=$(cat "$state/$1.pid" 2>/dev/null) || return 1
    [ "$(ip netns identify "$id" 2>/dev/null)" = "burn-zoo-$1" ] && echo "$id"
}

# Becomes a command on a host, in the same folder where that exists there.
become() {
    local id
    id=$(holder "$1") || fail "host $1 is not up"
    shift
    exec nsenter -t "$id" --net --uts --mount -- sh -c 'cd "$0" 2>/dev/null || cd /; exec "$@"' "$PWD" "$@"
}

busy() {
    local host
    for host in a b; do
        ip netns pids "burn-zoo-$host" 2>/dev/null | grep -vx "$(holder "$host" || echo -)" || true
    done
}

down() {
    local host id
    for host in a b; do
        [ -e "/run/netns/burn-zoo-$host" ] || continue
        # The end of the last process takes the mounts along, and the end of a namespace the cable.
        for id in $(ip netns pids "burn-zoo-$host"); do
            kill -9 "$id" 2>/dev/null || true
        done
        ip netns del "burn-zoo-$host"
    done
    rm -rf "$state"
}

# Queues of the kernel limit what a host sends. Not every kernel has them.
limit() {
    local tc=(become "$1" tc qdisc add dev cable root)
    if ("${tc[@]}" netem rate "$RATE" delay "$DELAY" limit 20000) 2>/dev/null; then
        say "host $1 sends at most $RATE, $DELAY late"
    elif ("${tc[@]}" tbf rate "$RATE" burst 256kb latency 50ms) 2>/dev/null; then
        say "host $1 sends at most $RATE, WITHOUT the delay of $DELAY: this kernel has no netem"
    else
        say "host $1 sends WITHOUT LIMIT of rate or delay: this kernel has neither netem nor tbf"
    fi
}

up() {
    local host
    down
    trap down EXIT
    mkdir -p "$state/mpi" "$runs"
    for host in a b; do
        ip netns add "burn-zoo-$host"
    done
    # Made where it belongs, so that nothing of it is ever seen outside.
    ip link add cable netns burn-zoo-a type veth peer name cable netns burn-zoo-b
    for host in a b; do
        # shellcheck disable=SC2016
        ip netns exec "burn-zoo-$host" unshare --uts --mount --propagation private sh -c '
            set -e
            echo "$1" >/proc/sys/kernel/hostname
            mount -t tmpfs -o "size=$2" burn-zoo "$3"
            mount -t tmpfs -o mode=1777 burn-zoo /dev/shm
            ip link set lo up
            ip address add "$4/24" dev cable
            ip link set cable up
            echo $$ >"$5.new"
            mv "$5.new" "$5"
            exec sleep infinity
        ' sh "burn-zoo-$host" "${SIZE:-2g}" "$runs" "${address[$host]}" "$state/$host.pid" \
            </dev/null >/dev/null 2>"$state/$host.err" &
        disown
    done
    for host in a b; do
        for _ in $(seq 100); do
            [ -e "$state/$host.pid" ] && break
            sleep 0.1
        done
        holder "$host" >/dev/null || fail "host $host did not start: $(cat "$state/$host.err")"
        RATE=${RATE:-1gbit} DELAY=${DELAY:-1ms}
        limit "$host"
    done
    trap - EXIT
}

run() {
    local ranks=2
    if [ "$1" = -n ]; then
        ranks=$2
        shift 2
    fi
    [ $((ranks % 2)) -eq 0 ] || fail "$ranks ranks cannot be halved"
    # - The agent stands in for ssh: mpirun calls it with an address and the command of its daemon there.
    # - The networks are named: an interface with the same address on both hosts would hang the first sum.
    # - Each "host" pins its ranks to the same first core unless told not to, and waits for messages by
    #   spinning on cores that have to compute.
    # - Once the cable is out, mpirun and its daemons wait for each other, also when all ranks have ended. A
    #   keepalive of 9 s ends that; it has to be shorter than --parallel-timeout, since TCP sends none once
    #   a message is on its way, and mpirun's order to end is one.
    local flags=(-n "$ranks" --host "${address[a]}:$((ranks / 2)),${address[b]}:$((ranks / 2))"
        --mca plm_rsh_agent "$self agent" --mca btl_tcp_if_include 10.77.0.0/24
        --mca oob_tcp_if_include 10.77.0.0/24 --bind-to none --mca mpi_yield_when_idle 1
        --mca oob_tcp_keepalive_time 3 --mca oob_tcp_keepalive_intvl 2 --mca oob_tcp_keepalive_probes 3)
    # shellcheck disable=SC2206
    flags+=(${MPIRUN_FLAGS:-})
    if holder a >/dev/null && holder b >/dev/null; then
        become a mpirun "${flags[@]}" "$@"
    fi
    up
    trap down EXIT
    (become a mpirun "${flags[@]}" "$@")
}

[ "$(id -u)" -eq 0 ] || fail "needs root"
for tool in ip tc nsenter unshare; do
    command -v "$tool" >/dev/null || fail "needs $tool: iproute2 and util-linux"
done
action=${1:-}
[ $# -eq 0 ] || shift
case $action in
up) up ;;
down) down ;;
busy) busy ;;
run) [ $# -gt 0 ] || fail "run what?"; run "$@" ;;
on) [ $# -gt 1 ] || fail "on a|b COMMAND"; become "$@" ;;
agent)
    # As ssh does: what follows the host is a line for the shell there.
    host=a
    [ "$1" = "${address[a]}" ] || host=b
    shift
    become "$host" sh -c "$*"
    ;;
*) sed -n '2,/^set/{/^#/p}' "$self"; exit 2 ;;
esac
