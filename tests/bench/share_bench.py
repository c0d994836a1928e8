#!/usr/bin/env python3
"""What vmactl share saves on XFS and btrfs: room, wall time and bytes read for nightly backups of one guest.

Each day 1 % of the disk becomes new: nine tenths of it in files of up to 8 MiB, a tenth in pages of 16 KiB in a part of
the disk that changes each day. --pattern files: all of it in such files; scattered: in pieces of 64 KiB to 1 MiB
anywhere, which spoils most regions of a compressed archive. The archives are made once, and
copied to a new file system in a file; "again" is a second run, when all is shared. The page cache is dropped before
each run. Needs root, and room for three times the backups in --dir.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from bench_disk import MIB, progress, vmactl_of

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from sharing_volumes import MAKE, Volume, make_backups  # noqa: E402


def device_read_bytes(volume):
    """From the loop device, since it was made: what the kernel reads to compare counts, too."""
    name = subprocess.run(["findmnt", "-n", "-o", "SOURCE", str(volume.point)], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip().removeprefix("/dev/")
    return int(pathlib.Path(f"/sys/class/block/{name}/stat").read_text().split()[2]) * 512


def share(vmactl, volume, state):
    subprocess.run(["sync"], check=True)
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
    read, start = device_read_bytes(volume), time.monotonic()
    output = subprocess.run([vmactl, "--json", "share", "--state-dir", state, volume.point], check=True,
                            stdout=subprocess.PIPE).stdout
    wall = time.monotonic() - start
    shared = sum(json.loads(line)["shared_bytes"] for line in output.splitlines())
    return wall, device_read_bytes(volume) - read, shared


def pieces(paths):
    """The largest number of extents of any of these files."""
    lines = subprocess.run(["filefrag", *paths], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return max(int(line.rsplit(":", 1)[1].split()[0]) for line in lines)


def measure(kind, ending, paths, options, directory):
    vmactl = vmactl_of(options.build)
    sizes = sum(path.stat().st_size for path in paths)
    volume = Volume(kind, directory, sizes * 5 // 4 // MIB + 1024)
    try:
        empty = volume.used_bytes()
        copies = []
        for path in paths:
            subprocess.run(["cp", "--reflink=never", path, volume.point], check=True)
            copies.append(volume.point / path.name)
            if len(copies) == 1:
                one = volume.used_bytes() - empty
        before = volume.used_bytes() - empty
        wall, read, shared = share(vmactl, volume, directory)
        after = volume.used_bytes() - empty
        for path, copy in zip(paths, copies):
            subprocess.run(["cmp", path, copy], check=True)
        again_wall, again_read, _ = share(vmactl, volume, directory)
        print(f"{kind:6} {ending or '.vma':5} {len(paths):3} {sizes / MIB:8.0f} {before / one:7.2f} {after / one:7.2f} "
              f"{shared / MIB:8.0f} {wall:7.1f} {read / MIB:8.0f} {again_wall:7.2f} {again_read / MIB:7.1f} "
              f"{pieces(copies):6}", flush=True)
    finally:
        volume.close()
        volume.point.rmdir()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="the build directory")
    parser.add_argument("--dir", help="where the file systems and archives are made")
    parser.add_argument("--mib", type=int, default=512, help="size of the guest's disk (default 512)")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--pattern", choices=("files", "mixed", "scattered"), default="mixed",
                        help="how the guest changes (default mixed)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        directory = pathlib.Path(directory)
        progress(f"{options.days} backups of {options.mib} MiB in two formats")
        made = make_backups(vmactl_of(options.build), directory, options.mib, options.days, ("", ".zst"),
                            options.pattern)
        print(f"{'':6} {'':5} {'':3} {'':8} {'room, in backups':>15} {'':25} {'again':>15}")
        print(f"{'on':6} {'':5} {'n':>3} {'MiB':>8} {'before':>7} {'after':>7} {'shared':>8} {'wall s':>7} "
              f"{'read MiB':>8} {'wall s':>7} {'MiB':>7} {'pieces':>6}")
        for kind in MAKE:
            for ending, paths in made.items():
                measure(kind, ending, paths, options, directory)


if __name__ == "__main__":
    main()
