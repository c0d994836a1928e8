#!/usr/bin/env python3
"""vmactl diff: what it says of two archives, against a plain comparison of their disks.

Run as: VMAD_BUILD=builddir python3 test_diff.py
"""

import functools
import gzip
import itertools
import pathlib
import random
import re
import shutil
import struct
import subprocess
import tempfile
import unittest

from support import OFFICIAL, VMACTL, ProcessTest, generate

MIB = 1 << 20
REGION = 2 * MIB
BLOCK = 4096
CHANGES = ("equal", "changed", "new", "discarded")


def master_boot_record(*partitions):
    """The first sector of a disk with primary partitions of these types, first MiB and size in MiB."""
    entries = b"".join(struct.pack("<4xB3xII", kind, first * 2048, size * 2048) for kind, first, size in partitions)
    return bytes(446) + entries.ljust(64, b"\0") + b"\x55\xaa"


def some_bytes(seed, size):
    return random.Random(seed).randbytes(size)


def put(disk, offset, content):
    disk[offset:offset + len(content)] = content


def first_day():
    disk = bytearray(24 * MIB)
    put(disk, 0, master_boot_record((0x83, 1, 9), (0x07, 10, 14)))
    put(disk, 2 * MIB, some_bytes(1, 5 * MIB))
    put(disk, 9 * MIB, some_bytes(2, 3 * MIB))
    put(disk, 17 * MIB, some_bytes(3, 100 * BLOCK))
    return {"drive-scsi0": disk, "drive-efidisk0": bytearray(some_bytes(4, 540672))}


def later_days():
    """The disks of each day: files changed and written, ranges discarded, a disk grown, one added, one removed."""
    days = [first_day()]

    def next_day():
        days.append({name: bytearray(disk) for name, disk in days[-1].items()})
        return days[-1]
    disk = next_day()["drive-scsi0"]
    for block in (600, 601, 700, 1500, 4400):
        put(disk, block * BLOCK, some_bytes(block, BLOCK))
    put(disk, 20 * MIB, some_bytes(5, 2 * MIB))
    disk = next_day()["drive-scsi0"]
    put(disk, 9 * MIB + 5 * BLOCK, bytes(40 * BLOCK))
    put(disk, 4 * MIB, bytes(2 * MIB))
    day = next_day()
    # Grown within a cluster and by whole regions.
    day["drive-scsi0"] += bytes(3 * MIB + 512) + some_bytes(6, 1024)
    day["drive-efidisk0"] += bytes(512)
    day["drive-virtio1"] = bytearray(some_bytes(7, 3 * MIB)) + bytearray(MIB)
    del next_day()["drive-efidisk0"]
    return days


def plain_diff(older, newer):
    """By regions and by blocks, {change: bytes of content}; and the ranges of regions."""
    regions, blocks, ranges = dict.fromkeys(CHANGES, 0), dict.fromkeys(CHANGES, 0), []

    def change(was, now):
        if was == now:
            return "equal"
        return "new" if not any(was) else "discarded" if not any(now) else "changed"

    def cut(disk, offset, size):
        return bytes(disk[offset:offset + size]).ljust(size, b"\0")

    size = max(len(older), len(newer))
    for offset in range(0, size, REGION):
        was, now = cut(older, offset, REGION), cut(newer, offset, REGION)
        if not any(was) and not any(now):
            continue
        stored = [0, 0]
        for at in range(0, REGION, BLOCK):
            pair = was[at:at + BLOCK], now[at:at + BLOCK]
            for side in (0, 1):
                stored[side] += BLOCK if any(pair[side]) else 0
            if any(pair[0]) or any(pair[1]):
                blocks[change(*pair)] += BLOCK
        kind = change(was, now)
        regions[kind] += stored[0 if kind == "discarded" else 1]
        end = min(offset + REGION, size)
        if ranges and ranges[-1]["change"] == kind and ranges[-1]["offset"] + ranges[-1]["size_bytes"] == offset:
            ranges[-1]["size_bytes"] = end - ranges[-1]["offset"]
        else:
            ranges.append({"offset": offset, "size_bytes": end - offset, "change": kind})
    return regions, blocks, ranges


def by_change(value):
    return {change: value[f"{change}_bytes"] for change in CHANGES}


