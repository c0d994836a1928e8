#!/usr/bin/env bash
# Runs all tests with programs that count what they execute; see --help.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

usage() {
    cat <<'END'
usage: tests/coverage.sh [--keep] [SUITE...]

Installs what is missing (as root, on Debian 12 or 13), builds vmad with
counters, runs the unit, fault, fuzz and integration tests (or these suites),
and prints which lines and branches of each folder they have executed, and the
lines that they have not, with the reason where tests/coverage.md gives one.
After all suites it fails when a folder has less than it should, a line has no
reason, or a reason no line. A test that fails executes less, and is otherwise
no matter of this: a confined process cannot write its counters, and says so
where some tests expect nothing.

  --keep          add to what earlier runs have counted
  -h, --help      show this help

  VMAD_BUILD_DIR  build there instead of in build/coverage/
END
}

keep=false suites=() partly=()
for argument; do
    case $argument in
    --keep) keep=true ;;
    -h | --help) usage; exit ;;
    -*) echo "$0: unknown option: $argument; see --help" >&2; exit 2 ;;
    *) suites+=(--suite "$argument") partly=(--partly) ;;
    esac
done

dir=$(realpath -m "${VMAD_BUILD_DIR:-build/coverage}")
mkdir -p "$dir"
install_dependencies "$dir.apt.log" "build-essential, gcovr, $test_programs, $(build_dependencies)"

# Threads and processes count together.
configure "$dir" -Doptimization=0 -Ddebug=false -Dcpp_args=-fprofile-update=atomic -Db_coverage=true
ninja -C "$dir" src/ctl/vmactl src/daemon/vmad src/mount/vmad-mount tests/support/vma-generate meson-test-prereq

$keep || find "$dir" -name '*.gcda' -delete
# Before the first one is written, so that unprivileged users write them, too; gcc takes an empty one for none.
find "$dir" -name '*.gcno' | while read -r notes; do
    [ -e "${notes%.gcno}.gcda" ] || : >"${notes%.gcno}.gcda"
    chmod a+rw "${notes%.gcno}.gcda"
done

# Who is killed while it writes leaves a file that nobody adds to any more. What libgcov says of that is not for stderr,
# which tests look at.
export GCOV_ERROR_FILE=$dir/gcov-errors.log
: >"$GCOV_ERROR_FILE"
chmod a+rw "$GCOV_ERROR_FILE"
MALLOC_PERTURB_=0 meson test -C "$dir" --no-rebuild --num-processes $(($(nproc) * 3)) --print-errorlogs \
    --timeout-multiplier 3 "${suites[@]}" || echo "Some tests failed, see above."
find "$dir" -name '*.gcda' -empty -delete
sed -n 's/.*error:\(.*\.gcda\):.*/\1/p' "$GCOV_ERROR_FILE" | sort -u |
    sed 's/^/not counted from some time on, since a process was killed while it wrote it: /'
python3 tests/coverage.py "${partly[@]}" "$dir"
