#!/usr/bin/env python3
"""How long vmactl diff takes for two archives that differ in some blocks, all over the disk; and for two seek tables.

By checksums and by content, zstd and raw, against reading both archives with zstd. They are in the page cache. The tables
are those of archives whose frames are holes: every region of a disk of --table has one, and one in a hundred differs.
Needs some three times --size in --dir.
"""
import argparse
import os
import random
import struct
import tempfile

from bench_disk import MIB, generate_of, run, size_bytes, vmactl_of
from rounds import Rounds

REGION = 2 * MIB
PAGE = 4096
STORED = 256 * PAGE  # of each made-up frame


def make_days(options, directory):
    """{form: paths of the older and the newer archive}"""
    forms = {"zst": [], "raw": []}
    for day in range(2):
        for form, ending in (("raw", ".vma"), ("zst", ".vma.zst")):
            forms[form].append(os.path.join(directory, f"day{day}{ending}"))
        raw, zst = forms["raw"][day], forms["zst"][day]
        run(f"{generate_of(options.build)} - --disk drive-scsi0={options.size} --zero-fraction {options.zeros} "
            f"--change {day * options.changes} --dump-seed {day} | "
            f"{vmactl_of(options.build)} repack - {raw} >/dev/null")
        run(f"{vmactl_of(options.build)} repack --no-verify {raw} {zst} >/dev/null")
    return forms


def filling(size):
    return struct.pack("<II", 0x184D2A50, size - 8) + bytes(size - 8)


def make_tables(options, directory):
    """Two archives of a disk of options.table, with a header and a seek table, and nothing between."""
    empty = os.path.join(directory, "empty.vma.zst")
    run(f"{generate_of(options.build)} - --disk drive-scsi0={options.table >> 30}G --zero-fraction 1 | "
        f"{vmactl_of(options.build)} repack --no-verify - {empty} >/dev/null")
    with open(empty, "rb") as file:
        file.seek(-9, os.SEEK_END)
        count, = struct.unpack("<I5x", file.read())
        file.seek(-9 - 12 * count, os.SEEK_END)
        stored, content, checksum = struct.unpack("<III", file.read(12))
        file.seek(0)
        header = file.read(stored)
    header += filling(2 * PAGE - stored % PAGE)
    draw = random.Random(1)
    older = [draw.getrandbits(32) for _ in range(options.table // REGION)]
    newer = [draw.getrandbits(32) if draw.random() < 0.01 else value for value in older]
    paths = []
    for number, checksums in enumerate((older, newer)):
        table = struct.pack("<III", len(header), content, checksum)
        table += b"".join(struct.pack("<III", STORED, 512 + REGION, value) for value in checksums)
        frames = len(checksums) + 1
        paths.append(os.path.join(directory, f"table{number}.vma.zst"))
        with open(paths[-1], "wb") as file:
            file.write(header)
            file.truncate(len(header) + STORED * len(checksums))
            file.seek(0, os.SEEK_END)
            file.write(struct.pack("<II", 0x184D2A5E, len(table) + 9) + table +
                       struct.pack("<IBI", frames, 0x80, 0x8F92EAB1))
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with vmactl and vma-generate")
    parser.add_argument("--dir", default=None, type=os.path.abspath, help="for everything temporary")
    parser.add_argument("--size", default="8G", help="of the disk (8G)")
    parser.add_argument("--zeros", type=float, default=0.7, help="share of it that is zero (0.7)")
    parser.add_argument("--changes", type=int, default=200, help="blocks that differ (200)")
    parser.add_argument("--table", type=size_bytes, default=size_bytes("1T"), help="size of the disk of the tables (1T)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=os.path.abspath, help="add the costs to this file")
    options = parser.parse_args()
    diff = f"{vmactl_of(options.build)} diff"
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        days = make_days(options, directory)
        older, newer = make_tables(options, directory)
        zst, raw = (" ".join(days[form]) for form in ("zst", "raw"))
        rounds = Rounds({
            "zst, checksums": (f"cat {zst} >/dev/null", f"{diff} {zst}"),
            "zst, --blocks": ("true", f"{diff} --blocks {zst}"),
            "zstd -dc of both": ("true", f"for archive in {zst}; do zstd -q -d -c $archive >/dev/null; done"),
            "raw": (f"cat {raw} >/dev/null", f"{diff} {raw}"),
            "cat of both raw": ("true", f"cat {raw} >/dev/null"),
            # There is no partition table in a hole, which is said.
            "tables": ("true", f"{diff} {older} {newer} 2>/dev/null"),
        }, options.rounds)
        print(run(f"{diff} {zst}").output.decode())
        for path in days["zst"] + days["raw"] + [older, newer]:
            print(f"{os.path.basename(path)}: {os.path.getsize(path) / MIB:.1f} MiB")
        rounds.print_costs()
        rounds.print_ratio("zst, checksums", "zstd -dc of both")
        rounds.print_ratio("zst, --blocks", "zstd -dc of both")
        rounds.print_ratio("raw", "cat of both raw")
        rounds.write_json(options.json, "diff")


main()