class Days:
    """Each day's archive in three forms, made once."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-"))
        unittest.addModuleCleanup(shutil.rmtree, self.directory)
        self.disks = later_days()
        self.archives = [self.make(number) for number in range(len(self.disks))]

    @functools.cache
    def difference(self, one, other, name):
        return plain_diff(self.disks[one].get(name, b""), self.disks[other].get(name, b""))

    def make(self, number):
        arguments = ["--dump-seed", str(number), "--shuffle"]
        for name, disk in self.disks[number].items():
            image = self.directory / f"{number}-{name}"
            image.write_bytes(disk)
            arguments += ["--disk", f"{name}=@{image}"]
        config = self.directory / f"{number}.conf"
        config.write_text(f"memory: {1024 if number < 2 else 2048}\n")
        arguments += ["--config", f"qemu-server.conf={config}"]
        if number == 2:
            arguments += ["--config", f"qemu-server.fw={config}"]
        forms = {"disordered": generate(self.directory / f"{number}.vma", *arguments),
                 "raw": self.directory / f"{number}-canonical.vma", "zst": self.directory / f"{number}.vma.zst"}
        for form in ("raw", "zst"):
            subprocess.run([VMACTL, "repack", forms["disordered"], forms[form]], check=True, stdout=subprocess.DEVNULL)
        return forms


days = None


def setUpModule():
    global days
    days = Days()


class Comparison(ProcessTest):
    def diff(self, older, newer, *arguments):
        [difference] = self.succeed_json("diff", *arguments, older, newer)
        return difference

    def check(self, difference, one, other, compared):
        """Holds what diff says against the disks of these days."""
        self.assertEqual(difference["compared"], compared)
        older, newer = days.disks[one], days.disks[other]
        found = {disk["name"]: disk for disk in difference["disks"]}
        self.assertEqual(set(found), set(older) | set(newer))
        total = dict.fromkeys(CHANGES, 0)
        for name, disk in found.items():
            regions, blocks, ranges = days.difference(one, other, name)
            self.assertEqual(by_change(disk["regions"]), regions, name)
            self.assertEqual(disk["ranges"], ranges, name)
            self.assertEqual([disk["older_size_bytes"], disk["newer_size_bytes"]],
                             [len(disks[name]) if name in disks else None for disks in (older, newer)])
            if compared == "content":
                self.assertEqual(by_change(disk["blocks"]), blocks, name)
            total = {change: total[change] + regions[change] for change in CHANGES}
        self.assertEqual(by_change(difference["regions"]), total)

    def test_all_pairs_of_days_in_all_forms(self):
        forms = {("zst", "zst"): "checksums", ("zst", "raw"): "content", ("raw", "disordered"): "content",
                 ("disordered", "disordered"): "content"}
        for (i, older), (k, newer) in itertools.product(enumerate(days.archives), repeat=2):
            for (one, other), compared in forms.items():
                with self.subTest(older=(i, one), newer=(k, other)):
                    difference = self.diff(older[one], newer[other], "--map")
                    self.check(difference, i, k, compared)
                    self.assertEqual(difference["equal"], i == k)

    def test_blocks_reads_though_checksums_would_do(self):
        older, newer = (days.archives[day]["zst"] for day in (0, 1))
        self.check(self.diff(older, newer, "--map", "--blocks", "--threads", "3"), 0, 1, "content")
        self.check(self.diff(older, newer, "--map", "--blocks", "--threads", "1"), 0, 1, "content")

    def test_configs(self):
        def configs(one, other):
            difference = self.diff(days.archives[one]["zst"], days.archives[other]["zst"])
            return {config["name"]: config["change"] for config in difference["configs"]}
        self.assertEqual(configs(0, 1), {})
        self.assertEqual(configs(1, 2), {"qemu-server.conf": "changed", "qemu-server.fw": "new"})
        self.assertEqual(configs(2, 3), {"qemu-server.fw": "discarded"})
        self.assertFalse(self.diff(days.archives[2]["zst"], days.archives[3]["zst"])["equal"])

    def test_partitions(self):
        def partitions(*arguments):
            disk = {disk["name"]: disk for disk in self.diff(*arguments)["disks"]}["drive-scsi0"]
            self.assertEqual(disk["partition_table"], "dos")
            return [(part["number"], part["type"], part["offset"] // MIB, part["size_bytes"] // MIB, by_change(part))
                    for part in disk["partitions"]]

        def cut(disks, first, end):
            return disks["drive-scsi0"][first * MIB:end * MIB]
        wanted = [(number, kind, first, end - first,
                   plain_diff(cut(days.disks[0], first, end), cut(days.disks[1], first, end))[1])
                  for number, kind, first, end in ((1, "Linux", 1, 10), (2, "HPFS/NTFS/exFAT", 10, 24))]
        older, newer = days.archives[:2]
        for arguments in ((older["raw"], newer["zst"]), (older["zst"], newer["zst"], "--blocks")):
            self.assertEqual(partitions(*arguments), wanted)
        for found, exact in zip(partitions(older["zst"], newer["zst"]), wanted):
            self.assertEqual(found[:4], exact[:4])
            self.assertGreaterEqual(found[4]["changed"] + found[4]["new"], exact[4]["changed"] + exact[4]["new"])

    def test_official_samples_equal_themselves_in_every_form(self):
        for sample in sorted(OFFICIAL.glob("*.vma")):
            zst = self.dir / (sample.name + ".zst")
            self.succeed("repack", sample, zst)
            for pair in ((sample, sample), (sample, zst), (zst, zst)):
                self.assertTrue(self.diff(*pair)["equal"], pair)
                self.assertIn("The archives have the same content.\n", self.succeed("diff", *pair))

    def test_new_bytes_in_the_file_are_those_of_its_changed_regions(self):
        older, newer = (days.archives[day]["zst"] for day in (0, 1))
        difference = self.diff(older, newer)
        self.assertLess(difference["regions"]["changed_bytes"], difference["new_stored_bytes"])
        self.assertLess(difference["new_stored_bytes"], difference["restic_bytes_at_most"])
        self.assertLess(difference["restic_bytes_at_most"], newer.stat().st_size)
        self.assertNotIn("restic_bytes_at_most", self.diff(older, newer, "--blocks"))
        self.assertEqual(self.diff(older, older)["new_stored_bytes"], 0)


class Text(ProcessTest):
    def table(self, *arguments):
        return {line.split("  ")[0].strip(): line.split() for line in self.succeed("diff", *arguments).splitlines()}

    def test_the_table(self):
        text = self.succeed("diff", days.archives[2]["zst"], days.archives[4]["zst"])
        self.assertEqual(text, """\
