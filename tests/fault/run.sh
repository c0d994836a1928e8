#!/bin/bash
# usage: run.sh [--all] [BUILD]
#
# Fails the system calls of repacks, extractions, the queue and the hook one by one, and the allocations of a job, and
# prints which were tried: a sample, as every test run does, or with --all every one of them, which takes half an hour.
# BUILD is a build directory of meson, "build" by default.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${1:-}" = --all ]; then
    export VMAD_FAULTS=all
    shift
fi
build=${1:-build}
ninja -C "$build" tests/fault/fault-calls tests/fault/fault-memory
"$build/tests/fault/fault-calls"
"$build/tests/fault/fault-memory"
