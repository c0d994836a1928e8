#!/usr/bin/env bash
# Builds and runs the tests; see --help.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

usage() {
    cat <<'END'
usage: tests/run.sh [--werror] [--style] [--sanitize] [--system]

Installs what is missing (as root, on Debian 12 or 13), builds vmad, and runs
the unit, fault and integration tests and the corpus of the fuzz targets. Of
what can fail it tries a sample, always the same: tests/fault/run.sh --all tries
everything. The last lines say what passed, what failed, and what was skipped
and why. Run it in a container or VM, not on a node of Proxmox VE.

  --werror        compiler warnings are errors
  --style         also check the form of the sources (tests/style.sh)
  --sanitize      run unit and fault tests and the corpus under
                  AddressSanitizer and UndefinedBehaviorSanitizer, and the unit
                  tests of what has threads under ThreadSanitizer
  --system        also build the package for Debian 12 and 13 and test it on
                  booted systems, as root; the integration tests then test the
                  programs of the package
  -h, --help      show this help

  VMAD_BUILD_DIR  build there instead of in build/

CI runs it with all four (.ci/run). src/HACKING.md says how to run one test.
END
}

werror=false style=false sanitize=false system=false
for option; do
    case $option in
    --werror) werror=true ;;
    --style) style=true ;;
    --sanitize) sanitize=true ;;
    --system) system=true ;;
    -h | --help) usage; exit ;;
    *) echo "$0: unknown option: $option; see --help" >&2; exit 2 ;;
    esac
done

build_dir=$(realpath -m "${VMAD_BUILD_DIR:-build}")
mkdir -p "$build_dir"
logs=() failed=() polite='' fixed_addresses='' threads_tests=''
step=0 steps=3 doing=
$style && steps=$((steps + 2))
$sanitize || $system && steps=$((steps + 1))
next_step() {
    doing=$1 step=$((step + 1))
    printf '\n== %d of %d, %s: %s\n' $step $steps "$(elapsed)" "$1"
}

