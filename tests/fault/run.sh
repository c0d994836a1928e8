#!/bin/bash
# usage: run.sh [--all] [BUILD]
#
# Fails the system calls of repacks, extractions, the queue and the hook one by one, and the allocations of a job; cuts
# the power at each operation of a job and the queue. Then, as root, kills daemon, workers and commands at each of their
# system calls, and fails these (process_calls.py), lets others interfere at each of a publication (races.py), and cuts
# the power of real file systems (power_cut.py). Prints what was tried: a sample, as every test run does, or with --all
# every one of them, which takes three hours. BUILD is a build directory of meson, "build" by default. In the end it
# names the programs that failed, and those that could not run here.
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
