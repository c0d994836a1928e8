#!/usr/bin/env bash
# style.sh format | tidy BUILD: what no compiler says. Installs what is missing, as root.
#   format  every C++ file is as clang-format leaves it: version 14, Debian 12's; others differ in places
#   tidy    what clang-tidy finds in the sources that differ from origin/main, or else from the last commit; of a large
#           change, in some of them
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/support/systemd-box.sh
. tests/support/systemd-box.sh

if ! git rev-parse --git-dir >/dev/null 2>&1; then
    echo "skipped: not a git checkout"
    exit
fi

sources() { git ls-files --cached --others --exclude-standard -- "$@"; }

# The commit that the sources are compared with; nothing when there is none before this one.
base() {
    local merge_base
    merge_base=$(git merge-base HEAD origin/main 2>/dev/null) || merge_base=$(git rev-parse HEAD)
    if [ "$merge_base" = "$(git rev-parse HEAD)" ]; then merge_base=$(git rev-parse --quiet --verify HEAD~) || true; fi
    echo "$merge_base"
}

case ${1:-} in
format)
    need clang-format-14 clang-format-14
    clang-format-14 --version
    sources 'src/*.[ch]pp' 'tests/*.[ch]pp' | xargs clang-format-14 --dry-run --Werror
    ;;
tidy)
    need clang-tidy-14 clang-tidy-14
    commit=$(base)
    if [ -z "$commit" ]; then
        echo "skipped: there is no commit to compare with"
        exit
    fi
    mapfile -t changed < <(git diff --name-only --diff-filter=d "$commit" -- 'src/*.cpp')
    # clang cannot read what gcc has precompiled, and does not know all of its warnings.
    database=$(mktemp -d)
    trap 'rm -rf "$database"' EXIT
    sed 's/-include [a-z\/]*precompiled.hpp//' "$2/compile_commands.json" >"$database/compile_commands.json"
    # Each takes several seconds.
    every=$(((${#changed[@]} + 11) / 12)); [ "$every" -gt 0 ] || every=1
    echo "clang-tidy: ${#changed[@]} sources changed since ${commit:0:12}; looking at one in $every"
    for ((i = 0; i < ${#changed[@]}; i += every)); do printf '%s\0' "${changed[i]}"; done |
        xargs -0 -r -n 1 -P "$(nproc)" clang-tidy-14 --quiet --warnings-as-errors='*' \
            --extra-arg=-Wno-unknown-warning-option -p "$database" 2>/dev/null
    ;;
*)
    echo "usage: $0 format | tidy BUILD" >&2
    exit 2
    ;;
esac
