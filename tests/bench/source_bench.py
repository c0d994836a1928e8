#!/usr/bin/env python3
"""What it costs to read an archive a second time before it is replaced (verify_source).

vmactl repack --in-place with --verify-source off, auto and always takes turns on a .vma and a .vma.zst (with checksums,
so that auto reads it once). The archive is out of the page cache before each. The last command is a plain read of the
archive past the page cache, which is what the second reading comes to. Needs four times the size of an archive in --dir:
the disk there is what is measured.
"""
import argparse
import os
import tempfile

from bench_disk import MIB, VZDUMP_ZSTD, add_disk_options, disk_image, generate_of, run, size_bytes, vmactl_of
from rounds import Rounds

WHENS = ("off", "auto", "always")


def measure(options, directory, title, ending, make):
    source, archive = (os.path.join(directory, name + ending) for name in ("source", "archive"))
    run(f"{make} >{source} && touch -d '2 minutes ago' {source}")
    prepare = (f"cp -p --reflink=never {source} {archive} && sync && "
               f"dd if={archive} iflag=nocache count=0 status=none && dd if={source} iflag=nocache count=0 status=none")
    repack = (f"{vmactl_of(options.build)} repack --in-place --state-dir {directory}/state --threads {options.threads} "
              f"--verify-source")
    rounds = Rounds({**{when: (prepare, f"{repack} {when} {archive} && sync {archive}") for when in WHENS},
                     "read": (prepare, f"dd if={archive} of=/dev/null bs=4M iflag=direct status=none")}, options.rounds)
    print(f"\n{title}: archive of {os.path.getsize(source) / MIB:.0f} MiB, {options.threads} threads")
    rounds.print_costs()
    for when in WHENS[1:]:
        rounds.print_ratio(when, "off")
    rounds.write_json(options.json, title)
    os.remove(source)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with vmactl and vma-generate")
    parser.add_argument("formats", nargs="*", help="raw, zst")
    add_disk_options(parser, "3G")
    parser.add_argument("--random-size", type=size_bytes, help="a disk of so much random content in place of files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=os.path.abspath, help="add the costs to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        disk = f"{options.random_size} --zero-fraction 0" if options.random_size else \
            f"@{disk_image(options, directory)}"
        dump = f"{generate_of(options.build)} - --jitter 16 --disk drive-scsi0={disk}"
        made = {"raw": (".vma", dump), "zst": (".vma.zst", f"{dump} | {VZDUMP_ZSTD}")}
        for name in options.formats or made:
            measure(options, directory, name, *made[name])


if __name__ == "__main__":
    main()
