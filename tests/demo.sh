#!/usr/bin/env bash
# Shows on a made-up guest what vmad is for; see --help.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

usage() {
    cat <<'END'
usage: tests/demo.sh

Builds vmad and shows on a made-up guest what it is for: what two backups of it
add to restic, as vzdump wrote them and repacked by vmad; and a restore of the
repacked one without vmad.

Run it as root in a container or VM with Debian 12 or 13, not on a node of
Proxmox VE: it installs compilers and restic. All else that it leaves is build/.
It needs 2 GiB in build/ and 1 GiB in /var/tmp, or where TMPDIR says.

  -h, --help      show this help

  VMAD_BUILD_DIR  build there instead of in build/
  VMAD_BUILD      install and build nothing; the programs are in this build
                  directory
  VMAD_DEMO_MIB   so much data in the guest, instead of 256 MiB
END
}

case ${1:-} in
'') ;;
-h | --help) usage; exit ;;
*) echo "$0: unknown argument: $1; see --help" >&2; exit 2 ;;
esac
if [ -e /etc/pve/storage.cfg ] && [ -z "${VMAD_BUILD:-}" ]; then
    echo "$0: this is a node of Proxmox VE. Run this in a container or VM: it installs" >&2
    echo "compilers. To install vmad on a node, see README.md, \"Install\"." >&2
    exit 1
fi

step=0 steps=7
next_step() { step=$((step + 1)); printf '\n== %d of %d, %s: %s\n' $step $steps "$(elapsed)" "$1"; }

dir=$(mktemp -d "${TMPDIR:-/var/tmp}/vmad-demo-XXXXXX")
daemon=
clean_up() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || true
        wait "$daemon" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- The programs ---
next_step "Install what is missing"
if [ -z "${VMAD_BUILD:-}" ]; then
    build_dir=$(realpath -m "${VMAD_BUILD_DIR:-build}")
    VMAD_BUILD=$build_dir/plain
    mkdir -p "$build_dir"
    # What only the package and the tests want is left out.
    install_dependencies "$build_dir/apt.log" "g++, restic, e2fsprogs, $(build_dependencies |
        grep -v -e debhelper -e doctest -e lzop -e strace -e '^ systemd-dev')"
    next_step "Build vmad, and what stands in for Proxmox's tools"
    configure "$VMAD_BUILD"
    watched "$build_dir/ninja.log" ninja -C "$VMAD_BUILD" src/ctl/vmactl src/daemon/vmad tests/support/vma-generate \
        tests/bench/plain-restore
    grep -c '^\[[0-9]*/' "$build_dir/ninja.log" | sed 's/$/ steps of the build are done/'
else
    next_step "Build: done before"
fi
vmactl=$(realpath "$VMAD_BUILD/src/ctl/vmactl")
vmad=$(realpath "$VMAD_BUILD/src/daemon/vmad")
generate=$(realpath "$VMAD_BUILD/tests/support/vma-generate")
restore=$(realpath "$VMAD_BUILD/tests/bench/plain-restore")
hook=$PWD/hook

# --- Two nights ---
first=vzdump-qemu-100-2026_01_01-02_00_00.vma.zst
second=vzdump-qemu-100-2026_01_02-02_00_00.vma.zst

# A disk with files of this system.
make_disk() {
    local mib=${VMAD_DEMO_MIB:-256}
    mkdir files
    find /usr/lib /usr/share /usr/bin -xdev -type f -size -4M -readable -printf '%s %p\n' |
        awk -v left=$((mib << 20)) '{ left -= $1 + 2048; if (left < 0) exit; sub(/^[0-9]+ /, ""); print }' >list
    tar -c -P --files-from=list | tar -x -C files &&
        mke2fs -q -F -t ext4 -d files disk.raw $((mib * 5 / 4 + 32))M &&
        rm -r files
}

# A file of 4 MiB is new in it, and a few are gone.
change_disk() {
    head -c 4M /dev/urandom >new
    { echo "write new new"; awk 'NR % 3000 == 0 { print "rm \"" $0 "\"" }' list; } | debugfs -w -f - disk.raw
}

