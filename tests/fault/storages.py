#!/usr/bin/env python3
"""What becomes of jobs on real file systems: a table of how they end, and of what kills leave behind.

    VMAD_BUILD=build python3 tests/fault/storages.py [--moments N] [NAME…]

On each file system one job runs undisturbed. Then the daemon is killed at N moments spread over the time that took,
and started again; and N times more with the storage mounted anew in between. The archive must hold the old or the new
content after each kill, the job must end as done, and nothing may be left beside the archive. NAMEs select rows by
their beginnings. Needs root; a file system whose program is not installed is left out. Not part of the test run: it
takes minutes, and says most on a machine with all of
sshfs mergerfs unionfs-fuse bindfs rclone gocryptfs ntfs-3g exfat-fuse exfatprogs btrfs-progs xfsprogs openssh-server.
"""

import argparse
import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import test_quirks  # noqa: E402
from daemon_process import Archive, Daemon  # noqa: E402

PATIENCE = 60


def run(*command, **options):
    # Not by a pipe: a program that goes on in the background would keep it open.
    with tempfile.TemporaryFile() as messages:
        result = subprocess.run([str(word) for word in command], check=False, timeout=PATIENCE,
                                stdout=subprocess.DEVNULL, stderr=messages, **options)
        messages.seek(0)
        if result.returncode != 0:
            raise OSError(f"{command[0]}: {messages.read().decode(errors='replace').strip()}")


class Storage:
    """One way of mounting: prepare() once, mount() as often as needed. `self.real` is what lies below it, if that
    can be seen, `self.point` the mount point."""

    can_mount_again = True

    def __init__(self, directory):
        self.directory = directory
        self.point = directory / "dump"
        self.real = directory / "real"
        self.point.mkdir()
        self.real.mkdir()
        self.prepare()

    def prepare(self):
        pass

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.point], check=False, stderr=subprocess.DEVNULL, timeout=PATIENCE)

    def end(self):
        self.unmount()


class Image(Storage):
    """A file system in a file: `make` makes it, `attach` mounts it."""

    def __init__(self, directory, make, attach=("mount", "-o", "loop"), mib=512):
        self.image = directory / "image"
        self.make, self.attach, self.mib = make, attach, mib
        super().__init__(directory)

    def prepare(self):
        with open(self.image, "wb") as image:
            image.truncate(self.mib << 20)
        run(*self.make, self.image)

    def mount(self):
        run(*self.attach, self.image, self.point)

    def unmount(self):
        # Not lazily: the image must be free before it is mounted again.
        end = time.monotonic() + PATIENCE
        while os.path.ismount(self.point) and time.monotonic() < end:
            subprocess.run(["umount", self.point], check=False, stderr=subprocess.DEVNULL)
            time.sleep(0.05)


class Device(Image):
    """The same for a program that takes a block device."""

    def prepare(self):
        super().prepare()
        result = subprocess.run(["losetup", "--find", "--show", self.image], check=True, text=True,
                                stdout=subprocess.PIPE)
        self.image = result.stdout.strip()

    def end(self):
        super().end()
        subprocess.run(["losetup", "--detach", self.image], check=False)


class Memory(Storage):
    can_mount_again = False

    def mount(self):
        run("mount", "-t", "tmpfs", "none", self.point)


class Command(Storage):
    """A program that shows self.real: {real}, {point} and {other}, a second directory, stand in its words."""

    def __init__(self, directory, *words):
        self.words = words
        self.other = directory / "other"
        self.other.mkdir()
        super().__init__(directory)

    def mount(self):
        run(*(word.format(real=self.real, point=self.point, other=self.other) for word in self.words))


class Encrypted(Command):
    def __init__(self, directory):
        self.password = directory / "password"
        self.password.write_text("secret\n")
        super().__init__(directory, "gocryptfs", "-q", "-allow_other", "-passfile", str(self.password),
                         "{real}", "{point}")

    def prepare(self):
        run("gocryptfs", "-q", "-init", "-passfile", self.password, self.real)


