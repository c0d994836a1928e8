"""vmactl on archives of every kind, as vzdump stores them, as files and through pipes; and on damaged ones.

The laws: an archive is the same whatever stores it, its canonical form is the same bytes whatever it was stored as,
the stock tools restore it, and nothing is lost or left behind when anything goes wrong.

Run as: VMAD_BUILD=builddir python3 test_kinds.py
"""

import contextlib
import fcntl
import functools
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
import tempfile
import termios
import unittest

import support
from support import HANG_SECONDS, VMACHECK, VMACTL, ProcessTest, generate, make_old, sha256, unnamed_file_size, wait_for

ENDINGS = {"raw": ".vma", "zstd": ".vma.zst", "gzip": ".vma.gz", "lzo": ".vma.lzo"}
COMPRESSED = ("zstd", "gzip", "lzo")
# As vzdump runs them, and as Proxmox does to restore.
COMPRESS = {"raw": ("cat",), "zstd": ("zstd", "--threads=2", "-q"), "gzip": ("gzip", "--rsyncable"), "lzo": ("lzop",)}
RESTORE = {"raw": ("cat",), "zstd": ("zstd", "-q", "-d", "-c"), "gzip": ("zcat",), "lzo": ("lzop", "-d", "-c")}
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What is to end soon ends before any patience of ours does.
SOON_SECONDS = 30

DISKS = ("--disk", "drive-scsi0=8M", "--disk", "drive-efidisk0=540672", "--disk", "drive-ide2=1000K", "--shuffle")
SMALL_DISKS = ("--disk", "drive-scsi0=256K", "--disk", "drive-efidisk0=68K")
LZOP_MISSING = "lzop is needed for .lzo and is not installed: apt install lzop"

# Made once: guests in all kinds, as vzdump stores them and in canonical form.
directory = pathlib.Path()
stored = {}
canonical = {}
small = {}
small_canonical = {}


def filtered(command, data):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True, timeout=HANG_SECONDS).stdout


def make_kinds(name, disks, originals, results):
    raw = generate(directory / f"{name}.vma", *disks, "--reference", directory / f"{name}-canonical.vma")
    for kind, ending in ENDINGS.items():
        originals[kind] = directory / (name + ending)
        originals[kind].write_bytes(filtered(COMPRESS[kind], raw.read_bytes()))
        results[kind] = directory / (f"{name}-canonical" + ending)
        subprocess.run([VMACTL, "repack", "--force", raw, results[kind]], check=True, stdout=subprocess.DEVNULL)


def setUpModule():
    global directory
    directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-"))
    unittest.addModuleCleanup(shutil.rmtree, directory)
    # The raw canonical form is that of the generator, which shares no code with what is tested.
    make_kinds("guest", DISKS, stored, canonical)
    generate(directory / "guest.vma", *DISKS, "--reference", canonical["raw"])
    make_kinds("small", SMALL_DISKS, small, small_canonical)


@functools.cache
def large():
    """Canonical archives of a disk of 64 MiB that does not compress, another disk and efidisk0."""
    image = directory / "image"
    image.write_bytes(random.Random(1).randbytes(64 << 20))
    source = generate(directory / "source.vma", "--disk", f"drive-scsi0=@{image}", "--disk", "drive-ide2=8M",
                      "--disk", "drive-efidisk0=540672")
    image.unlink()
    archives = {}
    for kind in ("raw", "zstd", "lzo"):
        archives[kind] = directory / f"large{ENDINGS[kind]}"
        subprocess.run([VMACTL, "repack", source, archives[kind]], check=True, stdout=subprocess.DEVNULL)
    source.unlink()
    return archives


def concatenated(kind, path):
    """The raw archive at path as three frames, members or files, one behind the other."""
    data = path.read_bytes()
    third = len(data) // 3
    return b"".join(filtered(COMPRESS[kind], piece)
                    for piece in (data[:third], data[third:2 * third], data[2 * third:]))


