#!/bin/bash
# Tests data-parallel training over MPI: that ranks train as one process does, that a run ends and goes on
# when something breaks, and both between two hosts, with the images a second. Ends with a status other than
# 0 if something fails. Some minutes; what needs root is left out without it. Variables: see common.sh.
here=$(dirname "${BASH_SOURCE[0]}")
status=0
part() {
    echo
    echo "## $1"
    shift
    "$@" || { status=1; echo "FAILED"; }
}

part "Ranks train as one process, one host" bash "$here/equality.sh"
part "Faults, one host" bash "$here/faults.sh"
if [ "$(id -u)" -eq 0 ]; then
    part "Ranks train as one process, two hosts" bash "$here/equality.sh" --two-hosts
    part "Faults, two hosts" bash "$here/faults.sh" --two-hosts
    part "Kill and resume, and images a second, two hosts" bash "$here/two_hosts_run.sh"
else
    echo "two hosts: left out, they need root"
fi
exit $status