DISK                    SIZE    EQUAL  CHANGED      NEW  DISCARDED
drive-scsi0           27 MiB  8.2 MiB        -  4.0 KiB          -
    grown by 3.0 MiB
  1 Linux            9.0 MiB  3.8 MiB        -        -          -
  2 HPFS/NTFS/exFAT   14 MiB  4.4 MiB        -        -          -
drive-virtio1        4.0 MiB        -        -  3.0 MiB          -
    only in the newer archive
drive-efidisk0       528 KiB        -        -        -    528 KiB
    only in the older archive

config qemu-server.fw: only in the older archive
Changed or new: 3.0 MiB of 11 MiB of content; 3.0 MiB of 11 MiB in the newer
file. restic adds at most some 5.5 MiB: whole chunks, also where only a part is
new.
Compared by the checksums of regions of 2 MiB.
""")

    def test_an_archive_that_is_not_canonical_does_not_deduplicate(self):
        text = " ".join(self.succeed("diff", days.archives[0]["zst"], days.archives[1]["disordered"]).split())
        self.assertIn("not canonical: restic and borg add most of it until it is repacked.", text)
        self.assertIn("Compared by content, in blocks of 4 KiB.", text)

    def test_the_map(self):
        text = self.succeed("diff", "--map", days.archives[1]["zst"], days.archives[3]["zst"])
        self.assertTrue(text.startswith("""\
drive-scsi0
     0 B  ░░▁░█░··░·░··█

drive-virtio1
     0 B  ██

drive-efidisk0
     0 B  ░

█ changed or new   ▒ partly so   ▁ discarded   ░ unchanged   · empty
A character stands for 2.0 MiB.

