#!/usr/bin/env bash
# Keeps one Debian that can be booted again and again, for box.py: reads "boot" and "stop", answers "booted PID" and
# "stopped", and stops at the end of its input. SUITE and PKGS say what is in it. To be run in a mount namespace of
# its own, which takes everything away with it.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=tests/support/systemd-box.sh
. ../support/systemd-box.sh

box_tree
# What is changed lives in memory, and outlives a boot.
disk=$CACHE/disk
mkdir -p "$disk"
mount -t tmpfs -o mode=0755,size=4G none "$disk"
mkdir "$disk/upper" "$disk/work" "$disk/root"
mount -t overlay -o "lowerdir=$TREE,upperdir=$disk/upper,workdir=$disk/work" none "$disk/root"
TREE=$disk/root
VOLATILE=no

while read -r command; do
    case $command in
    boot)
        devices=()
        [ ! -e /dev/fuse ] || devices+=(--bind=/dev/fuse)
        box_boot "${devices[@]}"
        echo "booted $LEADER"
        ;;
    stop)
        box_stop
        LEADER=
        echo stopped
        ;;
    esac
done
[ -z "${LEADER:-}" ] || box_stop
