#!/bin/bash
# usage: run.sh [--all] [BUILD]
#
# Everything that can go wrong, below vmad. In this order:
#
#   fault-calls        each call of io::FileSystem fails: jobs, commands, the queue, recovery
#   fault-memory       each allocation of a job fails
#   fault-cuts         the power is cut at each operation of jobs, commands and the queue, in a model of a disk
#   fault-replace      the same, kills and races, for one replacement
#   process_calls.py   daemon, workers, commands and the hook are killed at each system call, and each of these fails
#   races.py           others interfere with the archive at each system call of a publication
#   power_cut.py       the power of real ext4, XFS and btrfs is cut under a running daemon
#
# The last three need root. Prints what was tried: a sample, as every test run does; or with --all
# every one of them, which takes hours. BUILD is a build directory of meson, "build" by default. In the end it
# names the programs that failed, and those that could not run here. The last three say in their headers how to run one
# case again; VMAD_FAULTS=all makes a fault-program try everything.
set -euo pipefail
cd "$(dirname "$0")/../.."
sample=(--sample 6)
races=(--sample 100)
rounds=4
case ${1:-} in
-h | --help)
    sed -n '/^# /,/^set/{s/^# \?//p}' tests/fault/run.sh
    exit 0
    ;;
--all)
    export VMAD_FAULTS=all
    sample=()
    races=()
    rounds=100
    shift
    ;;
-*)
    echo "run.sh: there is no option '$1'; see run.sh --help" >&2
    exit 2
    ;;
esac
if [ $# -gt 1 ]; then
    echo "run.sh: too many arguments; see run.sh --help" >&2
    exit 2
fi
build=${1:-build}
failed=()
skipped=()

run() {
    local code=0
    "$@" || code=$?
    case $code in
    0) ;;
    77) skipped+=("$1") ;;
    *) failed+=("$1 (exit code $code)") ;;
    esac
}

ninja -C "$build" tests/fault/fault-calls tests/fault/fault-memory tests/fault/fault-cuts tests/fault/fault-replace \
    tests/fault/call-tracer tests/support/powerdisk tests/support/vma-generate src/daemon/vmad src/ctl/vmactl
export VMAD_BUILD=$build
for program in calls memory cuts replace; do
    run "$build/tests/fault/fault-$program"
done
run tests/fault/process_calls.py "${sample[@]}"
run tests/fault/races.py "${races[@]}"
run tests/fault/power_cut.py --rounds $rounds
for name in "${skipped[@]}"; do echo "skipped: $name"; done
for name in "${failed[@]}"; do echo "FAILED: $name"; done
[ ${#failed[@]} = 0 ]
