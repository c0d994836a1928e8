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

usage() { sed -n '2,/^set/s/^# \?//p' tests/fuzz/run.sh | grep -v '^set'; }
mapfile -t all < <(basename -s _target.cpp -a tests/fuzz/*_target.cpp)
[ "${1:-}" != --help ] || { usage; exit; }
[[ ${1:-} =~ ^(--minimise|[1-9][0-9]{0,6})$ ]] || { usage >&2; exit 2; }
seconds=$1
shift
for target in "$@"; do
    [[ " ${all[*]} " == *" $target "* ]] || { echo "$0: no target \"$target\"; there are: ${all[*]}" >&2; exit 2; }
done
targets=("${@:-${all[@]}}")

build=$(realpath -m "${VMAD_FUZZ_DIR:-build/fuzz}")
mkdir -p "$build"/{found,log}
install_dependencies "$build/log/apt" "clang, libclang-rt-dev, build-essential, $(build_dependencies)"
[ -f "$build/build.ninja" ] || CXX=clang++ configure "$build" -Doptimization=1 -Db_sanitize=address,undefined \
    -Db_lundef=false -Dcpp_args="-g1 -fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined \
-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION"
watched "$build/log/ninja" ninja -C "$build" "${targets[@]/#/tests/fuzz/fuzz-}"

# prepare TARGET: sets what belongs to it.
prepare() {
    program=$build/tests/fuzz/fuzz-$1 corpus=tests/fuzz/corpus/$1 inputs=$build/inputs/$1 log=$build/log/$1
    options=(-timeout=25 -rss_limit_mb=2048 -max_len=16384)
    mkdir -p "$inputs" "$corpus"
    [ -e "$inputs/seed-1" ] || "$program" --seeds "$inputs"
}

# minimise TARGET: adds before it removes, so that nothing is lost wherever this ends.
minimise() {
    local fewest found
    fewest=$(mktemp -d)
    "$program" -set_cover_merge=1 -use_counters=0 "${options[@]}" "$fewest" "$corpus" "$inputs" >"$log.merge" 2>&1
    for found in "$corpus"/found-*; do
        [ ! -e "$found" ] || rm -f "$fewest/$(sha1sum <"$found" | cut -c -40)"
    done
    cp "$fewest"/* "$corpus"
    find "$corpus" -type f ! -name 'found-*' -printf '%f\n' | while read -r name; do
        [ -e "$fewest/$name" ] || rm "$corpus/$name"
    done
    rm -rf "$fewest"
    printf '%-10s %4d inputs %8d bytes\n' "$1" "$(find "$corpus" -type f | wc -l)" \
        "$(find "$corpus" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')"
}

# of NAME: what the log says of it last.
of() { grep -o "$1[: ]*[0-9]*" "$log" | tail -n 1 | grep -o '[0-9]*$' || echo 0; }

# fuzz TARGET
fuzz() {
    local code=0
    TIMEFORMAT='%U %S'
    { time "$program" "${options[@]}" -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="$build/found/$1-" "$inputs" "$corpus" >"$log" 2>&1; } 2>"$log.cpu" || code=$?
    printf '%-10s %11d %9.0f %7d %7d\n' "$1" "$(of 'stat::number_of_executed_units')" \
        "$(awk '{ print $1 + $2 }' "$log.cpu")" "$(of cov)" "$(of ft)"
    [ $code = 0 ] || finds+=("$1")
}

# tell_of TARGET: what was found, where, and the command that runs it again.
tell_of() {
    local input
    prepare "$1"
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    echo
    echo "$1: $({ grep -E -m 1 'The law does not hold|runtime error|^==[0-9]*==.*ERROR' "$log" || tail -n 1 "$log"; } | cut -c -200)"
    echo "  log    $log"
    [ -z "$input" ] || echo "  again  $program $input"
}

if [ "$seconds" = --minimise ]; then
    for target in "${targets[@]}"; do
        prepare "$target"
        minimise "$target"
    done
    exit
fi
finds=()
printf '%-10s %11s %9s %7s %7s\n' Target Executions 'CPU s' Edges Features
for target in "${targets[@]}"; do
    prepare "$target"
    fuzz "$target"
done
for target in "${finds[@]}"; do tell_of "$target"; done
[ ${#finds[@]} = 0 ]
