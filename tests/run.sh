#!/usr/bin/env bash
# Installs what is missing (as root), builds, and runs every test.
#   --werror    compiler warnings are errors
#   --sanitize  also run the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

werror=false sanitize=false
for option; do
    case $option in
    --werror) werror=true ;;
    --sanitize) sanitize=true ;;
    *) echo "usage: $0 [--werror] [--sanitize]" >&2; exit 2 ;;
    esac
done

build_dir=${VMAD_BUILD_DIR:-build}
mkdir -p "$build_dir"
install_dependencies "$build_dir/apt.log"
build "$build_dir/plain" -Dwerror=$werror
meson test -C "$build_dir/plain" --no-rebuild --print-errorlogs
if $sanitize; then
    # Not optimized: the compiler takes four times as long to optimize what the sanitizers add.
    build "$build_dir/sanitized" -Dwerror=$werror -Doptimization=0 -Db_sanitize=address,undefined -Db_lundef=false
    meson test -C "$build_dir/sanitized" --no-rebuild --print-errorlogs --suite unit --timeout-multiplier 5
fi
