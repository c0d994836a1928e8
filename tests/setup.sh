# Sourced by run.sh, coverage.sh and demo.sh: installs what the build needs, and builds.
# shellcheck shell=bash

# Time since the script began.
elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# Shows the last line of a log and the time, again and again: on a terminal in one line of it, else every 10 seconds.
show_progress() {
    local log=$1 line never
    # A wait without a child, which would outlive this.
    exec {never}<> <(:)
    while true; do
        line=$(tail -n 1 "$log" | tr -dc '[:print:]')
        line="  $(elapsed)  ${line//C++ object /}"
        if [ -t 1 ]; then
            printf '\r%s\e[K' "${line:0:79}"
            read -r -t 0.5 -u "$never" || true
        else
            printf '%s\n' "${line:0:79}"
            read -r -t 10 -u "$never" || true
        fi
    done
}

# watched LOG COMMAND...: runs it and shows how far it is. What it says goes to the log, and is shown when it fails.
watched() {
    local log=$1 shows code=0
    shift
    : >"$log"
    show_progress "$log" &
    shows=$!
    "$@" >"$log" 2>&1 </dev/null || code=$?
    kill "$shows"
    wait "$shows" 2>/dev/null || true
    [ ! -t 1 ] || printf '\r\e[K'
    [ "$code" != 0 ] || return 0
    tail -n 40 "$log" >&2
    echo "$0: failed: $1" >&2
    exit 1
}

# For the integration tests, which skip what needs one that is missing.
# shellcheck disable=SC2034
test_programs="restic, borgbackup, rsync, btrfs-progs, chromium, dosfstools, e2fsprogs, fdisk, fish, lvm2, ntfs-3g"
test_programs+=", prometheus, qemu-system-x86, qemu-utils, xfsprogs, zsh"

# What debian/control asks for to build, and to test, as a dependency field.
build_dependencies() {
    awk '/^Build-Depends:/ { inside = 1; next } /^[^ ]/ { inside = 0 } inside { sub(/ *<!nocheck>/, ""); print }' \
        debian/control
}

# install_dependencies LOG FIELD: the packages of a dependency field, as root on a Debian system, else they must be
# there.
install_dependencies() {
    local log=$1 field=$2
    local plan
    if plan=$(apt-get --simulate satisfy "$field" 2>/dev/null) && ! grep -q '^Inst ' <<<"$plan"; then return; fi
    if [ "$(id -u)" != 0 ]; then
        echo "$0: packages are missing; as root: apt-get satisfy '${field//$'\n'/}'" >&2
        exit 1
    fi
    watched "$log" apt-get -q update
    watched "$log" env LC_ALL=C DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends satisfy "$field"
    echo "Packages installed: $(grep -c '^Setting up ' "$log")"
}

# configure DIR [MESON OPTION...]: a build directory, also one that is there already with other options.
configure() {
    local dir=$1
    shift
    if [ -f "$dir/build.ninja" ]; then
        [ $# = 0 ] || meson configure "$dir" "$@"
    else
        meson setup "$dir" "$@" >/dev/null || { cat "$dir/meson-logs/meson-log.txt"; exit 1; }
    fi
}
