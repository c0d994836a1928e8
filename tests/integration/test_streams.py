"""vmactl on pipes, and interrupted: by signals, readers and writers that go away, and full disks."""

import fcntl
import json
import os
import pathlib
import random
import re
import shutil
import signal
import stat
import struct
import subprocess
import termios
import unittest

import sentences
from archive_formats import (ENDINGS, FormatTest, RESTORE, SOON_SECONDS, STOP_SIGNALS, SeekTable, canonical,
                           filtered, large, make_archives, small, small_canonical, stored)
from support import HANG_SECONDS, VMACTL, generate, make_old, sha256, unnamed_file_size, wait_for


def setUpModule():
    make_archives()


def unread_bytes(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


def catches(process, number):
    """It has a handler for this signal."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"SigCgt:\s*([0-9a-f]+)", status)[1], 16) >> (number - 1) & 1


class StreamTest(FormatTest):
    def test_a_pipe_gives_what_a_file_gives(self):
        for format, path in stored.items():
            with self.subTest(format=format):
                data = path.read_bytes()
                result = self.feed_well(data, "repack", "-", "-")
                self.assert_is_canonical(self.put("x", result), format)
                self.assert_is_canonical(self.put("x", self.feed_well(result, "repack", "-", "-")), format)
                self.assert_is_canonical(self.put("x", self.feed_well(b"", "repack", path, "-")), format)
                for other in (format, "gzip" if format == "zstd" else "zstd"):
                    into = self.dump / f"y{ENDINGS[other]}"
                    told = self.feed_well(data, "repack", "-", into, "--force", "--memory", "16M")
                    self.assertIn(f" {sentences.VERIFIED}, digest ", told.decode())
                    self.assert_is_canonical(into, other)
                    self.assertEqual(stat.S_IMODE(into.stat().st_mode), 0o600)

    def test_looking_at_a_pipe(self):
        [expected] = self.succeed_json("verify", stored["raw"])
        self.succeed("extract", stored["raw"], self.dir / "expected")
        out = self.dir / "out"
        for format, path in stored.items():
            for from_file in (False, True):
                def look(*arguments, path=path, from_file=from_file):
                    with open(path, "rb") as file:
                        return self.feed_well(file if from_file else file.read(), *arguments)
                survey = json.loads(look("--json", "verify", "-"))
                self.assertEqual(survey, {**expected, "path": "-", "format": format, "size_bytes": path.stat().st_size})
                info = json.loads(look("--json", "info", "-"))
                self.assertEqual((info["path"], info["format"], len(info["devices"])), ("-", format, 3))
                self.assertNotIn("size_bytes", info)
                self.assertNotIn("canonical_headers", info)
                look("extract", "-", out, "--device", "drive-efidisk0")
                self.assertEqual(self.names(out), ["disk-drive-efidisk0.raw"])
                look("extract", "-", out, "--force")
                for name in self.names(self.dir / "expected"):
                    self.assertEqual(sha256(out / name), sha256(self.dir / "expected" / name))
                shutil.rmtree(out)

    def test_a_disk_as_a_stream(self):
        self.succeed("extract", stored["raw"], self.dir / "expected")
        for form in (*stored.values(), *canonical.values()):
            for disk in ("efidisk0", "drive-scsi0"):
                expected = sha256(self.dir / "expected" / f"disk-drive-{disk.removeprefix('drive-')}.raw")
                for data, archive in ((b"", form), (form.read_bytes(), "-")):
                    output = self.put("x", self.feed_well(data, "extract", archive, "-", "--device", disk))
                    self.assertEqual(sha256(output), expected, (form, disk))
        for arguments, message in ((("extract", stored["raw"], "-"), "the archive has several devices; name one of "),
                                   (("extract", "--device", "a", "--device", "b", stored["raw"], "-"), "only one disk"),
                                   (("--json", "extract", stored["raw"], "-"), "--json cannot be combined")):
            result = self.vmactl(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertIn(message, result.stderr)
        self.assertEqual(self.vmactl_on_terminal("extract", stored["zstd"], "-", "--device", "scsi0"), (
            2, "vmactl: refusing to write a disk to a terminal; redirect standard output\r\n"))

    def test_standard_input_begins_where_it_stands(self):
        for format, path in small.items():
            self.put("x", b"no archive" * 100 + path.read_bytes())
            with open(self.dump / "x", "rb") as file:
                os.lseek(file.fileno(), 1000, os.SEEK_SET)
                self.assertEqual(json.loads(self.feed_well(file, "--json", "verify", "-"))["format"], format)

    def test_a_stream_that_ends_too_early(self):
        for format, count in (("raw", 200), ("zstd", 200), ("gzip", 30), ("lzo", 30)):
            data = small[format].read_bytes()
            for size in {*range(0, len(data), len(data) // count + 1), 1, 3, 8, 9, 10, len(data) - 4, len(data) - 1}:
                with self.subTest(format=format, size=size):
                    result = self.feed(data[:size], "repack", "-", self.dump / "y.vma")
                    self.assert_one_message(result, 6, r"\Avmactl: -: (at byte \d+: )?")
                    self.assertEqual((result.stdout, self.names(self.dump)), (b"", []))
        for size in (0, 7, 1000, 100000):
            for arguments in (("repack", "-", "-"), ("info", "-"), ("extract", "-", self.dump)):
                if arguments[0] != "info" or size == 0:
                    self.assert_one_message(self.feed(data[:size], *arguments), 6)
            self.assertEqual(self.feed(data[:size], "verify", "-").returncode, 6)
        self.assertEqual(self.names(self.dump), [])

    def test_the_upstream_dies(self):
        for format, path in stored.items():
            source = subprocess.Popen(["sh", "-c", 'head -c 400000 "$0"; kill -9 $$', path], stdout=subprocess.PIPE)
            with source, source.stdout:
                result = self.feed(source.stdout, "repack", "-", self.dump / "y.vma")
            self.assert_one_message(result, 6)
            self.assertEqual(self.names(self.dump), [], format)

    def test_the_upstream_is_slow(self):
        for format, path in small.items():
            process = self.start("repack", "-", "-", stdin=subprocess.PIPE, bufsize=0)
            data = path.read_bytes()
            at = 0
            while at < len(data):
                size = 1 if at < 60 else 1 + at * 31 % 20000
                process.stdin.write(data[at:at + size])
                at += size
                # As soon as it has been read, the next.
                wait_for(lambda process=process: process.poll() is not None or unread_bytes(process.stdin) == 0)
            process.stdin.close()
            result = process.stdout.read()
            self.assertEqual((process.wait(SOON_SECONDS), process.stderr.read()), (0, b""))
            self.assertEqual(filtered(RESTORE[format], result), small_canonical["raw"].read_bytes())

    def test_what_standard_input_and_output_cannot_be(self):
        for arguments in (("repack", stored["raw"], "-"), ("repack", "-", "-")):
            result = self.vmactl("--json", *arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertEqual(json.loads(result.stderr)["error"],
                             "--json cannot be combined with an archive on standard output")
        self.assertIn("--in-place", self.refuse(2, "repack", "--in-place", "--state-dir", self.state, "-"))
        root = os.open("/", os.O_RDONLY)
        self.assert_one_message(self.feed(root, "verify", "-"), 1, "read standard input: Is a directory")
        os.close(root)
        for arguments in (("verify", "-"), ("info", "-"), ("extract", "-", self.dump / "out"),
                          ("repack", "-", self.dump / "y.vma")):
            self.assertEqual(self.vmactl_on_terminal(*arguments), (
                2, "vmactl: refusing to read an archive from a terminal; redirect standard input\r\n"))
        self.assertEqual(self.vmactl_on_terminal("repack", stored["zstd"], "-"), (
            2, "vmactl: refusing to write an archive to a terminal; redirect standard output\r\n"))
        self.assertEqual(self.names(self.dump), [])

    def test_a_reader_that_closes_the_pipe_ends_it_without_a_word(self):
        for format, path in large().items():
            for arguments in (("repack", path, "-"), ("extract", path, "-", "--device", "scsi0")):
                for count in (0, 1, 100000):
                    process = self.start(*arguments)
                    self.assertEqual(len(process.stdout.read(count)), count)
                    process.stdout.close()
                    self.assertEqual((process.wait(SOON_SECONDS), process.stderr.read()), (-signal.SIGPIPE, b""),
                                     (format, arguments))
        self.assert_nothing_runs()

    def test_a_signal_while_nobody_reads(self):
        for number in STOP_SIGNALS:
            for format, path in large().items():
                process = self.start("repack", path, "-")
                wait_for(lambda process=process: unread_bytes(process.stdout) >= 60000)
                os.killpg(process.pid, number)
                self.assertEqual((process.wait(SOON_SECONDS), process.stderr.read()), (128 + number, b""), format)
        self.assert_nothing_runs()

    def test_a_chain(self):
        script = ('"$0" repack "$1" - | zstd -q -d -c | "$0" repack - - | lzop | "$0" repack - - | lzop -d -c | '
                  'gzip -1 | "$0" repack - - | zcat | cmp - "$2"')
        subprocess.run(["sh", "-c", script, VMACTL, stored["zstd"], canonical["raw"]], check=True, env=self.environment,
                       timeout=HANG_SECONDS)

    def test_a_full_device(self):
        for archives in (small, stored, large()):
            for path in archives.values():
                for arguments in (("repack", path, "-"), ("repack", "-", "-")):
                    with open("/dev/full", "wb") as full, open(path, "rb") as source:
                        result = self.feed(source, *arguments, stdout=full, stderr=subprocess.PIPE,
                                           capture_output=False, timeout=SOON_SECONDS)
                    self.assert_one_message(result, 1, "write standard output: No space left on device")
        self.assert_nothing_runs()

    def test_a_signal_while_nothing_comes(self):
        arguments = {"repack": ("-", self.dump / "y.vma"), "verify": ("-",), "extract": ("-", self.dump / "out")}
        for number in STOP_SIGNALS:
            for command in arguments:
                for format, path in small.items():
                    for size in (0, 5, path.stat().st_size // 2):
                        with self.subTest(number=number, command=command, format=format, size=size):
                            process = self.start(command, *arguments[command], stdin=subprocess.PIPE, bufsize=0)
                            wait_for(lambda process=process, number=number: catches(process, number))
                            process.stdin.write(path.read_bytes()[:size])
                            wait_for(lambda process=process: unread_bytes(process.stdin) == 0)
                            # As a terminal sends it: to the children too.
                            os.killpg(process.pid, number)
                            self.assertEqual(process.wait(SOON_SECONDS), 128 + number)
                            self.assertEqual(process.stderr.read(), b"")
                            shutil.rmtree(self.dump / "out", ignore_errors=True)
                            self.assertEqual(self.names(self.dump), [])
        self.assert_nothing_runs()


class InterruptedTest(FormatTest):
    def test_a_signal_leaves_nothing(self):
        archive = generate(self.dir / "x.vma", "--disk", "drive-scsi0=512M", "--shuffle")
        compressed = self.dump / "x.vma.zst"
        with open(compressed, "wb") as file:
            subprocess.run(["zstd", "-q", "-1", "-c", archive], stdout=file, check=True, timeout=HANG_SECONDS)
        archive.unlink()
        make_old(compressed)
        before = compressed.stat()
        for number in STOP_SIGNALS:
            for arguments in (*((compressed, self.dump / name) for name in ("y.vma.zst", "y.vma.lzo", "y.vma")),
                              ("--in-place", "--state-dir", self.state, compressed)):
                process = self.start("repack", *arguments)
                wait_for(lambda process=process: unnamed_file_size(process))
                os.killpg(process.pid, number)
                self.assertEqual((process.wait(SOON_SECONDS), process.stderr.read()), (128 + number, b""))
                self.assertEqual(self.names(self.dump), ["x.vma.zst"])
                after = compressed.stat()
                self.assertEqual((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns))
        self.assert_nothing_runs()

    def on_small_disk(self, size, script, *arguments):
        """Runs a shell script with a disk of this size at $1, vmactl as $2 and these arguments from $3 on, and returns
        the result and what lies on the disk then."""
        if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("there are no mount namespaces here, as in a plain chroot")
        listing = self.dir / "listing"
        script = f'mount -t tmpfs -o size={size} none "$1" || exit 99\n{script}\ncode=$?\nls -A "$1" > "$0"\nexit $code'
        result = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, listing,
                                 self.dump, VMACTL, *arguments],
                                capture_output=True, env=self.environment, check=False, timeout=HANG_SECONDS)
        return result, listing.read_text().split()

    def test_too_little_space(self):
        # The disk that comes first in canonical order is the last in the stream: all of the other has to wait.
        image = self.dir / "image"
        image.write_bytes(random.Random(2).randbytes(64 << 20))
        late = generate(self.dir / "late.vma", "--ascending", "--disk", f"drive-ide2=@{image}",
                        "--disk", "drive-scsi0=4M")
        image.unlink()
        compressed = large()["zstd"]
        lzo = large()["lzo"]
        spill_elsewhere = 'cat "$3" | "$2" repack --memory 16M --spill-dir "$1" - - > /dev/null'
        # Not whole is exit code 98.
        in_place = ('cp "$3" "$1/x" && touch -d "1 hour ago" "$1/x" && "$2" repack --in-place --state-dir "$4" "$1/x"\n'
                    'code=$?; cmp "$1/x" "$3" || code=98; (exit $code)')
        for what, size, script, argument, left in (
                ("writing", "48M", '"$2" repack "$3" "$1/y.vma.zst"', compressed, []),
                ("writing a stream", "48M", '"$2" repack - "$1/y.vma" < "$3"', lzo, []),
                ("writing lzo", "48M", '"$2" repack - "$1/y.vma.lzo" < "$3"', compressed, []),
                ("spilling", "48M", 'cat "$3" | "$2" repack --memory 16M - "$1/y.vma.zst"', late, []),
                ("spilling elsewhere", "20M", spill_elsewhere, late, []),
                ("in place", "80M", in_place, self.without_table(compressed), ["x"])):
            with self.subTest(what=what):
                result, names = self.on_small_disk(size, script, argument, self.state)
                self.assertEqual((result.stdout, names), (b"", left), result)
                self.assert_one_message(result, 1, "too little space in " + re.escape(str(self.dump)))
        # What fits needs no more room than it takes.
        result, names = self.on_small_disk("9M", '"$2" repack "$3" "$1/y.vma" > /dev/null', stored["raw"])
        self.assertEqual((result.returncode, result.stderr, names), (0, b"", ["y.vma"]))
        result, names = self.on_small_disk("20M", '"$2" extract "$3" "$1"', compressed)
        self.assert_one_message(result, 1, ": No space left on device")
        self.assertEqual(names, [])

    def without_table(self, compressed):
        """The same, but not canonical."""
        data = compressed.read_bytes()
        path = self.dir / "other.vma.zst"
        path.write_bytes(data[:SeekTable(data).offset])
        return path

    @unittest.skipUnless(shutil.which("strace"), "strace is not installed")
    def test_an_error_while_it_writes(self):
        archive = self.put("x.vma.zst", stored["zstd"].read_bytes())
        make_old(archive)
        for error, text in (("ENOSPC", "No space left on device"), ("EIO", "Input/output error")):
            for number in (1, 2, 4):
                for arguments in ((archive, self.dump / "y.vma.zst"), (archive, self.dump / "y.vma.lzo"),
                                  ("--in-place", "--state-dir", self.state, archive)):
                    with self.subTest(error=error, number=number, arguments=arguments):
                        result = subprocess.run(
                            ["strace", "-f", "-o", self.dir / "trace", "-e", "trace=pwrite64,pwritev",
                             f"--inject=pwrite64,pwritev:error={error}:when={number}+", VMACTL, "repack", *arguments],
                            env=self.traced_environment(), capture_output=True, timeout=HANG_SECONDS, check=False)
                        self.assert_one_message(result, 1, text)
                        self.assertEqual((result.stdout, self.names(self.dump)), (b"", ["x.vma.zst"]))
                        self.assertEqual(sha256(archive), sha256(stored["zstd"]))


if __name__ == "__main__":
    unittest.main()