class Sshfs(Storage):
    """By a server of its own on the loopback interface."""

    PORT = 22422

    def __init__(self, directory, *options):
        self.options = options
        super().__init__(directory)

    def prepare(self):
        for name in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.directory / name)
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        shutil.copy(self.directory / "user.pub", self.directory / "authorized")
        self.server = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-h", self.directory / "host",
             *(f"-o{option}" for option in (
                 f"Port={self.PORT}", "ListenAddress=127.0.0.1", f"AuthorizedKeysFile={self.directory}/authorized",
                 "StrictModes=no", "PermitRootLogin=yes", f"PidFile={self.directory}/pid", "UsePAM=no",
                 "Subsystem=sftp internal-sftp"))], stderr=subprocess.DEVNULL)
        time.sleep(1)

    def mount(self):
        options = [f"port={self.PORT}", f"IdentityFile={self.directory}/user", "StrictHostKeyChecking=no",
                   "UserKnownHostsFile=/dev/null", "allow_other", *self.options]
        run("sshfs", f"root@127.0.0.1:{self.real}", self.point, "-o", ",".join(options))

    def end(self):
        super().end()
        self.server.terminate()
        self.server.wait()


def rows():
    """Name, the program that it needs, and how to make it."""
    yield "ext4", "mkfs.ext4", functools.partial(Image, make=("mkfs.ext4", "-q", "-F"))
    yield "XFS", "mkfs.xfs", functools.partial(Image, make=("mkfs.xfs", "-q"))
    yield "btrfs", "mkfs.btrfs", functools.partial(Image, make=("mkfs.btrfs", "-q"))
    yield "tmpfs", "mount", Memory
    yield "ntfs-3g", "mkntfs", functools.partial(Image, make=("mkntfs", "-q", "-F", "-f"), attach=("ntfs-3g",), mib=128)
    yield "exfat-fuse", "mount.exfat-fuse", functools.partial(
        Device, make=("mkfs.exfat",), attach=("mount.exfat-fuse",), mib=128)
    yield "sshfs", "sshfs", Sshfs
    yield "sshfs, cache=no", "sshfs", lambda directory: Sshfs(directory, "cache=no")
    for mode in ("hybrid-hash", "path-hash", "devino-hash", "passthrough"):
        yield (f"mergerfs, {mode}", "mergerfs",
               lambda directory, mode=mode: Command(directory, "mergerfs", "-o",
                                                    f"allow_other,inodecalc={mode}", "{real}:{other}", "{point}"))
    yield "unionfs", "unionfs", lambda directory: Command(
        directory, "unionfs", "-o", "cow,allow_other", "{real}=RW:{other}=RO", "{point}")
    yield "bindfs", "bindfs", lambda directory: Command(directory, "bindfs", "{real}", "{point}")
    for mode in ("off", "writes"):
        yield (f"rclone, vfs-cache-mode {mode}", "rclone",
               lambda directory, mode=mode: Command(
                   directory, "rclone", "mount", "--daemon", "--allow-other", "--vfs-cache-mode", mode,
                   "--vfs-write-back", "0s", "--dir-cache-time", "1s",
                   "--cache-dir", "{other}", ":local:{real}", "{point}"))
    yield "gocryptfs", "gocryptfs", Encrypted
    for quirks in test_quirks.DONE:
        yield (f"quirkfs, {quirks}", str(test_quirks.QUIRKFS),
               lambda directory, quirks=quirks: Command(
                   directory, str(test_quirks.QUIRKFS), "{real}", "{point}", quirks))