class SeekTable:
    """The table at the end of a zstd archive that vmad wrote: entries are [stored, decompressed] bytes of a frame."""

    def __init__(self, data):
        count, descriptor, magic = struct.unpack("<IBI", data[-9:])
        assert (descriptor, magic) == (0, 0x8F92EAB1)
        self.offset = len(data) - 9 - 8 * count - 8
        self.entries = [list(entry) for entry in struct.iter_unpack("<II", data[self.offset + 8:-9])]

    def encode(self):
        body = b"".join(struct.pack("<II", *entry) for entry in self.entries)
        body += struct.pack("<IBI", len(self.entries), 0, 0x8F92EAB1)
        return struct.pack("<II", 0x184D2A5E, len(body)) + body

    def frame_offset(self, number):
        return sum(entry[0] for entry in self.entries[:number])


def zstd_frame_of_zeros(prefix, zeros):
    """A frame of prefix and so many zeros, by blocks that repeat a byte: 4 bytes of it for each 128 KiB."""
    blocks = [(0, prefix)] if prefix else []
    blocks += [(1, 128 << 10)] * (zeros // (128 << 10))
    frame = struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3)
    for number, (repeats, content) in enumerate(blocks):
        size = content if repeats else len(content)
        head = (number == len(blocks) - 1) | repeats << 1 | size << 3
        frame += head.to_bytes(3, "little") + (b"\0" if repeats else content)
    return frame


class KindTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.dump = self.dir / "dump"
        self.dump.mkdir()
        self.state = self.dir / "state"

    def feed(self, data, *arguments, **options):
        """Runs it with a pipe that brings the data, or with a file as standard input; the results are bytes."""
        source = {"input": data} if isinstance(data, bytes) else {"stdin": data}
        options = {"capture_output": True, "env": self.environment, "timeout": HANG_SECONDS, **source, **options}
        return subprocess.run([VMACTL, *arguments], check=False, **options)

    def feed_well(self, data, *arguments):
        result = self.feed(data, *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return result.stdout

    def assert_one_message(self, result, code, pattern="."):
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertRegex(result.stderr, rb"\Avmactl: [^\n]+\n\Z")
        self.assertRegex(result.stderr.decode(), pattern)

    def start(self, *arguments, **options):
        """In a process group of its own, as a shell starts it."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([VMACTL, *arguments], env=self.environment, start_new_session=True, **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def processes(self):
        """Command lines of what runs in this test's environment, children of children included."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"HOME={self.dir}\0".encode() in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes())
        return found

    def assert_nothing_runs(self):
        wait_for(lambda: not self.processes())

    def traced_environment(self):
        """For strace, under which the sanitizers' search for leaks does not work."""
        return {**self.environment, "ASAN_OPTIONS": self.environment.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}

    def in_place(self, *paths):
        """What it says of each, as JSON."""
        for path in paths:
            make_old(path)
        result = self.vmactl("--json", "repack", "--in-place", "--state-dir", self.state, *paths)
        self.assertEqual(result.stderr, "")
        return result.returncode, [json.loads(line) for line in result.stdout.splitlines()]

    def put(self, name, data):
        path = self.dump / name
        path.write_bytes(data)
        return path

    def assert_is_canonical(self, path, kind):
        """The bytes that are expected; of lzo, whose header has the time, those that lzop makes of it."""
        if kind == "lzo":
            self.assertEqual(filtered(RESTORE["lzo"], path.read_bytes()), canonical["raw"].read_bytes())
        else:
            self.assertEqual(sha256(path), sha256(canonical[kind]), path)


class CommandTest(KindTest):
    def test_the_content_tells_the_kind_and_the_name_does_not(self):
        [expected] = self.succeed_json("verify", stored["raw"])
        self.succeed("extract", stored["raw"], self.dir / "expected")
        files = {name: sha256(self.dir / "expected" / name) for name in self.names(self.dir / "expected")}
        self.assertEqual(len(files), 4)
        contents = [(kind, path.read_bytes()) for kind, path in stored.items()]
        contents += [(kind, concatenated(kind, stored["raw"])) for kind in COMPRESSED]
        for kind, content in contents:
            for name in ("x", "x.vma.gz" if kind == "zstd" else "x.vma.zst"):
                with self.subTest(kind=kind, name=name):
                    path = self.put(name, content)
                    [info] = self.succeed_json("info", path)
                    self.assertEqual((info["kind"], info["size_bytes"]), (kind, len(content)))
                    self.assertEqual(info.get("canonical_headers"), False if kind in ("raw", "zstd") else None)
                    self.assertRegex(self.succeed("info", path), rf"\nkind     {kind}\n")
                    [survey] = self.succeed_json("verify", path)
                    self.assertEqual(survey, {**expected, "path": str(path), "kind": kind, "size_bytes": len(content)})
                    out = self.dir / "out"
                    self.succeed("extract", path, out)
                    self.assertEqual({name: sha256(out / name) for name in self.names(out)}, files)
                    shutil.rmtree(out)

    def test_repack_from_every_kind_to_every_kind(self):
        [expected] = self.succeed_json("verify", canonical["raw"])
        for source, path in stored.items():
            kinds = {**{f"x{ending}": kind for kind, ending in ENDINGS.items()}, "x": source}
            if source == "raw":
                kinds.update({"x.zst": "zstd", "x.gz": "gzip", "x.lzo": "lzo", "x.vma.bak": "raw", ".vma.zst": "zstd"})
            for name, kind in kinds.items():
                with self.subTest(source=source, name=name):
                    result = self.dump / name
                    [told] = self.succeed_json("repack", path, result, "--force")
                    self.assertEqual((told["source_bytes"], told["archive_bytes"]),
                                     (path.stat().st_size, stored["raw"].stat().st_size))
                    self.assertEqual((told["result_bytes"], told["digest"]),
                                     (result.stat().st_size, expected["digest"]))
                    self.assert_is_canonical(result, kind)
            for survey in self.succeed_json("verify", *(self.dump / name for name in kinds)):
                result = pathlib.Path(survey["path"])
                self.assertEqual(survey, {**expected, "path": str(result), "kind": kinds[result.name],
                                          "size_bytes": result.stat().st_size})

    def test_the_result_does_not_depend_on_threads_and_memory(self):
        for kind, path in stored.items():
            for options in (("--threads", "1"), ("--threads", "5"), ("--memory", "16M"),
                            ("--memory", "0"), ("--memory", "0", "--threads", "3")):
                with self.subTest(kind=kind, options=options):
                    # To standard output, which is of the source's kind, and to files of two others.
                    self.assert_is_canonical(self.put("x", self.feed_well(b"", "repack", path, "-", *options)), kind)
                    name = "y.zst" if kind in ("raw", "lzo") else "y.gz"
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
        paths = [self.put("x" + ENDINGS[kind], path.read_bytes()) for kind, path in stored.items()]
        paths += [self.put(f"several{ENDINGS[kind]}", concatenated(kind, stored["raw"])) for kind in COMPRESSED]
        kinds = [*stored, *COMPRESSED]
        sizes = [path.stat().st_size for path in paths]
        code, told = self.in_place(*paths)
        self.assertEqual((code, [one["outcome"] for one in told]), (0, ["done"] * len(paths)))
        for path, kind, size, one in zip(paths, kinds, sizes, told):
            self.assert_is_canonical(path, kind)
            self.assertEqual((one["size_before"], one["size_after"]), (size, path.stat().st_size))
        before = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths]
        if not os.listxattr(paths[0]):
            self.skipTest("there are no extended attributes here, by which gzip and lzo are known")
        for path in paths:
            [info] = self.succeed_json("info", path)
            self.assertEqual((info["canonical_headers"], info["extent_count"]), (True, 5))
        result = self.vmactl("repack", "--in-place", "--state-dir", self.state, *paths)
        self.assertEqual((result.returncode, result.stderr, result.stdout),
                         (0, "", "".join(f"{path}: canonical already\n" for path in paths)))
        self.assertEqual([(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths], before)
        self.assertEqual(len(self.names(self.dump)), len(paths))


class StreamTest(KindTest):
    def test_a_pipe_gives_what_a_file_gives(self):
        for kind, path in stored.items():
            with self.subTest(kind=kind):
                data = path.read_bytes()
                result = self.feed_well(data, "repack", "-", "-")
                self.assert_is_canonical(self.put("x", result), kind)
                self.assert_is_canonical(self.put("x", self.feed_well(result, "repack", "-", "-")), kind)
                self.assert_is_canonical(self.put("x", self.feed_well(b"", "repack", path, "-")), kind)
                for other in (kind, "gzip" if kind == "zstd" else "zstd"):
                    into = self.dump / f"y{ENDINGS[other]}"
                    told = self.feed_well(data, "repack", "-", into, "--force", "--memory", "0")
                    self.assertIn(" proven, digest ", told.decode())
                    self.assert_is_canonical(into, other)
                    self.assertEqual(stat.S_IMODE(into.stat().st_mode), 0o600)

    def test_looking_at_a_pipe(self):
        [expected] = self.succeed_json("verify", stored["raw"])
        self.succeed("extract", stored["raw"], self.dir / "expected")
        out = self.dir / "out"
        for kind, path in stored.items():
            for from_file in (False, True):
                def look(*arguments, path=path, from_file=from_file):
                    with open(path, "rb") as file:
                        return self.feed_well(file if from_file else file.read(), *arguments)
                survey = json.loads(look("--json", "verify", "-"))
                self.assertEqual(survey, {**expected, "path": "-", "kind": kind, "size_bytes": path.stat().st_size})
                info = json.loads(look("--json", "info", "-"))
                self.assertEqual((info["path"], info["kind"], len(info["devices"])), ("-", kind, 3))
                self.assertNotIn("size_bytes", info)
                self.assertNotIn("canonical_headers", info)
                look("extract", "-", out, "--device", "drive-efidisk0")
                self.assertEqual(self.names(out), ["disk-drive-efidisk0.raw"])
                look("extract", "-", out, "--force")
                for name in self.names(self.dir / "expected"):
                    self.assertEqual(sha256(out / name), sha256(self.dir / "expected" / name))
                shutil.rmtree(out)

    def test_standard_input_begins_where_it_stands(self):
        for kind, path in small.items():
            self.put("x", b"no archive" * 100 + path.read_bytes())
            with open(self.dump / "x", "rb") as file:
                os.lseek(file.fileno(), 1000, os.SEEK_SET)
                self.assertEqual(json.loads(self.feed_well(file, "--json", "verify", "-"))["kind"], kind)

    def test_a_stream_that_ends_too_early(self):
        for kind, count in (("raw", 200), ("zstd", 200), ("gzip", 30), ("lzo", 30)):
            data = small[kind].read_bytes()
            for size in {*range(0, len(data), len(data) // count + 1), 1, 3, 8, 9, 10, len(data) - 4, len(data) - 1}:
                with self.subTest(kind=kind, size=size):
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
        for kind, path in stored.items():
            source = subprocess.Popen(["sh", "-c", 'head -c 400000 "$0"; kill -9 $$', path], stdout=subprocess.PIPE)
            with source, source.stdout:
                result = self.feed(source.stdout, "repack", "-", self.dump / "y.vma")
            self.assert_one_message(result, 6)
            self.assertEqual(self.names(self.dump), [], kind)

    def test_the_upstream_is_slow(self):
        for kind, path in small.items():
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
            self.assertEqual(filtered(RESTORE[kind], result), small_canonical["raw"].read_bytes())

    def test_what_standard_input_and_output_cannot_be(self):
        for arguments in (("repack", stored["raw"], "-"), ("repack", "-", "-")):
            self.assertEqual(self.refuse(2, "--json", *arguments),
                             "standard output takes the archive or JSON, not both")
        self.assertIn("--in-place", self.refuse(2, "repack", "--in-place", "--state-dir", self.state, "-"))
        root = os.open("/", os.O_RDONLY)
        self.assert_one_message(self.feed(root, "verify", "-"), 1, "read standard input: Is a directory")
        os.close(root)
        for arguments in (("verify", "-"), ("info", "-"), ("extract", "-", self.dump / "out"),
                          ("repack", "-", self.dump / "y.vma")):
            self.assertEqual(self.vmactl_on_terminal(*arguments), (
                2, "vmactl: standard input is a terminal; an archive comes from a pipe or a file\r\n"))
        self.assertEqual(self.vmactl_on_terminal("repack", stored["zstd"], "-"), (
            2, "vmactl: standard output is a terminal; an archive goes to a pipe or a file\r\n"))
        self.assertEqual(self.names(self.dump), [])

    def test_a_reader_that_closes_the_pipe_ends_it_without_a_word(self):
        for kind, path in large().items():
            for count in (0, 1, 100000):
                process = self.start("repack", path, "-")
                self.assertEqual(len(process.stdout.read(count)), count)
                process.stdout.close()
                self.assertEqual((process.wait(SOON_SECONDS), process.stderr.read()), (-signal.SIGPIPE, b""), kind)
        self.assert_nothing_runs()

    def test_a_signal_while_nobody_reads(self):
        for number in STOP_SIGNALS:
            for kind, path in large().items():
                process = self.start("repack", path, "-")
                wait_for(lambda process=process: unread_bytes(process.stdout) >= 60000)
                os.killpg(process.pid, number)
                self.assertEqual((process.wait(SOON_SECONDS), process.stderr.read()), (128 + number, b""), kind)
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
                for kind, path in small.items():
                    for size in (0, 5, path.stat().st_size // 2):
                        with self.subTest(number=number, command=command, kind=kind, size=size):
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


def unread_bytes(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


def catches(process, number):
    """It has a handler for this signal."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"SigCgt:\s*([0-9a-f]+)", status)[1], 16) >> (number - 1) & 1


class RestoreTest(KindTest):
    def test_the_stock_tools_restore_a_canonical_archive(self):
        for kind, path in canonical.items():
            data = path.read_bytes()
            self.assertEqual(filtered(RESTORE[kind], data), canonical["raw"].read_bytes(), kind)
            with subprocess.Popen(["sh", "-c", '"$@" < "$0" | head -c 100000', path, *RESTORE[kind]],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                self.assertEqual(process.stdout.read(), canonical["raw"].read_bytes()[:100000])
        for kind, command in (("zstd", "zstd"), ("gzip", "gzip"), ("lzo", "lzop")):
            subprocess.run([command, "-q", "-t", canonical[kind]], check=True)

    def test_zstd_tells_its_frames(self):
        listing = subprocess.run(["zstd", "-lv", canonical["zstd"]], check=True, text=True, capture_output=True).stdout
        table = SeekTable(canonical["zstd"].read_bytes())
        self.assertEqual(len(table.entries), 6)
        self.assertRegex(listing, r"(# Zstandard|Number of) Frames: 6\n")
        self.assertRegex(listing, r"Skippable Frames: 1\n")
        self.assertIn(f"({canonical['raw'].stat().st_size} B)", listing)
        self.assertIn("Check: XXH64", listing)
        self.assertEqual(sum(entry[1] for entry in table.entries), canonical["raw"].stat().st_size)
        self.assertEqual(table.encode(), canonical["zstd"].read_bytes()[table.offset:])

    @unittest.skipUnless(VMACHECK.exists(), "vmacheck.py is not at hand")
    def test_another_reader_takes_what_they_restore(self):
        for kind, path in canonical.items():
            restored = self.put("x", filtered(RESTORE[kind], path.read_bytes()))
            subprocess.run(["python3", VMACHECK, "--canonical", restored], check=True, stdout=subprocess.DEVNULL)


class DamageTest(KindTest):
    def setUp(self):
        super().setUp()
        [survey] = self.succeed_json("verify", small["raw"])
        self.digest = survey["digest"]

    def assert_refused_or_harmless(self, kind, damaged):
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
                if one["outcome"] != "unchanged" or kind != "zstd":
                    self.assertEqual(one["outcome"], "invalid", one)
                else:
                    self.assertTrue(self.succeed_json("info", path)[0]["canonical_headers"])
                self.assertTrue(path.read_bytes() == data, path)
            else:
                self.assertIn(one["outcome"], ("done", "unchanged"), one)
                self.assertEqual(filtered(RESTORE[kind], path.read_bytes()), small_canonical["raw"].read_bytes())
        self.assertEqual(self.names(self.dump), sorted(damaged))
        return [survey for survey in surveys if survey["path"] not in bad]

    def assert_refused(self, kind, damaged):
        self.assertEqual(self.assert_refused_or_harmless(kind, damaged), [])

    def test_truncated(self):
        for archives in (small, small_canonical):
            for kind, path in archives.items():
                data = path.read_bytes()
                sizes = {*range(0, len(data), len(data) // 200 + 1), *range(len(data) - 20, len(data))}
                if (kind, archives) == ("zstd", small_canonical):
                    # Without its seek table it is whole still.
                    sizes.discard(SeekTable(data).offset)
                with self.subTest(kind=kind, canonical=archives is small_canonical):
                    self.assert_refused(kind, {f"{size}.vma": data[:size] for size in sizes})

    def test_without_its_seek_table(self):
        data = small_canonical["zstd"].read_bytes()
        [survey] = self.assert_refused_or_harmless("zstd", {"x.vma.zst": data[:SeekTable(data).offset]})
        self.assertEqual((survey["canonical"], survey["departure"]), (False, "there is no seek table at its end"))

    def test_flipped_bits(self):
        numbers = random.Random(7)
        for archives in (small, small_canonical):
            for kind in COMPRESSED:
                data = archives[kind].read_bytes()
                damaged = {}
                places = [numbers.randrange(len(data)) for _ in range(100)]
                for place in (*places, *range(24), *range(len(data) - 24, len(data))):
                    spoilt = bytearray(data)
                    spoilt[place] ^= 1 << numbers.randrange(8)
                    damaged[f"{place}.vma"] = bytes(spoilt)
                with self.subTest(kind=kind, canonical=archives is small_canonical):
                    harmless = self.assert_refused_or_harmless(kind, damaged)
                    # Of gzip: the time, the program's hints and its system, which are in the header of each member.
                    self.assertLess(len(harmless), 40)
                    if kind != "gzip":
                        self.assertEqual([survey for survey in harmless if survey["canonical"]], [])

    def test_something_behind_it(self):
        for archives in (small, small_canonical):
            for kind in COMPRESSED:
                data = archives[kind].read_bytes()
                whole = small["raw"].read_bytes()
                self.assert_refused(kind, {
                    "junk.vma": data + b"junk", "much.vma": data + bytes(range(1, 256)) * 4000,
                    "half.vma": data + data[:5000], "twice.vma": data + data, "raw.vma": data + whole,
                    "begun.vma": data + data[:1],
                    "more.vma": data + filtered(COMPRESS[kind], b"VMAE"),
                    "zero.vma": data + filtered(COMPRESS[kind], bytes(1000))})

    def test_legal_oddities(self):
        data = {kind: path.read_bytes() for kind, path in small.items()}
        nothing = {kind: filtered(COMPRESS[kind], b"") for kind in COMPRESSED}
        skippable = struct.pack("<II", 0x184D2A53, 5) + b"other"
        self.assertEqual(data["gzip"][3], 0)  # no flags
        named = data["gzip"][:3] + b"\x1c" + data["gzip"][4:10] + b"\5\0extraname\0comment\0" + data["gzip"][10:]
        for kind, oddities in (
                ("zstd", {"before": nothing["zstd"] + data["zstd"], "behind": data["zstd"] + nothing["zstd"],
                          "skippable": skippable + data["zstd"] + skippable + skippable}),
                ("gzip", {"before": nothing["gzip"] + data["gzip"], "behind": data["gzip"] + nothing["gzip"],
                          "named": named}),
                ("lzo", {"before": nothing["lzo"] + data["lzo"], "behind": data["lzo"] + nothing["lzo"],
                         "crc32": filtered(("lzop", "-9", "--crc32"), data["raw"]),
                         "plain": filtered(("lzop", "-F"), data["raw"])})):
            self.assertEqual(len(self.assert_refused_or_harmless(kind, oddities)), len(oddities))

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
        table.entries = [[sum(entry[field] for entry in table.entries) for field in (0, 1)]]
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
            code, [told] = self.in_place(path)
            self.assertEqual((code, told["outcome"]), (0, "done"))
            self.assert_is_canonical(path, "zstd")

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
                ("zeros", zstd_frame_of_zeros(b"", 3 << 30), "!at byte 0: no VMA archive"),
                ("header and zeros", zstd_frame_of_zeros(whole[:12800], 3 << 30), "at byte 12800: no extent begins"),
                ("archive and zeros", small["zstd"].read_bytes() + zstd_frame_of_zeros(b"", 3 << 30),
                 f"at byte {len(whole)}: no extent begins here")):
            with self.subTest(name=name):
                self.refuse_by_all(self.put("x.vma.zst", data), 6, pattern)


class LzopTest(KindTest):
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
        for kind in ("raw", "zstd", "gzip"):
            self.succeed("repack", stored[kind], self.dump / "z.gz", "--force")
        self.assert_is_canonical(self.dump / "z.gz", "gzip")

    def test_it_fails(self):
        decompress = 'case "$1" in -d) ;; *) exec LZOP "$@";; esac; '
        compress = 'case "$1" in -d) exec LZOP "$@";; esac; '
        archive = stored["lzo"].read_bytes()
        for way, script, codes, pattern in (
                ("message", decompress + "echo broken >&2; exit 3", (1,), "lzop failed with exit status 3: broken"),
                ("killed", decompress + "kill -9 $$", (1,), "lzop was ended by signal 9"),
                ("no such archive", decompress + "cat > /dev/null; head -c 100000 /dev/zero", (6,), "no VMA archive"),
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


@unittest.skipUnless(shutil.which("strace"), "strace is not installed")
class EfficiencyTest(KindTest):
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
        self.assertEqual((info["canonical_headers"], info["extent_count"]), (True, 22))

    def test_one_disk_is_extracted_without_reading_the_others(self):
        archive = large()["zstd"]
        self.succeed("extract", large()["raw"], self.dir / "all")
        table = SeekTable(archive.read_bytes())
        # By descending name; frame 0 is the header.
        for device, first, last in (("drive-scsi0", 1, 18), ("drive-ide2", 19, 21), ("drive-efidisk0", 22, 22)):
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

    def test_damage_elsewhere_does_not_matter_to_a_disk(self):
        data = bytearray(canonical["zstd"].read_bytes())
        table = SeekTable(data)
        self.succeed("extract", canonical["raw"], self.dir / "all")
        owners = ["drive-scsi0"] * 3 + ["drive-ide2"] + ["drive-efidisk0"]
        for number, owner in enumerate(owners, 1):
            spoilt = bytearray(data)
            spoilt[table.frame_offset(number) + table.entries[number][0] // 2] ^= 0x10
            path = self.put("x.vma.zst", spoilt)
            self.assertEqual(self.vmactl("verify", path).returncode, 6)
            for device in sorted(set(owners)):
                with self.subTest(frame=number, device=device):
                    out = self.dump / "out"
                    if device == owner:
                        self.assertRegex(self.refuse(6, "extract", "--device", device, path, out), r": at byte \d+: ")
                        self.assertEqual(self.names(out), [])
                    else:
                        self.succeed("extract", "--device", device, path, out)
                        file = f"disk-{device}.raw"
                        self.assertEqual(sha256(out / file), sha256(self.dir / "all" / file))
                    shutil.rmtree(out)


class InterruptedTest(KindTest):
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
