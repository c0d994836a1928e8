"""Disks with a file system whose power can be cut.

By "device", a disk of tests/support/powerdisk.cpp below a loop device: at the cut a part of what was not flushed is
lost, in blocks, in whatever order it was written. By "shutdown", the ioctl of ext4 and XFS that ends all writing: with
the journal as it is on the disk, or written out first. btrfs has that only in kernels newer than most.

    with directory_of_disks() as directory:
        disk = PowerDisk(directory, "name", "ext4", "device")
        disk.turn_on()
        ...                                   # in disk.point
        disk.cut(random.Random(1))
        disk.turn_off()

Whatever ends the test, SIGKILL included, a process of its own then ends what has files there, unmounts the disks and
removes the directory.
"""

import contextlib
import fcntl
import functools
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import support  # noqa: E402

BASE = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
POWERDISK = support.BUILD / "tests/support/powerdisk"
PATIENCE = 120

FS_IOC_SHUTDOWN = 0x8004587D
SHUTDOWN_FLAGS = {"default": 0, "log flushed": 1, "no log flushed": 2}

# By file system: how it is made, and a size in MiB that its program takes everywhere.
MAKE = {
    "ext4": (("mkfs.ext4", "-q", "-F"), 64),
    "xfs": (("mkfs.xfs", "-q", "-f", "-K"), 320),
    "btrfs": (("mkfs.btrfs", "-q", "-f", "-K"), 128),
}
WAYS = {"ext4": ("device", "shutdown"), "xfs": ("device", "shutdown"), "btrfs": ("device",)}


def run(*command):
    name = pathlib.Path(command[0]).name
    try:
        result = subprocess.run([str(word) for word in command], check=False, timeout=PATIENCE,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{name} has not ended in {PATIENCE} s") from error
    if result.returncode != 0:
        raise OSError(f"{name}: {result.stdout.strip()}")
    return result.stdout.strip()


def mounted_below(directory):
    """The latest first."""
    points = [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if point.startswith(f"{directory}/")]


def users_of(directory, are_disks):
    """Who has a file open there: the powerdisks, or the others."""
    found = set()
    for descriptor in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(descriptor).startswith(f"{directory}/"):
                is_disk = (descriptor.parents[1] / "comm").read_text() == f"{POWERDISK.name}\n"
                found |= {int(descriptor.parts[2])} if is_disk == are_disks else set()
    return found


def kill_users_of(directory, are_disks):
    for pid in users_of(directory, are_disks) - {os.getppid()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def clean_up(directory):
    """A disk that hangs is killed: who waits for it gets an I/O error then."""
    kill_users_of(directory, are_disks=False)
    hangs = threading.Timer(PATIENCE, kill_users_of, (directory, True))
    hangs.daemon = True
    hangs.start()
    for point in mounted_below(directory):
        subprocess.run(["umount", "--lazy", point], check=False)
    end = time.monotonic() + 2 * PATIENCE
    while users_of(directory, are_disks=True) and time.monotonic() < end:
        time.sleep(0.01)
    while directory.exists() and time.monotonic() < end:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if directory.exists() or mounted_below(directory) else 0


@contextlib.contextmanager
def directory_of_disks():
    """In memory where that can be. The process that cleans up is in a session of its own: meson kills the whole group
    of a test that takes too long."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-power-", dir=BASE))
    cleaner = subprocess.Popen([sys.executable, __file__, directory], start_new_session=True, stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield directory
    finally:
        cleaner.stdin.close()
        if cleaner.wait(3 * PATIENCE) != 0:
            raise AssertionError(f"{directory} cannot be unmounted and removed")


def why_not():
    """What is missing here for any of it; nothing when nothing is."""
    if os.geteuid() != 0:
        return "only root can mount"
    return None if POWERDISK.exists() else "tests/support/powerdisk was not built"


@functools.cache
def why_not_with(file_system, way):
    """Why the power of such a disk cannot be cut here, as one that is tried says; nothing when it can."""
    program = MAKE[file_system][0][0]
    if not shutil.which(program):
        return f"{program} is not installed"
    with directory_of_disks() as directory:
        try:
            disk = PowerDisk(directory, "disk", file_system, way)
            disk.turn_on()
            disk.cut(random.Random(1))
        except OSError as error:
            return f"no such disk here: {error}".partition("\n")[0].replace(f"{directory}/", "")
    return None


class PowerDisk:
    """A disk in `directory`, with a file system that is mounted at self.point while it is on."""

    def __init__(self, directory, name, file_system, way):
        self.file_system, self.way = file_system, way
        self.file = directory / f"{name}.image"
        self.fuse = directory / f"{name}.fuse"
        self.point = directory / name
        self.fuse.mkdir()
        self.point.mkdir()
        make, mib = MAKE[file_system]
        with open(self.file, "wb") as image:
            image.truncate(mib << 20)
        run(*make, self.file)

    def turn_on(self):
        device = self.file
        if self.way == "device":
            run(POWERDISK, self.file, self.fuse)
            device = self.fuse / "disk"
        loop = run("losetup", "--find", "--show", device)
        try:
            run("mount", "-t", self.file_system, loop, self.point)
        finally:
            run("losetup", "--detach", loop)  # once it is unmounted, whoever does that

    def cut(self, random):
        """Cuts the power. Returns in what way."""
        seed = random.getrandbits(32)
        if self.way == "device":
            (self.fuse / "cut").write_text(str(seed))
            return f"device, seed {seed}"
        flag = random.choice(sorted(SHUTDOWN_FLAGS))
        descriptor = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_SHUTDOWN, struct.pack("I", SHUTDOWN_FLAGS[flag]))
        finally:
            os.close(descriptor)
        return f"shutdown, {flag}"

    def turn_off(self):
        """Whatever state it is in. Nobody has a file open there any more."""
        self.unmount(self.point)
        self.unmount(self.fuse)

    @staticmethod
    def unmount(point):
        """Not lazily: the device must be free. Nobody can look at the point itself, once its disk is off."""
        end = time.monotonic() + PATIENCE
        while f" {point} " in pathlib.Path("/proc/self/mounts").read_text():
            with contextlib.suppress(OSError):  # busy
                run("umount", point)
            if time.monotonic() > end:
                raise AssertionError(f"{point} cannot be unmounted")
            time.sleep(0.01)


if __name__ == "__main__":
    sys.stdin.read()  # until the test ends
    sys.exit(clean_up(pathlib.Path(sys.argv[1])))
