#!/usr/bin/env python3
"""How long a restore takes by zstd and a reader that works as Proxmox's does, of each form of a compressed archive.

Restores take turns: the archive as vzdump leaves it, normalized by BUILD, and normalized by each --other build. The
archive is in the page cache, the disks are written into --dir and not synced. Needs five times the disk's size there.
"""
import argparse
import os
import tempfile

from bench_disk import MIB, VZDUMP_ZSTD, add_disk_options, disk_image, generate_of, run, vmactl_of
from rounds import Rounds


def make_archives(options, directory):
    """Name -> path of the forms."""
    archives = {"as dumped": os.path.join(directory, "dumped.vma.zst")}
    image = disk_image(options, directory)
    run(f"{generate_of(options.build)} - --disk drive-scsi0=@{image} | {VZDUMP_ZSTD} >{archives['as dumped']}")
    for number, build in enumerate([options.build] + options.other):
        name = f"normalized by {build}" if number else "normalized"
        archives[name] = os.path.join(directory, f"{number}.vma.zst")
        run(f"{vmactl_of(build)} repack {archives['as dumped']} {archives[name]} >/dev/null")
    if image != options.image:
        os.rename(image, os.path.join(directory, "expected.raw"))
        options.image = os.path.join(directory, "expected.raw")
    return archives


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with vmactl, vma-generate and plain-restore")
    parser.add_argument("--other", action="append", default=[], help="a build directory with another vmactl")
    add_disk_options(parser, "1.5G")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=os.path.abspath, help="add the costs to this file")
    options = parser.parse_args()
    reader = os.path.join(os.path.abspath(options.build), "tests/bench/plain-restore")
    if not os.path.exists(reader):
        raise SystemExit(f"{reader} is missing: ninja -C {options.build} tests/bench/plain-restore")
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        archives = make_archives(options, directory)
        restored = os.path.join(directory, "restored")
        os.mkdir(restored)
        commands = {name: f"zstd -q -d -c {archive} | {reader} {restored}" for name, archive in archives.items()}
        for name, command in commands.items():
            run(f"{command} && cmp {options.image} {restored}/drive-scsi0.raw")
        rounds = Rounds({name: (f"rm -f {restored}/*; cat {archives[name]} >/dev/null; sync", command)
                         for name, command in commands.items()}, options.rounds)
        for name, archive in archives.items():
            print(f"{name}: {os.path.getsize(archive) / MIB:.1f} MiB")
        rounds.print_costs()
        for other in list(archives)[:1] + list(archives)[2:]:
            rounds.print_ratio("normalized", other)
        rounds.write_json(options.json, "restore")


main()