# back_up ARCHIVE SECONDS SEED: the disk, in the order of that night, compressed as vzdump does it.
back_up() {
    "$generate" - --disk drive-scsi0=@disk.raw --config qemu-server.conf=guest.conf --ctime "$2" --dump-seed "$3" |
        zstd -q --rsyncable >"dump/$1"
}

two_nights() {
    printf '%s\n' 'boot: order=scsi0' 'cores: 2' 'memory: 4096' 'name: web' 'scsi0: local:100/vm-100-disk-0.raw' \
        '#qmdump#map:scsi0:drive-scsi0:local:raw:' >guest.conf
    mkdir dump
    echo "Making a disk with files of this system" && make_disk &&
        echo "Writing the backup of the first night" && back_up "$first" 1767232800 1 &&
        echo "Changing the disk" && change_disk &&
        echo "Writing the backup of the second night" && back_up "$second" 1767319200 2
}

cd "$dir"
next_step "Back up a guest on two nights, between them a new file"
watched log two_nights
du -h --apparent-size dump/*

# --- restic ---
export RESTIC_PASSWORD=demo

# added NAME: what each of the two backups adds to a repository of that name, in bytes; to the file NAME.added.
added() {
    local before=0 after archive
    echo "Making a repository" && restic --no-cache -q -r "$1" init
    for archive in "$first" "$second"; do
        echo "Adding $archive"
        restic --no-cache -q -r "$1" backup "dump/$archive" || return
        after=$(du -s --apparent-size -B1 "$1" | cut -f1)
        echo $((after - before)) >>"$1.added"
        before=$after
    done
}

next_step "Copy both to restic, as vzdump wrote them"
watched log added vzdump
echo "Done; the figures come last."

# --- vmad ---
next_step "Repack both: vzdump calls the hook, which queues them"
mkdir -p etc/vmad
cat >etc/vmad/vmad.toml <<END
socket = "$dir/vmad.sock"
state_dir = "$dir/state"
directories = ["$dir/dump"]
END
# Nothing of an installed one is touched.
export VMAD_ROOT=$dir VMAD_SOCKET=$dir/vmad.sock
"$vmad" 2>daemon.log &
daemon=$!
for _ in $(seq 100); do
    [ -S vmad.sock ] && break
    sleep 0.1
done
for archive in "$first" "$second"; do
    env -i STOREID=local DUMPDIR="$dir/dump" VMTYPE=qemu HOSTNAME=web TARGET="$dir/dump/$archive" LC_ALL=C \
        VMAD_ANNOUNCE="$hook/vzdump-announce" VMAD_VMACTL="$vmactl" VMAD_HOOK_D="$dir/etc/vmad/hook.d" \
        VMAD_ROOT="$VMAD_ROOT" VMAD_SOCKET="$VMAD_SOCKET" "$hook/vzdump-hook" backup-end snapshot 100 | sed 's/^/INFO: /'
done
watched log "$vmactl" wait --timeout 600
echo "\$ vmactl list --all"
"$vmactl" list --all

next_step "Copy both to another restic repository, repacked by vmad"
watched log added vmad
echo "Done."

# --- The way back ---
next_step "Restore the second backup as Proxmox does, without vmad"
echo "plain-restore stands in for Proxmox's 'vma extract', which Debian does not have."
echo "\$ zstd -q -d -c $second |"
echo "      plain-restore restored"
mkdir restored
restore_disk() { zstd -q -d -c "dump/$second" | "$restore" restored; }
watched log restore_disk
if ! cmp disk.raw restored/drive-scsi0.raw; then
    echo "$0: the restored disk differs from the guest's" >&2
    exit 1
fi
echo "The restored disk equals the guest's, byte for byte."

mib() { awk '{ printf "%10.1f MiB", $1 / 1048576 }' "$1.added"; }
cat <<END

== Result, after $(elapsed)

What restic stored for      the 1st night  the 2nd night
  as vzdump wrote them     $(mib vzdump)
  repacked by vmad         $(mib vmad)

Between the two nights, the guest got a new file of 4 MiB and lost a few others.

Next: README.md, "Install", has the package and the one command that enables it
on a node. To run the tests here: tests/run.sh
END
