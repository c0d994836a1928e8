#!/usr/bin/env bash
# Builds the package in clean Debian 12 and 13 systems, and tries each on a booted one. Needs root, cgroups, and the
# package mirror of this machine; trees are kept in /var/tmp/systemd-box for the next time.
#   --packages DIR  leave the packages there: DIR/SUITE, and DIR/SUITE.ready when they are complete
#   SUITE...        try these instead of the two
# With VMAD_WERROR=true a compiler warning is an error on the release that this machine has.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/support/systemd-box.sh
. ../support/systemd-box.sh
# Here, because two suites may run at once.
need mmdebstrap mmdebstrap
need systemd-nspawn systemd-container
need shellcheck shellcheck

# Programs by their first line, and what is sourced.
cd ../..
scripts=(tests/setup.sh tests/support/systemd-box.sh src/ctl/vmactl.bash)
while read -r -d '' file; do
    read -r line <"$file" || true
    case $line in '#!/bin/sh' | '#!/usr/bin/env bash') scripts+=("$file") ;; esac
done < <(git ls-files -z --cached --others --exclude-standard -- .ci debian hook src tests ':!tests/data')
shellcheck --external-sources "${scripts[@]}"
cd tests/system

if [ "${1:-}" = --packages ]; then
    packages=$2
    shift 2
else
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
fi

# shellcheck source=/dev/null
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")

# build SUITE: its package. The one for the release of this machine comes first: more waits for it.
build() {
    local suite=$1 options='' flags='' polite='nice -n 5'
    # One of the two runs the unit tests: those of the other are what tests/run.sh runs.
    [ "$suite" = trixie ] || options=nocheck
    if [ "$suite" = "$release" ]; then
        polite=
        [ "${VMAD_WERROR:-false}" = false ] || flags=-Werror
    fi
    echo "$suite: building the package"
    DEB_BUILD_OPTIONS=$options DEB_CXXFLAGS_APPEND=$flags $polite ./build_package.sh "$suite" "$packages/$suite" \
        >"$packages/$suite.log" 2>&1 || { tail -200 "$packages/$suite.log"; return 1; }
    : >"$packages/$suite.ready"
    echo "$suite: the package is built, after $((SECONDS / 60)) min $((SECONDS % 60)) s"
}

# try SUITE: its package, on systems of which each test has its own.
try() {
    local suite=$1 name failed=0 tests=()
    export VMAD_SUITE=$suite VMAD_PACKAGES=$packages/$suite
    # The tree that all of them boot.
    SUITE=$suite PKGS=$(python3 -c 'import system_test; print(",".join(system_test.tree_packages()))') \
        bash -c '. ../support/systemd-box.sh; box_tree'
    for name in package service vzdump varlinkctl; do
        { python3 "test_$name.py" -v 2>&1 | sed -u "s/^/$suite $name: /"; } &
        tests+=($!)
    done
    for pid in "${tests[@]}"; do wait "$pid" || failed=1; done
    return $failed
}

tries=()
[ $# != 0 ] || set -- bookworm trixie
for suite; do
    { build "$suite" && try "$suite"; } &
    tries+=($!)
done
failed=0
for pid in "${tries[@]}"; do wait "$pid" || failed=1; done
exit $failed
