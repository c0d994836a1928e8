#!/usr/bin/env bash
# Demonstrates vmad in a temporary directory: two backups of one guest, dumped in different cluster orders, become
# identical. Installs missing dependencies (as root) and builds first; leaves nothing behind but build/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

build_dir=${VMAD_BUILD_DIR:-build}
mkdir -p "$build_dir"
install_dependencies "$build_dir/apt.log"
echo "Building in $build_dir/plain"
configure "$build_dir/plain"
ninja -C "$build_dir/plain" src/ctl/vmactl src/daemon/vmad tests/support/vma-generate
bin=$PWD/$build_dir/plain
case $build_dir in /*) bin=$build_dir/plain ;; esac
vmactl=$bin/src/ctl/vmactl
generate=$bin/tests/support/vma-generate

dir=$(mktemp -d)
daemon=
clean_up() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap clean_up EXIT

say() { printf '\n== %s\n' "$*"; }

# The share of bytes that two files have in common at the same offset.
share_of_equal_bytes() {
    local size differing
    size=$(stat -c %s "$1")
    differing=$(cmp -l "$1" "$2" 2>/dev/null | wc -l) || true
    echo "$((100 - 100 * differing / size)) %"
}

dump=$dir/dump
mkdir "$dump"
first=$dump/vzdump-qemu-100-2026_01_01-02_00_00.vma
second=$dump/vzdump-qemu-100-2026_01_02-02_00_00.vma

say "Two backups of the same guest, as QEMU writes them"
"$generate" "$first" --disk drive-scsi0=48M --disk drive-scsi1=16M --dump-seed 1 --ctime 1767232800
"$generate" "$second" --disk drive-scsi0=48M --disk drive-scsi1=16M --dump-seed 2 --ctime 1767319200
"$vmactl" verify "$first" "$second"
echo "identical bytes: $(share_of_equal_bytes "$first" "$second")"

say "Start the daemon"
cat >"$dir/vmad.toml" <<EOF
socket = "$dir/vmad.sock"
state_dir = "$dir/state"
directories = ["$dump"]
EOF
"$bin/src/daemon/vmad" --config "$dir/vmad.toml" 2>"$dir/log" &
daemon=$!
for _ in $(seq 100); do
    [ -S "$dir/vmad.sock" ] && break
    sleep 0.1
done

say "Run the hook for each backup, as vzdump does"
for target in "$first" "$second"; do
    env -i STOREID=local DUMPDIR="$dump" VMTYPE=qemu HOSTNAME=guest TARGET="$target" LOGFILE="${target%.vma}.log" \
        VMAD_ANNOUNCE=hook/vzdump-announce VMAD_VMACTL="$vmactl" VMAD_SOCKET="$dir/vmad.sock" \
        VMAD_STATE_DIR="$dir/state" \
        hook/vzdump-hook backup-end snapshot 100
done

export VMAD_SOCKET=$dir/vmad.sock
"$vmactl" wait --timeout 120

say "vmactl status"
"$vmactl" status

say "The same two backups, repacked"
"$vmactl" verify "$first" "$second"
if cmp <(tail -c +65537 "$first") <(tail -c +65537 "$second"); then
    echo "After the header, the two files are identical."
else
    echo "They differ." >&2
    exit 1
fi
