#!/bin/bash
# usage: run.sh [--all] [BUILD]
#
# Fails the system calls of repacks, extractions, the queue and the hook one by one, and the allocations of a job; cuts
# the power at each operation of a job and the queue. Then, as root, kills daemon, workers and commands at each of their
# system calls, and fails these (process_calls.py), lets others interfere at each of a publication (races.py), and cuts
# the power of real file systems (power_cut.py). Prints what was tried: a sample, as every test run does, or with --all
# every one of them, which takes two hours. BUILD is a build directory of meson, "build" by default.
set -euo pipefail
cd "$(dirname "$0")/../.."
sample=(--sample 6)
races=(--sample 100)
rounds=4
if [ "${1:-}" = --all ]; then
    export VMAD_FAULTS=all
    sample=()
    races=()
    rounds=100
    shift
fi
build=${1:-build}
ninja -C "$build" tests/fault/fault-calls tests/fault/fault-memory tests/fault/fault-cuts tests/fault/fault-replace \
    tests/fault/call-tracer tests/support/powerdisk tests/support/vma-generate src/daemon/vmad src/ctl/vmactl
"$build/tests/fault/fault-calls"
"$build/tests/fault/fault-memory"
"$build/tests/fault/fault-cuts"
"$build/tests/fault/fault-replace"
VMAD_BUILD=$build python3 tests/fault/process_calls.py "${sample[@]}"
VMAD_BUILD=$build python3 tests/fault/races.py "${races[@]}"
VMAD_BUILD=$build python3 tests/fault/power_cut.py --rounds $rounds
