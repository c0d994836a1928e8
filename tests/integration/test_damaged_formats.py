"""vmactl on damaged archives of every format, and with an lzop that fails: nothing is lost or left behind."""

import functools
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

from archive_formats import (COMPRESS, COMPRESSED, FormatTest, LZOP_MISSING, RESTORE, SOON_SECONDS, SeekTable,
                           canonical, filtered, make_archives, small, small_canonical, stored,
                           zstd_frame_of_zeros)
from support import make_old, sha256, wait_for


def setUpModule():
    make_archives()
    # An archive is verified from its device: that of thousands which were just written takes minutes.
    if os.access("/dev/shm", os.W_OK):
        unittest.addModuleCleanup(setattr, tempfile, "tempdir", tempfile.tempdir)
        tempfile.tempdir = "/dev/shm"


class DamageTest(FormatTest):
    def setUp(self):
        super().setUp()
        [survey] = self.succeed_json("verify", small["raw"])
        self.digest = survey["digest"]

    def assert_refused_or_harmless(self, format, damaged):
        """The law for damaged archives, by name: 6 for what is not whole, and none passes for another guest. In place,
        one that is whole is repacked, and any other is left alone, as is all that lies beside it. One that is canonical
        by its headers is not looked at more closely. Returns what was said of the harmless ones."""
        for name in self.names(self.dump):
            (self.dump / name).unlink()
        paths = [self.put(name, data) for name, data in damaged.items()]
        result = self.vmactl("--json", "verify", "--threads", "1", *paths)
        self.assertEqual(self.vmactl("--json", "verify", "--threads", "4", *paths).stdout, result.stdout)
        surveys = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual((result.stderr, len(surveys)), ("", len(paths)))
        bad = {survey["path"] for survey in surveys if survey["result"] != "valid"}
        self.assertEqual(result.returncode, 6 if bad else 0)
        for survey in surveys:
            self.assertIn(survey["result"], ("valid", "invalid", "unsupported"), survey)
            if survey["path"] not in bad:
                self.assertEqual(survey["digest"], self.digest, survey)
        code, told = self.in_place(*paths)
        self.assertEqual(code, 6 if any(one["outcome"] == "invalid" for one in told) else 0)
        for path, one, data in zip(paths, told, damaged.values()):
            if str(path) in bad:
                if one["outcome"] != "unchanged" or format != "zstd":
                    self.assertEqual(one["outcome"], "invalid", one)
                else:
                    self.assertTrue(self.succeed_json("info", path)[0]["canonical_headers"])
                self.assertTrue(path.read_bytes() == data, path)
            else:
                self.assertIn(one["outcome"], ("done", "unchanged"), one)
                self.assertEqual(filtered(RESTORE[format], path.read_bytes()), small_canonical["raw"].read_bytes())
        self.assertEqual(self.names(self.dump), sorted(damaged))
        return [survey for survey in surveys if survey["path"] not in bad]

    def assert_refused(self, format, damaged):
        self.assertEqual(self.assert_refused_or_harmless(format, damaged), [])

    def test_truncated(self):
        for archives in (small, small_canonical):
            for format, path in archives.items():
                data = path.read_bytes()
                sizes = {*range(0, len(data), len(data) // 200 + 1), *range(len(data) - 20, len(data))}
                if (format, archives) == ("zstd", small_canonical):
                    # Without its seek table it is whole still, or without the extents that fill up its last disk.
                    table = SeekTable(data)
                    sizes -= {table.offset, table.frame_offset(len(table.entries) - 1)}
                if (format, archives) == ("raw", small_canonical):
                    # Nor do the empty extents at its end hold anything.
                    sizes -= {len(data) - 512 * count for count in range(1, 8)}
                with self.subTest(format=format, canonical=archives is small_canonical):
                    self.assert_refused(format, {f"{size}.vma": data[:size] for size in sizes})

    def test_without_its_seek_table(self):
        data = small_canonical["zstd"].read_bytes()
        [survey] = self.assert_refused_or_harmless("zstd", {"x.vma.zst": data[:SeekTable(data).offset]})
        self.assertEqual((survey["canonical"], survey["deviation"]), (False, "its fillings or its seek table are not those of its frames"))

    def test_flipped_bits(self):
        numbers = random.Random(7)
        for archives in (small, small_canonical):
            for format in COMPRESSED:
                data = archives[format].read_bytes()
                damaged = {}
                places = [numbers.randrange(len(data)) for _ in range(100)]
                for place in (*places, *range(24), *range(len(data) - 24, len(data))):
                    spoilt = bytearray(data)
                    spoilt[place] ^= 1 << numbers.randrange(8)
                    damaged[f"{place}.vma"] = bytes(spoilt)
                with self.subTest(format=format, canonical=archives is small_canonical):
                    harmless = self.assert_refused_or_harmless(format, damaged)
                    # Of gzip: the time, the program's hints and its system, which are in the header of each member.
                    self.assertLess(len(harmless), 40)
                    # Else a bit of a compressor's that does not tell in what it stands for.
                    if format != "gzip":
                        self.assertLess(len([survey for survey in harmless if survey["canonical"]]), 4)

    def test_something_behind_it(self):
        for archives in (small, small_canonical):
            for format in COMPRESSED:
                data = archives[format].read_bytes()
                whole = small["raw"].read_bytes()
                self.assert_refused(format, {
                    "junk.vma": data + b"junk", "much.vma": data + bytes(range(1, 256)) * 4000,
                    "half.vma": data + data[:5000], "twice.vma": data + data, "raw.vma": data + whole,
                    "begun.vma": data + data[:1],
                    "more.vma": data + filtered(COMPRESS[format], b"VMAE"),
                    "zero.vma": data + filtered(COMPRESS[format], bytes(1000))})

    def test_legal_oddities(self):
        data = {format: path.read_bytes() for format, path in small.items()}
        nothing = {format: filtered(COMPRESS[format], b"") for format in COMPRESSED}
        skippable = struct.pack("<II", 0x184D2A53, 5) + b"other"
        self.assertEqual(data["gzip"][3], 0)  # no flags
        named = data["gzip"][:3] + b"\x1c" + data["gzip"][4:10] + b"\5\0extraname\0comment\0" + data["gzip"][10:]
        for format, oddities in (
                ("zstd", {"before": nothing["zstd"] + data["zstd"], "behind": data["zstd"] + nothing["zstd"],
                          "skippable": skippable + data["zstd"] + skippable + skippable}),
                ("gzip", {"before": nothing["gzip"] + data["gzip"], "behind": data["gzip"] + nothing["gzip"],
                          "named": named}),
                ("lzo", {"before": nothing["lzo"] + data["lzo"], "behind": data["lzo"] + nothing["lzo"],
                         "crc32": filtered(("lzop", "-9", "--crc32"), data["raw"]),
                         "plain": filtered(("lzop", "-F"), data["raw"])})):
            self.assertEqual(len(self.assert_refused_or_harmless(format, oddities)), len(oddities))

    def test_a_wrong_seek_table(self):
        """The frames are what counts; the table only helps to find them."""
        self.succeed("extract", stored["raw"], self.dir / "expected")
        data = canonical["zstd"].read_bytes()
        tables = {}
        for name, frame, other, field, count in (
                ("stored", 2, 3, 0, 100), ("size", 1, 2, 1, 4096), ("first", 0, 1, 0, 1), ("last", 4, 5, 0, 100),
                ("no frame", 1, 2, 0, None)):
            table = SeekTable(data)
            moved = table.entries[frame][field] if count is None else count
            table.entries[frame][field] -= moved
            table.entries[other][field] += moved
            tables[name] = table.encode()
        table = SeekTable(data)
        table.entries.reverse()
        tables["reversed"] = table.encode()
        table.entries = [[sum(entry[field] for entry in table.entries) for field in (0, 1)] + [0]]
        tables["one frame"] = table.encode()
        for name, table in tables.items():
            for threads in ("1", "4"):
                with self.subTest(name=name, threads=threads):
                    path = self.put("x.vma.zst", data[:SeekTable(data).offset] + table)
                    result = self.vmactl("verify", "--threads", threads, path)
                    self.assertRegex(result.stdout, re.escape(f"{path}: valid, not canonical (the seek table "))
                    self.assertRegex(result.stderr, r"\Avmactl: " + re.escape(str(path)) +
                                     r": the seek table does not match the frames from byte \d+ of the file on, "
                                     r"so it was not used\n\Z")
                    [info] = self.succeed_json("info", path)
                    self.assertEqual(info["canonical_headers"], False)
                    for device in ("drive-scsi0", "drive-ide2"):
                        out = self.dir / "out"
                        result = self.vmactl("extract", "--threads", threads, "--device", device, path, out)
                        file = f"disk-{device}.raw"
                        self.assertEqual((result.returncode, self.names(out)), (0, [file]), result)
                        self.assertEqual(sha256(out / file), sha256(self.dir / "expected" / file))
                        shutil.rmtree(out)
                    result = self.feed(b"", "repack", "--threads", threads, path, "-")
                    self.assertEqual((result.returncode, result.stdout), (0, canonical["zstd"].read_bytes()))
                    self.assertIn(b": the seek table does not match ", result.stderr)
            message = self.notice_in_place(path)
            self.assertIn(": the seek table does not match ", message)
            self.assert_is_canonical(path, "zstd")

    def notice_in_place(self, path):
        """What is said on stderr when it is repacked in place."""
        make_old(path)
        result = self.vmactl("repack", "--in-place", "--state-dir", self.state, path)
        self.assertEqual(result.returncode, 0, result)
        return result.stderr

    def test_a_seek_table_of_garbage(self):
        data = canonical["zstd"].read_bytes()
        offset = SeekTable(data).offset
        numbers = random.Random(3)
        size = len(data) - offset - 17
        footer = functools.partial(struct.pack, "<IBI")
        magic = 0x8F92EAB1
        skippable = struct.pack("<II", 0x184D2A5E, size + 9)
        for name, table, notice in (
                ("noise", skippable + numbers.randbytes(size) + data[-9:], "its frames have "),
                ("too many", skippable + bytes(size) + footer(0xFFFFFFFF, 0, magic), "larger than the file"),
                ("too few", skippable + bytes(size) + footer(2, 0, magic), "does not begin at byte "),
                ("none", skippable + bytes(size) + footer(0, 0, magic), "does not begin at byte "),
                ("flags", skippable + bytes(size) + footer(6, 0x7C, magic), "flags that mean nothing"),
                ("zeros", skippable + bytes(size) + data[-9:], "its frames have 0 bytes"),
                ("another frame", skippable + bytes(size + 9), None)):
            with self.subTest(name=name):
                path = self.put("x.vma.zst", data[:offset] + table)
                result = self.vmactl("verify", path)
                self.assertEqual(result.returncode, 0)
                self.assertIn(": valid, not canonical (", result.stdout)
                if notice is None:
                    self.assertEqual(result.stderr, "")
                else:
                    self.assertEqual(result.stderr.count("\n"), 1)
                    self.assertIn("the file ends in a seek table that does not fit it: ", result.stderr)
                    self.assertIn(notice, result.stderr)
                self.assertEqual(self.in_place(path)[0], 0)
                self.assert_is_canonical(path, "zstd")

    def refuse_by_all(self, path, code, pattern):
        """Every command says the same, and leaves it and its directory as they are."""
        before = sha256(path)
        make_old(path)
        beside = self.names(self.dump)
        for arguments in (("info", path), ("extract", path, self.dir / "out"), ("repack", path, self.dump / "y.vma"),
                          ("repack", "--in-place", "--state-dir", self.state, path)):
            if arguments[0] != "info" or pattern.startswith("!"):
                self.assertRegex(self.refuse(code, *arguments), pattern.lstrip("!"))
        result = self.vmactl("verify", path)
        self.assertEqual(result.returncode, code)
        self.assertRegex(result.stdout + result.stderr, pattern.lstrip("!"))
        self.assertEqual((sha256(path), self.names(self.dump)), (before, beside))
        if (self.dir / "out").exists():
            self.assertEqual(self.names(self.dir / "out"), [])

    def test_what_is_not_supported(self):
        # With "!", info refuses it too: it reads headers only.
        streamed = bytearray(filtered(("zstd", "-q", "-c"), small["raw"].read_bytes()))
        self.assertEqual(streamed[4], 0x04)  # a window, a checksum, no content size
        streamed[5] = 21 << 3  # 2 GiB, as --long=31 has it
        whole = small["raw"].read_bytes()
        for name, data, pattern in (
                ("window", streamed, "!needs a window of more than 128 MiB: decompress it with zstd -d --long=31"),
                ("bzip2", b"BZh91AY&SY" + bytes(1000), "!bzip2 archives are not supported: decompress it with bunzip2"),
                ("xz", b"\xfd7zXZ\0" + bytes(1000), "!xz archives are not supported: decompress it with unxz first"),
                ("zeros", zstd_frame_of_zeros(b"", 3 << 30), "!at byte 0: not a VMA archive"),
                ("header and zeros", zstd_frame_of_zeros(whole[:12800], 3 << 30), "at byte 12800: no extent begins"),
                ("archive and zeros", small["zstd"].read_bytes() + zstd_frame_of_zeros(b"", 3 << 30),
                 f"at byte {len(whole)}: no extent begins here")):
            with self.subTest(name=name):
                self.refuse_by_all(self.put("x.vma.zst", data), 6, pattern)


class LzopTest(FormatTest):
    """With an lzop that is not there, or is not what it should be."""

    def setUp(self):
        super().setUp()
        self.lzop = shutil.which("lzop")

    def install(self, script):
        programs = self.dir / "programs"
        programs.mkdir(exist_ok=True)
        (programs / "lzop").write_text(f"#!/bin/sh\n{script.replace('LZOP', self.lzop)}\n")
        (programs / "lzop").chmod(0o755)
        self.environment["PATH"] = f"{programs}:{os.environ['PATH']}"

    def test_it_is_not_installed(self):
        self.environment["PATH"] = str(self.dir)
        path = self.put("x", stored["lzo"].read_bytes())
        make_old(path)
        for arguments in (("info", path), ("verify", path), ("extract", path, self.dump / "out"),
                          ("repack", path, self.dump / "y.vma"), ("repack", path, "-"),
                          ("repack", stored["raw"], self.dump / "y.lzo")):
            self.assertEqual(self.refuse(1, *arguments), LZOP_MISSING)
        self.assertEqual(self.refuse(1, "repack", "--in-place", "--state-dir", self.state, path),
                         f"{path}: {LZOP_MISSING}")
        self.assertEqual((self.names(self.dump), sha256(path)), (["x"], sha256(stored["lzo"])))
        for format in ("raw", "zstd", "gzip"):
            self.succeed("repack", stored[format], self.dump / "z.gz", "--force")
        self.assert_is_canonical(self.dump / "z.gz", "gzip")

    def test_it_fails(self):
        decompress = 'case "$1" in -d) ;; *) exec LZOP "$@";; esac; '
        compress = 'case "$1" in -d) exec LZOP "$@";; esac; '
        archive = stored["lzo"].read_bytes()
        for way, script, codes, pattern in (
                ("message", decompress + "echo broken >&2; exit 3", (1,), "lzop failed with exit status 3: broken"),
                ("killed", decompress + "kill -9 $$", (1,), "lzop was ended by signal 9"),
                ("no such archive", decompress + "cat > /dev/null; head -c 100000 /dev/zero", (6,), "not a VMA archive"),
                ("nothing", decompress + "cat > /dev/null", (6,), "the file is empty"),
                ("does not read", decompress + "exit 0", (6,), "it was not read to its end"),
                ("half", decompress + 'LZOP "$@" | head -c 3000000', (1, 6), "."),
                ("half, says so", decompress + 'LZOP "$@" 2> /dev/null | head -c 3000000; exit 1', (1, 6), "lzop"),
                ("compress, message", compress + "echo broken >&2; exit 3", (1,), "exit status 3: broken"),
                ("compress, killed", compress + "kill -9 $$", (1,), "lzop was ended by signal 9"),
                ("compress, late", compress + 'LZOP "$@"; echo late >&2; exit 1', (1,), "late"),
                ("compress, does not read", compress + "exit 0", (1,), "before it had read everything"),
                ("compress, nothing", compress + "cat > /dev/null", (1, 6), "."),
                ("compress, garbage", compress + "cat > /dev/null; head -c 100000 /dev/zero", (1, 6), "."),
                ("compress, half", compress + 'LZOP "$@" | head -c 1000000', (1, 6), "."),
                ("compress, other bytes", compress + 'sed "s/VMAE/VMAF/" | LZOP "$@"', (1, 6), "."),
                ("compress, another guest", compress + f'cat > /dev/null; exec LZOP -c < {small["raw"]}', (1, 6), ".")):
            with self.subTest(way=way):
                self.install(script)
                path = self.put("x.vma.lzo", archive)
                code, [told] = self.in_place(path)
                self.assertIn(code, codes, told)
                self.assertRegex(told["error"], pattern)
                self.assertTrue(path.read_bytes() == archive)
                self.assert_one_message(self.feed(archive, "repack", "-", self.dump / "y.vma.lzo"), code)
                self.assertEqual(self.names(self.dump), ["x.vma.lzo"])
        self.assert_nothing_runs()

    def test_it_hangs(self):
        for script in ("exec sleep 1000", 'case "$1" in -d) exec LZOP "$@";; esac; exec sleep 1000'):
            self.install(script)
            path = self.put("x.vma.lzo", stored["lzo"].read_bytes())
            make_old(path)
            for arguments in (("--in-place", "--state-dir", self.state, path), (path, self.dump / "y.vma.lzo"),
                              (path, "-")):
                for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
                    process = self.start("repack", *arguments, stdout=subprocess.DEVNULL)
                    wait_for(lambda: b"sleep\0001000\0" in self.processes())
                    process.send_signal(number)
                    self.assertEqual((process.wait(SOON_SECONDS), process.stderr.read()), (code, b""))
                    self.assert_nothing_runs()
                    self.assertEqual((self.names(self.dump), sha256(path)), (["x.vma.lzo"], sha256(stored["lzo"])))


if __name__ == "__main__":
    unittest.main()