finish() {
    local code=$?
    trap '' EXIT
    # Whatever fails meanwhile, nothing is left running.
    wait
    printf '\n== After %s\n' "$(elapsed)"
    [ ${#logs[@]} = 0 ] || python3 tests/summary.py "${logs[@]}"
    $style || echo "not run: clang-format and clang-tidy (--style)"
    $sanitize || echo "not run: the tests under sanitizers (--sanitize)"
    $system || echo "not run: the package on booted systems (--system)"
    [ "$threads_tests" != none ] || echo "not run: the tests of threads: ThreadSanitizer does not start with" \
        "vm.mmap_rnd_bits above 28 where setarch --addr-no-randomize is not allowed"
    [ "$code" = 0 ] || failed+=("\"$doing\" was not completed; the reason stands above")
    [ ${#failed[@]} = 0 ] || { printf 'FAILED: %s\n' "${failed[@]}"; exit 1; }
    echo "Everything that was run passed."
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT

# run_tests DIR NAME [MESON OPTION...]: builds them, and runs more at once than there are processors, because most wait.
run_tests() {
    local dir=$1 name=$2
    shift 2
    $polite meson test -C "$dir" --print-errorlogs --logbase "$name" --num-processes $(($(nproc) * 3)) "$@"
}

# Whether a program under ThreadSanitizer starts at all: that of gcc 12 does not know where a kernel that randomizes more
# bits of addresses puts things, and a container may not be allowed to switch that off.
can_test_threads() {
    ! setarch --addr-no-randomize true 2>/dev/null || fixed_addresses='setarch --addr-no-randomize'
    $fixed_addresses "$build_dir/thread-sanitizer"
}

# The tests of what has threads, under ThreadSanitizer, in a build directory of their own. Without the cases that are
# marked to be of one thread most of the time: it makes them 20 times as slow.
test_threads() {
    local threads=$build_dir/threads polite="nice $fixed_addresses"
    configure "$threads" -Dwerror=$werror -Doptimization=1 -Dcpp_args=-g1 -Db_sanitize=thread -Db_lundef=false
    run_tests "$threads" threads --suite unit --timeout-multiplier 2 \
        --test-args=--test-suite-exclude=single-threaded access codec daemon engine varlink
}

# The integration tests on the programs of a package, once it is there.
test_package() {
    local package=$packages/$release
    while [ ! -e "$package.ready" ]; do
        kill -0 "$system_tests" 2>/dev/null || { echo "there is no package"; return 1; }
        sleep 1
    done
    for deb in "$package"/vmad*_*.deb; do dpkg-deb --extract "$deb" "$package.installed"; done
    VMAD_INSTALLED=$package.installed run_tests "$dir" integration --no-rebuild --suite integration
}

next_step "Dependencies"
install_dependencies "$build_dir/apt.log" "build-essential, $test_programs, $(build_dependencies)"

dir=$build_dir/plain options=()
# Results of an earlier run are not those of this one.
rm -f "$build_dir"/*/meson-logs/{tests,threads,integration}.* "$build_dir/system.log"
if $sanitize; then
    # Not optimized: the compiler takes four times as long to optimize what the sanitizers add.
    dir=$build_dir/sanitized options=(-Doptimization=0 -Dcpp_args=-g1 '-Db_sanitize=address,undefined' -Db_lundef=false)
fi
configure "$dir" -Dwerror=$werror "${options[@]}"
if $style; then
    next_step "clang-format"
    tests/style.sh format || failed+=(clang-format)
fi

next_step "Building"
if $system; then
    # First what is tried on booted systems, which wait for most of their time; the rest is polite and runs beside it.
    packages=$build_dir/packages
    rm -rf "$packages"
    mkdir "$packages"
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    { VMAD_WERROR=$werror tests/system/run.sh --packages "$packages" 2>&1 | tee "$build_dir/system.log"; } &
    system_tests=$!
    ninja -C "$dir" tests/support/vma-generate tests/support/quirkfs tests/support/powerdisk tests/bench/plain-restore \
        tests/fault/call-tracer manuals
    { test_package 2>&1 | sed -u 's/^/integration: /'; } &
    integration_tests=$!
    polite='nice'
    logs+=("$build_dir/system.log" "$dir/meson-logs/integration.json")
elif $sanitize; then
    configure "$build_dir/plain" -Dwerror=$werror
    ninja -C "$build_dir/plain" src/ctl/vmactl src/daemon/vmad src/mount/vmad-mount tests/support/vma-generate
else
    ninja -C "$dir" src/ctl/vmactl src/daemon/vmad src/mount/vmad-mount tests/support/vma-generate
fi

next_step "Testing"
! $sanitize || c++ -fsanitize=thread -x c++ -o "$build_dir/thread-sanitizer" - <<<'int main() {}'
if $sanitize && can_test_threads; then
    # Beside the others, since a single one of either takes long.
    { test_threads 2>&1 | sed -u 's/^/threads: /'; } &
    threads_tests=$!
elif $sanitize; then
    threads_tests=none
fi
suites=(--suite unit --suite fault --suite fuzz)
$sanitize || $system || suites+=(--suite integration)
logs+=("$dir/meson-logs/tests.json")
run_tests "$dir" tests "${suites[@]}" || failed+=(tests)
if $sanitize && ! $system; then
    logs+=("$build_dir/plain/meson-logs/integration.json")
    run_tests "$build_dir/plain" integration --suite integration || failed+=(integration)
fi
if $style; then
    next_step "clang-tidy"
    tests/style.sh tidy "$dir" || failed+=(clang-tidy)
fi
if $sanitize || $system; then
    next_step "Waiting for what ran beside that"
    if $system; then
        wait "$integration_tests" || failed+=(integration)
        wait "$system_tests" || failed+=("system tests")
    fi
    if [[ $threads_tests = [0-9]* ]]; then
        logs+=("$build_dir/threads/meson-logs/threads.json")
        wait "$threads_tests" || failed+=(threads)
    fi
fi
