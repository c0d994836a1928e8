"""vmactl on archives of every format, as vzdump stores them: the commands, what they read, and restores.

The laws: an archive is the same whatever stores it, its canonical form is the same bytes whatever it was stored as, and
the stock tools restore it.
"""

import os
import pathlib
import re
import shutil
import stat
import subprocess
import unittest

import sentences
from archive_formats import (COMPRESSED, ENDINGS, FormatTest, RESTORE, SeekTable, canonical, concatenated, filtered,
                           large, make_archives, stored)
from support import HANG_SECONDS, VMACHECK, VMACTL, generate, sha256


def setUpModule():
    make_archives()


class CommandTest(FormatTest):
    def test_the_content_tells_the_kind_and_the_name_does_not(self):
        [expected] = self.succeed_json("verify", stored["raw"])
        self.succeed("extract", stored["raw"], self.dir / "expected")
        files = {name: sha256(self.dir / "expected" / name) for name in self.names(self.dir / "expected")}
        self.assertEqual(len(files), 4)
        contents = [(format, path.read_bytes()) for format, path in stored.items()]
        contents += [(format, concatenated(format, stored["raw"])) for format in COMPRESSED]
        for format, content in contents:
            for name in ("x", "x.vma.gz" if format == "zstd" else "x.vma.zst"):
                with self.subTest(format=format, name=name):
                    path = self.put(name, content)
                    [info] = self.succeed_json("info", path)
                    self.assertEqual((info["format"], info["size_bytes"]), (format, len(content)))
                    self.assertEqual(info.get("canonical_headers"), False if format in ("raw", "zstd") else None)
                    self.assertRegex(self.succeed("info", path), rf"\nformat   {format}\n")
                    [survey] = self.succeed_json("verify", path)
                    several_lzop = format == "lzo" and content != stored["lzo"].read_bytes()
                    self.assertEqual(survey.pop("warning", "") != "", name != "x" or several_lzop)
                    self.assertEqual(survey, {**expected, "path": str(path), "format": format, "size_bytes": len(content)})
                    out = self.dir / "out"
                    result = self.vmactl("extract", path, out)
                    self.assertEqual((result.returncode, "several lzop files" in result.stderr), (0, several_lzop))
                    self.assertEqual({name: sha256(out / name) for name in self.names(out)}, files)
                    shutil.rmtree(out)

    def test_repack_from_every_kind_to_every_kind(self):
        [expected] = self.succeed_json("verify", canonical["raw"])
        for source, path in stored.items():
            formats = {**{f"x{ending}": format for format, ending in ENDINGS.items()}, "x": source}
            if source == "raw":
                formats.update({"x.zst": "zstd", "x.gz": "gzip", "x.lzo": "lzo", "x.vma.bak": "raw", ".vma.zst": "zstd"})
            for name, format in formats.items():
                with self.subTest(source=source, name=name):
                    result = self.dump / name
                    [told] = self.succeed_json("repack", path, result, "--force")
                    self.assertEqual((told["source_bytes"], told["archive_bytes"]),
                                     (path.stat().st_size, stored["raw"].stat().st_size))
                    self.assertEqual((told["result_bytes"], told["digest"]),
                                     (result.stat().st_size, expected["digest"]))
                    self.assert_is_canonical(result, format)
            for survey in self.succeed_json("verify", *(self.dump / name for name in formats)):
                result = pathlib.Path(survey["path"])
                self.assertEqual(survey, {**expected, "path": str(result), "format": formats[result.name],
                                          "size_bytes": result.stat().st_size})

    def test_the_result_does_not_depend_on_threads_and_memory(self):
        for format, path in stored.items():
            for options in (("--threads", "1"), ("--threads", "5"), ("--memory", "16M"),
                            ("--memory", "17M", "--threads", "3")):
                with self.subTest(format=format, options=options):
                    # To standard output, which is of the source's format, and to files of two others.
                    self.assert_is_canonical(self.put("x", self.feed_well(b"", "repack", path, "-", *options)), format)
                    name = "y.zst" if format in ("raw", "lzo") else "y.gz"
                    self.succeed("repack", path, self.dump / name, "--force", *options)
                    self.assert_is_canonical(self.dump / name, "zstd" if name == "y.zst" else "gzip")

    def test_levels(self):
        sizes = []
        for level in ("1", "19"):
            result = self.dump / f"{level}.vma.zst"
            self.succeed("repack", stored["gzip"], result, "--level", level)
            self.assertEqual(filtered(RESTORE["zstd"], result.read_bytes()), canonical["raw"].read_bytes())
            sizes.append(result.stat().st_size)
        self.assertGreater(sizes[0], sizes[1])
        for level in ("0", "20", "x"):
            self.refuse(2, "repack", stored["zstd"], self.dump / "x.vma.zst", "--level", level)

    def test_in_place(self):
        paths = [self.put("x" + ENDINGS[format], path.read_bytes()) for format, path in stored.items()]
        paths += [self.put(f"several{ENDINGS[format]}", concatenated(format, stored["raw"])) for format in COMPRESSED]
        formats = [*stored, *COMPRESSED]
        sizes = [path.stat().st_size for path in paths]
        code, told = self.in_place(*paths)
        self.assertEqual((code, [one["outcome"] for one in told]), (0, ["done"] * len(paths)))
        for path, format, size, one in zip(paths, formats, sizes, told):
            self.assert_is_canonical(path, format)
            self.assertEqual((one["size_before"], one["size_after"]), (size, path.stat().st_size))
        before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]
        if not os.listxattr(paths[0]):
            self.skipTest("there are no extended attributes here, by which gzip and lzo are known")
        for path in paths:
            [info] = self.succeed_json("info", path)
            self.assertEqual((info["canonical_headers"], info["extent_count"]), (True, 24))
        result = self.vmactl("repack", "--in-place", "--state-dir", self.state, *paths)
        self.assertEqual((result.returncode, result.stderr, result.stdout),
                         (0, "", "".join(f"{path}: {sentences.ALREADY_CANONICAL}\n" for path in paths)))
        self.assertEqual([(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths], before)
        self.assertEqual(len(self.names(self.dump)), len(paths))


class RestoreTest(FormatTest):
    def test_the_stock_tools_restore_a_canonical_archive(self):
        for format, path in canonical.items():
            data = path.read_bytes()
            self.assertEqual(filtered(RESTORE[format], data), canonical["raw"].read_bytes(), format)
            with subprocess.Popen(["sh", "-c", '"$@" < "$0" | head -c 100000', path, *RESTORE[format]],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                self.assertEqual(process.stdout.read(), canonical["raw"].read_bytes()[:100000])
        for format, command in (("zstd", "zstd"), ("gzip", "gzip"), ("lzo", "lzop")):
            subprocess.run([command, "-q", "-t", canonical[format]], check=True)

    def test_zstd_tells_its_frames(self):
        listing = subprocess.run(["zstd", "-lv", canonical["zstd"]], check=True, text=True, capture_output=True).stdout
        table = SeekTable(canonical["zstd"].read_bytes())
        # The header; each disk's regions, and what fills it up. Six fillings, and the table itself.
        self.assertEqual(len(table.entries), 10)
        self.assertRegex(listing, r"(# Zstandard|Number of) Frames: 10\n")
        self.assertRegex(listing, r"Skippable Frames: 7\n")
        self.assertIn(f"({canonical['raw'].stat().st_size} B)", listing)
        self.assertIn("Check: XXH64", listing)
        self.assertEqual(sum(entry[1] for entry in table.entries), canonical["raw"].stat().st_size)
        self.assertEqual(table.encode(), canonical["zstd"].read_bytes()[table.offset:])

    def test_another_reader_takes_what_they_restore(self):
        for format, path in canonical.items():
            restored = self.put("x", filtered(RESTORE[format], path.read_bytes()))
            subprocess.run(["python3", VMACHECK, "--canonical", restored], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["python3", VMACHECK, "--zst-form", canonical["zstd"]], check=True, stdout=subprocess.DEVNULL)


@unittest.skipUnless(shutil.which("strace"), "strace is not installed")
class EfficiencyTest(FormatTest):
    def reads(self, archive, *arguments):
        """Runs it, and returns {offset, length} of each read of the archive."""
        trace = self.dir / "trace"
        result = subprocess.run(["strace", "-f", "-s", "0", "-o", trace, "-P", archive, "-e",
                                 "trace=read,readv,pread64,preadv,preadv2", VMACTL, *arguments],
                                env=self.traced_environment(), capture_output=True, text=True, timeout=HANG_SECONDS,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = re.findall(r", (\d+)\) += (\d+)$", trace.read_text(), re.MULTILINE)
        self.assertGreater(len(found), 3)
        return [(int(offset), int(size)) for offset, size in found]

    def test_info_reads_a_small_part(self):
        archive = large()["zstd"]
        reads = self.reads(archive, "--json", "info", archive)
        self.assertLess(sum(size for _, size in reads), archive.stat().st_size / 10)
        [info] = self.succeed_json("info", archive)
        self.assertEqual((info["canonical_headers"], info["extent_count"]), (True, 48))

    def test_one_disk_is_extracted_without_reading_the_others(self):
        archive = large()["zstd"]
        self.succeed("extract", large()["raw"], self.dir / "all")
        table = SeekTable(archive.read_bytes())
        # By descending name; frame 0 is the header.
        for device, first, last in (("drive-scsi0", 1, 32), ("drive-ide2", 33, 37), ("drive-efidisk0", 38, 39)):
            begin, end = table.frame_offset(first), table.frame_offset(last + 1)
            for threads in ("1", "4"):
                with self.subTest(device=device, threads=threads):
                    out = self.dir / device
                    reads = self.reads(archive, "extract", "--force", "--threads", threads, "--device", device,
                                       archive, out)
                    file = f"disk-{device}.raw"
                    self.assertEqual(sha256(out / file), sha256(self.dir / "all" / file))
                    others = sum(size for offset, size in reads if offset < table.offset and not begin <= offset < end)
                    # One thread reads little more than the header, several no more.
                    self.assertLess(others, 512 << 10)

    def test_the_headers_of_a_large_raw_archive_are_read_once(self):
        archive = generate(self.dump / "x.vma", "--disk", "drive-scsi0=9G", "--disk", "drive-efidisk0=528K",
                           "--zero-fraction", "0.9999")
        self.succeed("extract", "--device", "efidisk0", canonical["raw"], self.dir / "out")
        self.assertFalse((self.dir / "cache").exists())
        counts = []
        for arguments in (("extract", "--device", "efidisk0", archive, self.dir / "x"), ("diff", archive, archive)):
            counts.append(len(self.reads(archive, *arguments)))
            [kept] = (self.dir / "cache/vmad").iterdir()
            self.assertEqual((stat.S_IMODE(kept.stat().st_mode), stat.S_IMODE(kept.parent.stat().st_mode)),
                             (0o600, 0o700))
        self.assertGreater(counts[0], 2400)
        self.assertLess(counts[1], counts[0] / 4)

    def test_damage_elsewhere_does_not_matter_to_a_disk(self):
        data = bytearray(canonical["zstd"].read_bytes())
        table = SeekTable(data)
        self.succeed("extract", canonical["raw"], self.dir / "all")
        owners = ["drive-scsi0"] * 5 + ["drive-ide2"] * 2 + ["drive-efidisk0"] * 2
        for number, owner in enumerate(owners, 1):
            spoilt = bytearray(data)
            spoilt[table.frame_offset(number) + 60] ^= 0x10
            path = self.put("x.vma.zst", spoilt)
            self.assertEqual(self.vmactl("verify", path).returncode, 6)
            for device in sorted(set(owners)):
                with self.subTest(frame=number, device=device):
                    out = self.dump / "out"
                    if device == owner:
                        self.assertRegex(self.refuse(6, "extract", "--device", device, path, out), r": at byte \d+: ")
                        self.assertFalse(out.exists())
                    else:
                        self.succeed("extract", "--device", device, path, out)
                        file = f"disk-{device}.raw"
                        self.assertEqual(sha256(out / file), sha256(self.dir / "all" / file))
                        shutil.rmtree(out)


if __name__ == "__main__":
    unittest.main()
