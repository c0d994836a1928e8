#!/usr/bin/env bash
# Installs what is missing (as root), builds, and runs every test but those of --system.
#   --werror    compiler warnings are errors
#   --sanitize  also run the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   --system    also build the package for each release and try it on booted systems, tests/system/run.sh; as root
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

werror=false sanitize=false system=false
for option; do
    case $option in
    --werror) werror=true ;;
    --sanitize) sanitize=true ;;
    --system) system=true ;;
    *) echo "usage: $0 [--werror] [--sanitize] [--system]" >&2; exit 2 ;;
    esac
done

build_dir=${VMAD_BUILD_DIR:-build}
mkdir -p "$build_dir"
install_dependencies "$build_dir/apt.log"
# meson builds what the tests need.
configure "$build_dir/plain" -Dwerror=$werror
suites=(--suite fault --suite integration)
# Under the sanitizers they run below, and optimized in the build of a package: CI has 40 minutes.
$sanitize && $system || suites+=(--suite unit)
meson test -C "$build_dir/plain" --print-errorlogs "${suites[@]}"
if $system; then
    # Beside what follows, because it waits most of its time for systems to boot, to stop and to fail.
    tests/system/run.sh >"$build_dir/system.log" 2>&1 &
    system_tests=$!
    # Whatever fails meanwhile, nothing is left running.
    trap wait EXIT
fi
if $sanitize; then
    # Not optimized: the compiler takes four times as long to optimize what the sanitizers add.
    configure "$build_dir/sanitized" -Dwerror=$werror -Doptimization=0 -Db_sanitize=address,undefined -Db_lundef=false
    meson test -C "$build_dir/sanitized" --print-errorlogs --suite unit --timeout-multiplier 5
fi
if $system; then
    wait "$system_tests" || { cat "$build_dir/system.log"; exit 1; }
    cat "$build_dir/system.log"
fi
