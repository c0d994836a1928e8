#!/bin/bash
# Boots a throw-away Debian under a real systemd (systemd-nspawn, no VM) in half a second, so that a package's
# units can be tested where PID 1 is not systemd.  Needs root, cgroups, overlayfs, an apt mirror; needs no machined,
# no dbus and no network inside.  To be sourced:
#
#   . systemd-box.sh
#   SUITE=bookworm PKGS=systemd,systemd-sysv,dbus,usr-is-merged,<Depends of the package>  box_tree   # cached; 20 s the first time
#   box_boot [nspawn options, e.g. --bind=DIR:/mnt/nas]
#   put FILE /root/FILE; inside dpkg -i /root/FILE; inside systemctl ...      # output and exit status come straight back
#   box_stop
# shellcheck disable=SC2016,SC2086 # "$1" is mmdebstrap's, and $CGS and process ids are words
set -euo pipefail
# PATH additions and TMPDIR of the caller must not leak in
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
SUITE=${SUITE:-bookworm}
MIRROR=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$')}
CACHE=${CACHE:-/var/tmp/systemd-box}
PKGS=${PKGS:-systemd,systemd-sysv,dbus,usr-is-merged}   # the container has no network: a package's Depends go here
NAME=${NAME:-box$$}
VOLATILE=${VOLATILE:-overlay}            # "no": what is changed stays in $TREE

need() { # program package: installs what is missing, and only that
  local miss=()
  command -v "$1" >/dev/null || miss+=("$2")
  [ ${#miss[@]} = 0 ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${miss[@]}" >/dev/null; }
}

box_tree() {
  TREE=$CACHE/$SUITE-$(printf '%s' "$PKGS" | sha256sum | cut -c1-12)
  [ -e "$TREE/.ready" ] && return 0
  need mmdebstrap mmdebstrap
  mkdir -p "$CACHE"; rm -rf "$TREE.tmp"
  TMPDIR=$CACHE mmdebstrap --quiet --mode=root --variant=minbase --include="$PKGS" \
    --hook-dir="$(dirname "$(command -v mmdebstrap)")/../share/mmdebstrap/hooks/merged-usr" \
    --customize-hook='rm -f "$1/usr/sbin/policy-rc.d" "$1/etc/resolv.conf"' \
    --customize-hook='echo box > "$1/etc/hostname"' \
    "$SUITE" "$TREE.tmp" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $SUITE main" \
    > "$CACHE/tree-$SUITE.log" 2>&1 || { tail -30 "$CACHE/tree-$SUITE.log"; return 1; }
  rm -rf "$TREE.tmp"/var/lib/apt/lists/* "$TREE.tmp"/var/cache/apt/*.bin
  : > "$TREE.tmp/.ready"; rm -rf "$TREE"; mv "$TREE.tmp" "$TREE"
}

# --- the container -----------------------------------------------------------
cgdirs() { # one cgroup of our own in each hierarchy, below the one we are in
  local _ ctl path
  while IFS=: read -r _ ctl path; do
    ctl=${ctl#name=}
    if [ -z "$ctl" ]; then
      [ -e /sys/fs/cgroup/cgroup.procs ] && ctl=. || ctl=unified
    fi
    [ "$ctl" = cpuset ] && continue        # needs cpus/mems set by hand
    [ -e "/sys/fs/cgroup/$ctl/cgroup.procs" ] && echo "/sys/fs/cgroup/$ctl${path%/}/$NAME"
  done < /proc/self/cgroup
}

box_boot() { # box_boot [extra nspawn options...]
  need systemd-nspawn systemd-container
  CGS=$(cgdirs); mkdir -p $CGS
  LOGF=$(mktemp)
  ( for d in $CGS; do echo $BASHPID > "$d/cgroup.procs"; done
    # pdeathsig + kill-child: nothing survives, not even a kill -9 of this script
    # (a kill -9 of nspawn alone leaves the container's init running)
    exec env -i PATH="$PATH" LC_ALL=C.UTF-8 \
      setpriv --pdeathsig KILL unshare --pid --mount --fork --kill-child --mount-proc \
      systemd-nspawn --quiet --register=no --keep-unit --private-network \
        --capability=all --system-call-filter=bpf \
        --console=read-only --machine="$NAME" --volatile="$VOLATILE" -D "$TREE" "$@" --boot \
        systemd.getty_auto=no systemd.mask=systemd-modules-load.service
  ) > "$LOGF" 2>&1 < /dev/null &
  UNS=$!
  trap box_stop EXIT; trap 'exit 130' INT; trap 'exit 143' TERM
  LEADER=
  local i nsp c
  for ((i = 0; i < 600; i++)); do
    [ -d /proc/$UNS ] || break
    for nsp in $(cat /proc/$UNS/task/$UNS/children 2>/dev/null || :); do
      for c in $(cat /proc/$nsp/task/$nsp/children 2>/dev/null || :); do
        [ -S /proc/$c/root/run/systemd/private ] && { LEADER=$c; break 3; }
      done
    done
    sleep 0.05
  done
  [ -n "$LEADER" ] || { echo "container did not start:"; cat "$LOGF"; return 1; }
  # waits until the boot's jobs are done; 'degraded' (rc 1) means failed units
  timeout 60 nsenter -t "$LEADER" -a systemctl is-system-running --wait >/dev/null || {
    inside systemctl --failed --no-legend || :; cat "$LOGF"; return 1; }
  # cgroup v1: nspawn mounts the controllers read-only, so MemoryMax= TasksMax=
  # CPUQuota= would be accepted and not enforced; open our own subtree of each
  if [ -d /sys/fs/cgroup/memory ]; then
    local h; for h in memory pids cpu cpuacct devices blkio freezer; do
      inside sh -c "[ ! -d /sys/fs/cgroup/$h ] || mount -o remount,bind,rw /sys/fs/cgroup/$h"; done
    inside systemctl daemon-reexec
  fi
}
inside() { nsenter -t "$LEADER" -a env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  HOME=/root LC_ALL=C.UTF-8 SYSTEMD_PAGER= SYSTEMD_COLORS=0 DEBIAN_FRONTEND=noninteractive "$@"; }
put() { cat "$1" > "/proc/$LEADER/root$2"; }       # host file -> path in the container
box_stop() {
  local i d
  trap - EXIT
  [ -z "${LEADER:-}" ] || kill -s RTMIN+4 "$LEADER" 2>/dev/null || :     # poweroff
  for ((i = 0; i < 100; i++)); do [ -d /proc/$UNS ] || break; sleep 0.1; done
  [ ! -d /proc/$UNS ] || { echo "had to kill the container"; kill -KILL $UNS; }
  wait $UNS 2>/dev/null || :
  for d in $CGS; do find "$d" -depth -type d -exec rmdir {} \; 2>/dev/null || :; done
  rm -f "$LOGF"
}

