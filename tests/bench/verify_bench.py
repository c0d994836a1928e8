#!/usr/bin/env python3
"""What it costs to verify an archive, beside zstd -t and a plain read of it.

They take turns. The archive is out of the page cache before each, which vmactl verify does not use in any case. zstd -t
only looks at the checksums of the frames; vmactl verify also checks every rule of the format and the content digest.
The last line is a damaged archive: it is read a second time, for all of its damaged places. Needs twice the content of
the disk in --dir.
"""
import argparse
import os
import tempfile

from bench_disk import add_disk_options, disk_image, generate_of, run, vmactl_of
from rounds import Rounds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with vmactl and vma-generate")
    add_disk_options(parser, "1.5G")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=os.path.abspath, help="add the costs to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        archive, damaged = (os.path.join(directory, name) for name in ("good.vma.zst", "damaged.vma.zst"))
        image = disk_image(options, directory)
        run(f"{generate_of(options.build)} - --disk drive-scsi0=@{image} | {vmactl_of(options.build)} repack - "
            f"{archive} >/dev/null && cp {archive} {damaged}")
        with open(damaged, "r+b") as file:
            file.seek(os.path.getsize(damaged) // 2)
            file.write(b"damage")
        drop = "sync; dd if={} iflag=nocache count=0 status=none"
        verify = f"{vmactl_of(options.build)} verify --threads {options.threads}"
        rounds = Rounds({"read": (drop.format(archive), f"cat {archive} >/dev/null"),
                         "zstd -t": (drop.format(archive), f"zstd -q -t {archive}"),
                         "vmactl verify": (drop.format(archive), f"{verify} {archive} >/dev/null"),
                         "vmactl verify, damaged": (drop.format(damaged),
                                                    f"{verify} {damaged} >/dev/null; [ $? = 6 ]")}, options.rounds)
        print(f"archive: {os.path.getsize(archive) >> 20} MiB")
        rounds.print_costs()
        rounds.print_ratio("vmactl verify", "zstd -t")
        rounds.print_ratio("vmactl verify, damaged", "zstd -t")
        rounds.write_json(options.json, "verify")


if __name__ == "__main__":
    main()