DISK """), text)

    def test_the_map_in_ascii(self):
        self.environment["LC_ALL"] = "C"
        text = self.succeed("diff", "--map", days.archives[1]["zst"], days.archives[3]["zst"])
        self.assertTrue(text.isascii())
        self.assertIn("     0 B  --_-#-..-.-..#\n", text)

    def test_maps_and_tables_fit_the_terminal(self):
        large = generate(self.dir / "large.vma", "--disk", "drive-scsi0=4G", "--disk", "drive-scsi1=40M",
                         "--zero-fraction", "0.9999", "--change", "200")
        other = generate(self.dir / "other.vma", "--disk", "drive-scsi0=4G", "--zero-fraction", "0.9999")
        cells = {}
        for columns in (20, 40, 80, 200):
            self.environment["COLUMNS"] = str(columns)
            lines = self.succeed("diff", "--map", other, large).splitlines()
            drawn = [line for line in lines if re.match(r" *[\d.]+ [KMGT]?i?B  \S*$", line)]
            cells[columns] = sum(len(line.split()[-1]) for line in drawn)
            self.assertLessEqual(max(map(len, drawn)), max(columns, 18))
            self.assertLessEqual(len(drawn), 9)
            if columns >= 80:
                self.assertLessEqual(max(map(len, lines)), columns)
        self.assertGreater(cells[200], cells[80])
        self.assertGreater(cells[80], cells[40])

    def test_colour_only_on_a_terminal(self):
        arguments = ("diff", "--map", days.archives[0]["zst"], days.archives[1]["zst"])
        self.assertIn("\x1b[33m█", self.vmactl_on_terminal(*arguments)[1])
        self.assertNotIn("\x1b", self.succeed(*arguments))

    def test_whole_disks_and_names_of_a_guest(self):
        disk = bytearray(MIB)
        for at, value in ((0x38, 0xef53), (0x4c, 1), (0x5c, 4), (0x60, 0x40)):  # ext4
            put(disk, 1024 + at, value.to_bytes(2, "little"))
        image = self.dir / "image"
        image.write_bytes(disk)
        archive = generate(self.dir / "x.vma", "--disk", f"drive-evil\x1b[2J=@{image}")
        text = self.succeed("diff", archive, archive)
        self.assertIn("drive-evil\\x1b[2J ext4 ", text)
        self.assertNotIn("\x1b", text)


class Failures(ProcessTest):
    def test_compressed_archives_that_are_not_canonical_have_to_be_repacked(self):
        raw = days.archives[0]["disordered"]
        zst, gz = self.dir / "x.vma.zst", self.dir / "x.vma.gz"
        subprocess.run(["zstd", "-q", raw, "-o", zst], check=True)
        gz.write_bytes(gzip.compress(raw.read_bytes(), 1))
        for bad, pair in itertools.product((zst, gz), ((0, 1), (1, 0))):
            archives = [bad, raw]
            message = self.refuse(6, "diff", *(archives[i] for i in pair))
            self.assertIn(f"{bad}: ", message)
            self.assertIn("repack it first: vmactl repack --in-place FILE", message)

    def damaged(self, region_bytes):
        """The zst archive of the first day with the first frame damaged that has this much content, and its copy."""
        good = days.archives[0]["zst"].read_bytes()
        count, = struct.unpack("<I", good[-9:-5])
        table = good[len(good) - 9 - 12 * count:-9]
        offset = 0
        for stored, content, _ in struct.iter_unpack("<III", table):
            if content == region_bytes + 512:
                bad = bytearray(good)
                bad[offset + 50] ^= 1
                (self.dir / "bad.vma.zst").write_bytes(bad)
                return self.dir / "bad.vma.zst"
            offset += stored
        raise AssertionError("no such frame")

    def test_a_damaged_region_is_met_where_it_is_read(self):
        bad, good = self.damaged(REGION), days.archives[1]["zst"]
        # Nothing of it is read for the checksums.
        self.assertEqual(self.succeed("diff", bad, good), self.succeed("diff", days.archives[0]["zst"], good))
        for pair in ((bad, good), (good, bad)):
            self.assertRegex(self.refuse(6, "diff", "--blocks", *pair),
                             re.escape(str(bad)) + r": drive-scsi0: bytes \d+ to \d+ are damaged in the archive$")

    def test_partitions_that_are_damaged_are_not_shown(self):
        bad, good = self.damaged(BLOCK), days.archives[1]["zst"]  # the region with the partition table
        result = self.vmactl("diff", good, bad)
        self.assertEqual((result.returncode, result.stderr),
                         (0, f"vmactl: {bad}: drive-scsi0: bytes 0 to 2097151 are damaged in the archive; "
                             "partitions are not shown\n"))
        self.assertNotIn("Linux", result.stdout)

    def test_what_cannot_be_compared(self):
        good = days.archives[0]["zst"]
        self.assertIn("standard input", self.refuse(2, "diff", good, "-"))
        self.assertIn("No such file", self.refuse(1, "diff", self.dir / "none.vma", good))
        self.assertIn("is not a regular file", self.refuse(1, "diff", good, self.dir))
        self.refuse(2, "diff", good)
        junk = self.dir / "junk.vma"
        junk.write_bytes(b"junk" * 10000)
        self.assertIn(f"{junk}: ", self.refuse(6, "diff", good, junk))


if __name__ == "__main__":
    unittest.main()
