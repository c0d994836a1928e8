#!/usr/bin/env bash
# build_package.sh SUITE DIR: builds the package from this checkout in a clean Debian with nothing but
# build-essential and its build dependencies, without a network and not as root, and leaves it in DIR.
set -euo pipefail
cd "$(dirname "$0")/../.."
export SUITE=$1
out=$(realpath "$2")
# shellcheck source=tests/support/systemd-box.sh
. tests/support/systemd-box.sh
need mmdebstrap mmdebstrap

# Like box_tree, but with what debian/control asks for.
build_tree() {
    tree=$CACHE/build-$SUITE-$(sha256sum <debian/control | cut -c1-12)
    [ -e "$tree/.ready" ] && return
    mkdir -p "$CACHE"
    rm -rf "$tree.tmp"
    # shellcheck disable=SC2016 # for the shell of mmdebstrap
    TMPDIR=$CACHE mmdebstrap --quiet --mode=root --variant=minbase --include=build-essential,usr-is-merged \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --customize-hook='APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq --yes --no-install-recommends \
            -o DPkg::Chroot-Directory="$1" build-dep ./' \
        "$SUITE" "$tree.tmp" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $SUITE main" \
        >"$CACHE/build-$SUITE.log" 2>&1 || { tail -30 "$CACHE/build-$SUITE.log"; return 1; }
    rm -rf "$tree.tmp"/var/lib/apt/lists/* "$tree.tmp"/var/cache/apt/*.bin
    : >"$tree.tmp/.ready"
    rm -rf "$tree"
    mv "$tree.tmp" "$tree"
}

# In a mount namespace of its own: nothing is left mounted, and what is written to the tree is gone.
in_tree() {
    local root=$CACHE/root
    mkdir -p "$root"
    mount -t tmpfs -o mode=0755,size=8G none "$root"
    mkdir "$root/upper" "$root/work" "$root/merged"
    mount -t overlay -o "lowerdir=$tree,upperdir=$root/upper,workdir=$root/work" none "$root/merged"
    root=$root/merged
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mkdir -p "$root/build/vmad"
    git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from=- | tar -x -C "$root/build/vmad"
    chown -R 1000:1000 "$root/build"
    # Without debug symbols, which are not in the package, and a fifth of the time to compile it.
    env -i PATH="$PATH" LC_ALL=C.UTF-8 HOME=/build DEB_CXXFLAGS_APPEND="-g0 ${DEB_CXXFLAGS_APPEND:-}" \
        DEB_BUILD_OPTIONS="noautodbgsym ${DEB_BUILD_OPTIONS:-}" \
        chroot "$root" setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all \
        sh -euc 'cd /build/vmad && dpkg-buildpackage --unsigned-source --unsigned-changes'
    mkdir -p "$out"
    cp "$root"/build/vmad*_* "$out"
}

build_tree
export -f in_tree
export tree out CACHE
unshare --mount --net --pid --fork --kill-child --mount-proc bash -euo pipefail -c in_tree
