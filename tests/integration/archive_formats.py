"""Archives of every format for the tests of vmactl, as vzdump stores them and in canonical form."""

import contextlib
import functools
import json
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import unittest

from support import HANG_SECONDS, VMACTL, ProcessTest, generate, make_old, sha256, wait_for

ENDINGS = {"raw": ".vma", "zstd": ".vma.zst", "gzip": ".vma.gz", "lzo": ".vma.lzo"}
COMPRESSED = ("zstd", "gzip", "lzo")
# As vzdump runs them, and as Proxmox does to restore.
COMPRESS = {"raw": ("cat",), "zstd": ("zstd", "--threads=2", "-q"), "gzip": ("gzip", "--rsyncable"), "lzo": ("lzop",)}
RESTORE = {"raw": ("cat",), "zstd": ("zstd", "-q", "-d", "-c"), "gzip": ("zcat",), "lzo": ("lzop", "-d", "-c")}
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What is to end soon ends before any patience of ours does.
SOON_SECONDS = 30

DISKS = ("--disk", "drive-scsi0=8M", "--disk", "drive-efidisk0=540672", "--disk", "drive-ide2=1000K", "--shuffle")
SMALL_DISKS = ("--disk", "drive-scsi0=256K", "--disk", "drive-efidisk0=68K")
LZOP_MISSING = "lzop is needed for .lzo and is not installed: apt install lzop"

# Made once for a module: guests in all formats, as vzdump stores them and in canonical form.
directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-"))
stored = {}
canonical = {}
small = {}
small_canonical = {}


def filtered(command, data):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True, timeout=HANG_SECONDS).stdout


def make_formats(name, disks, originals, results):
    raw = generate(directory / f"{name}.vma", *disks, "--reference", directory / f"{name}-canonical.vma")
    for format, ending in ENDINGS.items():
        originals[format] = directory / (name + ending)
        originals[format].write_bytes(filtered(COMPRESS[format], raw.read_bytes()))
        results[format] = directory / (f"{name}-canonical" + ending)
        subprocess.run([VMACTL, "repack", "--force", raw, results[format]], check=True, stdout=subprocess.DEVNULL)


def make_archives():
    """For a module's setUpModule."""
    unittest.addModuleCleanup(shutil.rmtree, directory)
    # The raw canonical form is that of the generator, which shares no code with what is tested.
    make_formats("guest", DISKS, stored, canonical)
    generate(directory / "guest.vma", *DISKS, "--reference", canonical["raw"])
    make_formats("small", SMALL_DISKS, small, small_canonical)


@functools.cache
def large():
    """Canonical archives of a disk of 64 MiB that does not compress, another disk and efidisk0."""
    image = directory / "image"
    image.write_bytes(random.Random(1).randbytes(64 << 20))
    source = generate(directory / "source.vma", "--disk", f"drive-scsi0=@{image}", "--disk", "drive-ide2=8M",
                      "--disk", "drive-efidisk0=540672")
    image.unlink()
    archives = {}
    for format in ("raw", "zstd", "lzo"):
        archives[format] = directory / f"large{ENDINGS[format]}"
        subprocess.run([VMACTL, "repack", source, archives[format]], check=True, stdout=subprocess.DEVNULL)
    source.unlink()
    return archives


def concatenated(format, path):
    """The raw archive at path as three frames, members or files, one behind the other."""
    data = path.read_bytes()
    third = len(data) // 3
    return b"".join(filtered(COMPRESS[format], piece)
                    for piece in (data[:third], data[third:2 * third], data[2 * third:]))


class SeekTable:
    """The table at the end of a zstd archive that vmad wrote: entries are [stored, decompressed, checksum] of a frame."""

    def __init__(self, data):
        count, descriptor, magic = struct.unpack("<IBI", data[-9:])
        assert (descriptor, magic) == (0x80, 0x8F92EAB1)
        self.offset = len(data) - 9 - 12 * count - 8
        self.entries = [list(entry) for entry in struct.iter_unpack("<III", data[self.offset + 8:-9])]

    def encode(self):
        body = b"".join(struct.pack("<III", *entry) for entry in self.entries)
        body += struct.pack("<IBI", len(self.entries), 0x80, 0x8F92EAB1)
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


class FormatTest(ProcessTest):
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

    def assert_is_canonical(self, path, format):
        """The bytes that are expected; of lzo, whose header has the time, those that lzop makes of it."""
        if format == "lzo":
            self.assertEqual(filtered(RESTORE["lzo"], path.read_bytes()), canonical["raw"].read_bytes())
        else:
            self.assertEqual(sha256(path), sha256(canonical[format]), path)
