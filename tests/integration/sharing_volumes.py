"""File systems that share blocks, and backups of a guest that have much in common, to try it on."""

import atexit
import os
import pathlib
import random
import shutil
import signal
import subprocess

MIB = 2**20
BLOCK = 4096
MAKE = {"xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"), "btrfs": ("mkfs.btrfs", "-q")}


def why_not(kind):
    """Why there can be no such file system here, or None. Only an attempt tells whether the kernel knows it."""
    if os.geteuid() != 0:
        return "only root can mount"
    if not shutil.which(MAKE[kind][0]):
        return f"{MAKE[kind][0]} is not installed"
    return None


class Volume:
    """A file system in a sparse file, mounted at `point` until close(). OSError where that cannot be."""

    def __init__(self, kind, directory, mib):
        self.image = pathlib.Path(directory) / f"{kind}.image"
        self.point = pathlib.Path(directory) / kind
        with open(self.image, "wb") as image:
            image.truncate(mib * MIB)
        subprocess.run([*MAKE[kind], self.image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.point.mkdir()
        # However the test ends, by the SIGTERM of a time limit, say, nothing stays mounted.
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        self.mount("rw")

    def mount(self, *options):
        result = subprocess.run(["mount", "-o", ",".join(("loop", *options)), self.image, self.point], check=False,
                                stderr=subprocess.PIPE, text=True)
        if result.returncode != 0:
            raise OSError(f"cannot mount: {result.stderr.strip()}")

    def unmount(self):
        subprocess.run(["umount", self.point], check=True)

    def close(self):
        atexit.unregister(self.close)
        if os.path.ismount(self.point):
            subprocess.run(["umount", "--lazy", self.point], check=True)
        self.image.unlink(missing_ok=True)

    def used_bytes(self):
        """After everything was written out, and what is not used any more given back."""
        for _ in range(2):
            subprocess.run(["sync", "--file-system", self.point], check=True)
        status = os.statvfs(self.point)
        return (status.f_blocks - status.f_bfree) * status.f_frsize


def half_random(rng, size):
    """Bytes that compress to a half."""
    return rng.randbytes(size // 2 + 1).hex()[:size].encode()


def change_day(disk, size, rng, pattern):
    """1 % of the disk becomes new. "files": where files of up to 8 MiB are written. "mixed": a tenth of it in pages of
    16 KiB in a part of the disk that changes each day, a fiftieth of it. "scattered": in pieces of 64 KiB to 1 MiB
    anywhere."""
    left = size // 100
    with open(disk, "r+b") as file:
        def write(within, count):
            file.seek(rng.randrange(max(1, (within - count) // BLOCK)) * BLOCK)
            file.write(half_random(rng, count))

        if pattern == "mixed":
            for _ in range(max(1, left // 10 // (4 * BLOCK))):
                write(size // 50, 4 * BLOCK)
            left -= left // 10
        while left >= BLOCK:
            most = rng.choice((16, 64, 256)) if pattern == "scattered" else 2048
            count = min(left, most * BLOCK) // BLOCK * BLOCK
            write(size, count)
            left -= count


def backup_name(day, ending):
    return f"vzdump-qemu-100-2026_01_{day + 1:02}-02_00_00.vma{ending}"


def make_backups(vmactl, directory, mib, days, endings, pattern="files"):
    """Canonical archives of a guest with a disk of `mib` MiB, one of each format for each day. Returns their paths by
    ending, in order."""
    directory = pathlib.Path(directory)
    rng = random.Random(15)
    disk, config = directory / "disk.raw", directory / "qemu-server.conf"
    config.write_text(f"name: web\nscsi0: local:vm-100-disk-0,size={mib}M\n#qmdump#map:scsi0:drive-scsi0:local:raw:\n")
    with open(disk, "wb") as file:
        for _ in range(mib):
            file.write(half_random(rng, MIB))
    made = {ending: [] for ending in endings}
    for day in range(days):
        if day:
            change_day(disk, mib * MIB, rng, pattern)
        for ending, paths in made.items():
            path = directory / backup_name(day, ending)
            subprocess.run([vmactl, "create", "--no-verify", "--time", str(1767232800 + 86400 * day), path,
                            "--disk", f"drive-scsi0={disk}", "--config", f"qemu-server.conf={config}"],
                           check=True, stdout=subprocess.DEVNULL)
            paths.append(path)
    disk.unlink()
    return made
