#!/usr/bin/env bash
# usage: run.sh SECONDS [TARGET...]
#        run.sh --minimise [TARGET...]
#
# Fuzzes each target, or those named, for so many seconds, and prints what was tried and found: by libFuzzer, under
# AddressSanitizer and UndefinedBehaviorSanitizer. --minimise makes the corpus of the inputs that were found, the fewest
# that reach the same code; what is called found-* stays in it. Installs clang where it is missing, as root. What is kept
# between runs is in VMAD_FUZZ_DIR, build/fuzz by default.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

if [ $# = 0 ] || [ "$1" = --help ]; then
    sed -n '2,/^set/s/^# \?//p' "$0" | grep -v '^set'
    exit 2
fi
seconds=$1
shift
build=$(realpath -m "${VMAD_FUZZ_DIR:-build/fuzz}")
mkdir -p "$build"/{found,log}
install_dependencies "$build/log/apt" "clang, libclang-rt-dev, build-essential, $(build_dependencies)"
[ -f "$build/build.ninja" ] || CXX=clang++ configure "$build" -Doptimization=1 -Db_sanitize=address,undefined \
    -Db_lundef=false -Dcpp_args="-g1 -fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined \
-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION"
targets=("$@")
[ $# != 0 ] || mapfile -t targets < <(basename -s _target.cpp -a tests/fuzz/*_target.cpp)
watched "$build/log/ninja" ninja -C "$build" "${targets[@]/#/tests/fuzz/fuzz-}"

# prepare TARGET: sets what belongs to it.
prepare() {
    program=$build/tests/fuzz/fuzz-$1 corpus=tests/fuzz/corpus/$1 inputs=$build/inputs/$1
    options=(-timeout=25 -rss_limit_mb=2048 -max_len=16384)
    mkdir -p "$inputs" "$corpus"
    [ -e "$inputs/seed-1" ] || "$program" --seeds "$inputs"
}

if [ "$seconds" = --minimise ]; then
    for target in "${targets[@]}"; do
        prepare "$target"
        fewest=$(mktemp -d)
        "$program" -set_cover_merge=1 -use_counters=0 "${options[@]}" "$fewest" "$corpus" "$inputs" >"$build/log/$target.merge" 2>&1
        find "$corpus" -type f ! -name 'found-*' -delete
        cp -n "$fewest"/* "$corpus"
        rm -rf "$fewest"
        echo "$target: $(find "$corpus" -type f | wc -l) inputs, $(du -b "$corpus" | cut -f 1) bytes"
    done
    exit
fi

found=0
for target in "${targets[@]}"; do
    prepare "$target"
    log=$build/log/$target
    "$program" "${options[@]}" -max_total_time="$seconds" -print_final_stats=1 -artifact_prefix="$build/found/$target-" \
        "$inputs" "$corpus" >"$log" 2>&1 || { found=1; echo "FOUND by $target: see $log"; }
    printf '%-10s %9s executions, %s edges\n' "$target" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -c 6-)"
done
exit $found
