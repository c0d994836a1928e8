# Sourced by run.sh and demo.sh: installs what the build needs, and builds.
# shellcheck shell=bash

# Time since the script began.
elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# Build dependencies as debian/control names them; as root on a Debian system, else they must be there. What apt says
# goes to the file.
install_dependencies() {
    if dpkg-checkbuilddeps debian/control >/dev/null 2>&1; then return; fi
    if [ "$(id -u)" != 0 ]; then
        echo "$0: build dependencies are missing; as root: apt-get build-dep ./" >&2
        exit 1
    fi
    echo "Installing the build dependencies"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # build-dep reads the control file without any package installed.
    apt-get -q -y --no-install-recommends build-dep ./ 2>&1 | tee "$1" |
        awk '/^[0-9]+ upgraded/ { print }
             /^(Unpacking|Setting up) / && ++count % 50 == 0 { print count " packages unpacked or set up" }
             { fflush() }' || { cat "$1" >&2; exit 1; }
}

# configure DIR [MESON OPTION...]: a build directory.
configure() {
    local dir=$1
    shift
    [ -f "$dir/build.ninja" ] || meson setup "$dir" "$@" >/dev/null || { cat "$dir/meson-logs/meson-log.txt"; exit 1; }
}
