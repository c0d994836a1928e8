"""Disks with a file system whose power can be cut.

By "device", a disk of tests/support/powerdisk.cpp below a loop device: at the cut a part of what was not flushed is
lost, in blocks, in whatever order it was written. By "shutdown", the ioctl of ext4 and XFS that ends all writing: with
the journal as it is on the disk, or written out first. btrfs has that only in kernels newer than most.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import time

import support

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
    result = subprocess.run([str(word) for word in command], check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        raise OSError(f"{command[0]}: {result.stdout.strip()}")
    return result.stdout.strip()


def why_not():
    """What is missing here for any of it; nothing when nothing is."""
    if os.geteuid() != 0:
        return "only root can mount"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse here"
    if subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode != 0:
        return "there are no loop devices here"
    return None if POWERDISK.exists() else "tests/support/powerdisk was not built"


def why_not_with(file_system):
    """The same for this file system."""
    program = MAKE[file_system][0][0]
    if not shutil.which(program):
        return f"{program} is not installed"
    known = pathlib.Path("/proc/filesystems").read_text().split()
    return None if file_system in known else f"the kernel here has no {file_system}"


class PowerDisk:
    """A disk in `directory`, with a file system that is mounted at self.point while it is on."""

    def __init__(self, directory, name, file_system, way):
        self.file_system, self.way = file_system, way
        self.file = directory / f"{name}.image"
        self.fuse = directory / f"{name}.fuse"
        self.point = directory / name
        self.fuse.mkdir()
        self.point.mkdir()
        self.loop = None
        make, mib = MAKE[file_system]
        with open(self.file, "wb") as image:
            image.truncate(mib << 20)
        run(*make, self.file)

    def turn_on(self):
        device = self.file
        if self.way == "device":
            run(POWERDISK, self.file, self.fuse)
            device = self.fuse / "disk"
        self.loop = run("losetup", "--find", "--show", device)
        run("mount", "-t", self.file_system, self.loop, self.point)

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
        if self.loop:
            with contextlib.suppress(OSError):
                run("losetup", "--detach", self.loop)
            self.loop = None
        self.unmount(self.fuse)

    @staticmethod
    def unmount(point):
        """Not lazily: the device must be free. Nobody can look at the point itself, once its disk is off."""
        end = time.monotonic() + PATIENCE
        while f" {point} " in pathlib.Path("/proc/self/mounts").read_text():
            subprocess.run(["umount", point], check=False, stderr=subprocess.DEVNULL, timeout=PATIENCE)
            if time.monotonic() > end:
                raise OSError(f"{point} cannot be unmounted")
            time.sleep(0.01)

    def remove(self):
        self.turn_off()
        self.file.unlink()