class Site:
    """A storage, and a daemon with it as its only directory."""

    def __init__(self, directory, storage):
        self.dir = directory
        self.storage = storage
        self.socket = directory / "sock"
        self.config = directory / "vmad.toml"
        (directory / "state").mkdir()
        self.config.write_text(f'socket = "{self.socket}"\nstate_dir = "{directory}/state"\n'
                               f'directories = ["{storage.point}"]\ngrace_period = "0s"\n')
        self.path = storage.point / "vzdump-qemu-100-2026_01_01-02_00_00.vma"
        made = directory / "made" / "x.vma"
        made.parent.mkdir()
        self.archive = Archive(made, disk="drive-scsi0=4M")
        self.daemon = None

    def start(self):
        self.daemon = Daemon(self)

    def kill(self):
        if self.daemon is not None and self.daemon.is_running():
            self.daemon.kill()

    def reset(self):
        """The archive as it was dumped, and nothing beside it."""
        for entry in self.storage.point.iterdir():
            if not entry.is_dir():
                entry.unlink()
        self.path.write_bytes(self.archive.old)

    def left_over(self):
        return [entry.name for entry in self.storage.point.iterdir() if entry.name != self.path.name
                and not entry.is_dir()]

    def end_of(self, job_id):
        job = self.daemon.wait(job_id, seconds=PATIENCE)
        if job["state"] not in ("done", "unchanged"):
            return f"{job['state']}: {job['reason']}"
        if self.path.read_bytes() != self.archive.new:
            return "done, but the content is another"
        return f"warned: {job['warning']}" if job.get("warning") else "done"


class Tally:
    """How many ended well, what the others said, and what was left."""

    def __init__(self):
        self.well = self.all = self.left = 0
        self.others = []

    def add(self, end, left_over):
        self.all += 1
        self.well += end == "done"
        self.left += bool(left_over)
        if end != "done" and end not in self.others:
            self.others.append(end)

    def __str__(self):
        return f"{self.well} of {self.all}" if self.all else "-"


def try_kills(site, moments, seconds, mount_again, tally):
    for n in range(moments):
        site.reset()
        job_id = site.daemon.add(site.path)
        time.sleep(seconds * (n + 0.5) / moments)
        site.kill()
        try:
            if site.path.read_bytes() not in (site.archive.old, site.archive.new):
                tally.add("neither the old nor the new content after a kill", [])
                return
        except FileNotFoundError:
            tally.add("no archive after a kill", [])
            return
        if mount_again:
            site.storage.unmount()
            site.storage.mount()
        site.start()
        tally.add(site.end_of(job_id), site.left_over())


def report(name, make, moments):
    """Prints one row of the table. False when something did not hold."""
    with contextlib.ExitStack() as cleanup:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-storage-"))
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
        (directory / "storage").mkdir()
        killed, mounted = Tally(), Tally()
        end, seconds = "", 0.0
        try:
            storage = make(directory / "storage")
            cleanup.callback(storage.end)
            storage.mount()
            site = Site(directory, storage)
            cleanup.callback(site.kill)
            site.reset()
            site.start()
            begin = time.monotonic()
            end = site.end_of(site.daemon.add(site.path))
            seconds = time.monotonic() - begin
            left = site.left_over()
            if end == "done":
                try_kills(site, moments, seconds, False, killed)
                if storage.can_mount_again:
                    try_kills(site, moments, seconds, True, mounted)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            end, left = end or f"not tried: {error}", []
            killed.others.append(str(error))
        remarks = "; ".join((*killed.others, *mounted.others)).replace("\n", " ").replace("|", "/")
        left_over = bool(left) + killed.left + mounted.left
        print(f"| {name} | {end.splitlines()[0]} | {killed} | {mounted} | {left_over} | {remarks} |", flush=True)
        return end.startswith("not tried: ") or not (remarks or left_over or end.startswith("done, but"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    names = [name for name, _, _ in rows()]
    for wanted in options.names:
        if not any(name.startswith(wanted) for name in names):
            parser.error(f"there is no '{wanted}'; there are {', '.join(names)}")
    all_hold = True
    print("| file system | undisturbed | killed: done | killed, mounted anew: done | runs with left-overs | remarks |")
    print("|---|---|---|---|---|---|")
    for name, program, make in rows():
        if options.names and not name.startswith(tuple(options.names)):
            continue
        if not shutil.which(program):
            print(f"| {name} | not tried: {program} is not installed | | | | |")
            continue
        all_hold &= report(name, make, options.moments)
    sys.exit(0 if all_hold else 1)


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit("only root can mount")
    main()
