"""vmactl mount: what it shows is what extract restores, however it is read, and whatever becomes of the archive."""

import concurrent.futures
import errno
import hashlib
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import unittest

from archive_formats import SeekTable
from support import BUILD, HANG_SECONDS, OFFICIAL, VMACTL, ProcessTest, generate, official_manifest, sha256, wait_for

QUIRKFS = BUILD / "tests/support/quirkfs"
BLOCK = 4096
REGION = 2 << 20


def why_not():
    if os.geteuid() != 0:
        return "only root can mount"
    return None if os.path.exists("/dev/fuse") else "there is no /dev/fuse here"


def without(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    return f"{missing[0]} is not installed" if missing else None


def why_no_loop():
    if missing := without("losetup", "mkfs.ext4", "sfdisk"):
        return missing
    result = subprocess.run(["losetup", "--find"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return None if result.returncode == 0 else "there are no loop devices here"


def mounts_below(directory):
    text = pathlib.Path("/proc/self/mountinfo").read_text()
    return [line.split()[4] for line in text.splitlines() if line.split()[4].startswith(str(directory))]


def process_of(program, is_it):
    """The one with this name and a command line that is_it()."""
    for path in pathlib.Path("/proc").iterdir():
        try:
            words = (path / "cmdline").read_text(errors="replace").split("\0")[:-1]
        except OSError:
            continue
        if words and words[0].endswith(program) and is_it(words):
            return int(path.name)
    return None


def blocks_with_content(path):
    """The numbers of the blocks that are not zero."""
    data = path.read_bytes()
    return {i for i in range(0, (len(data) + BLOCK - 1) // BLOCK) if data[i * BLOCK:(i + 1) * BLOCK].strip(b"\0")}


def blocks_by_seek(path):
    """The numbers of the blocks that SEEK_DATA and SEEK_HOLE call data."""
    found = set()
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        position = 0
        while position < size:
            try:
                begin = os.lseek(fd, position, os.SEEK_DATA)
            except OSError as error:
                assert error.errno == errno.ENXIO, error
                break
            position = os.lseek(fd, begin, os.SEEK_HOLE)
            assert position > begin
            found.update(range(begin // BLOCK, (position + BLOCK - 1) // BLOCK))
    finally:
        os.close(fd)
    return found


@unittest.skipIf(why_not(), why_not())
class MountTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.at = self.dir / "at"
        self.at.mkdir()
        self.addCleanup(self.unmount_all)

    def unmount_all(self):
        for path in reversed(mounts_below(self.dir)):
            subprocess.run(["umount", "--lazy", path], check=False)

    def succeed(self, *arguments):
        result = self.vmactl(*arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def mount(self, archive, *options, at=None):
        return self.succeed("mount", *options, archive, at or self.at)

    def umount(self, *options):
        self.succeed("umount", *options, self.at)
        self.assertEqual(mounts_below(self.at), [])

    def guest(self, *options, form="vma.zst"):
        """A canonical archive of a made-up guest, and its disks and configs, extracted."""
        raw = generate(self.dir / "guest.vma", *options)
        archive = self.dir / f"archive.{form}"
        self.succeed("repack", "--force", raw, archive)
        self.succeed("extract", "--force", raw, self.dir / "out")
        return archive

    def extracted(self):
        """{name in the mount: extracted file}"""
        return {path.name.removeprefix("disk-"): path for path in (self.dir / "out").iterdir()}

    def info(self):
        return json.loads((self.at / "info.json").read_text())

    def start(self, archive, *options):
        """In the foreground."""
        errors = (self.dir / "errors").open("wb")
        self.addCleanup(errors.close)
        process = subprocess.Popen([VMACTL, "mount", "--foreground", *options, archive, self.at], env=self.environment,
                                   stdout=subprocess.DEVNULL, stderr=errors, stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_for(lambda: process.poll() is not None or os.path.ismount(self.at))
        return process

    def errors(self):
        return (self.dir / "errors").read_text()

    def program(self):
        """The process behind the mount."""
        return process_of("vmad-mount", lambda words: words[-1] == str(self.at))


class ContentTest(MountTest):
    def test_official_samples(self):
        """Each file is what Proxmox's own tool restored, whichever form the archive has."""
        for name, sample in official_manifest().items():
            expected = {f"{disk['name']}.raw": disk for disk in sample["disks"]}
            expected.update({config["name"]: config for config in sample["configs"]})
            for form in (None, "vma", "vma.zst"):
                with self.subTest(name, form=form):
                    archive = OFFICIAL / name
                    if form:
                        archive = self.dir / f"canonical.{form}"
                        self.succeed("repack", "--force", OFFICIAL / name, archive)
                    printed = self.mount(archive)
                    self.assertEqual(set(printed.splitlines()), {str(self.at / file) for file in self.names(self.at)})
                    self.assertEqual(set(self.names(self.at)), {*expected, "info.json"})
                    for file, wanted in expected.items():
                        path = self.at / file
                        status = path.stat()
                        self.assertEqual((status.st_size, sha256(path)), (wanted["size"], wanted["sha256"]), file)
                        self.assertEqual((status.st_mtime_ns, status.st_mode & 0o7777, status.st_uid),
                                         (archive.stat().st_mtime_ns, 0o400, os.geteuid()))
                    told = json.loads(self.succeed("info", "--json", archive))
                    self.assertEqual(self.info(), {**{key: value for key, value in told.items()
                                                      if key not in ("canonical_headers", "extent_count")},
                                                   "archive": "present"})
                    self.umount()

    def test_guests_of_all_kinds(self):
        """What a mount shows, and calls data, is what was extracted."""
        sizes = ("512", "4608", "68K", "2M", "5000K", "9437696")
        for seed, size in enumerate(sizes):
            with self.subTest(size):
                shutil.rmtree(self.dir / "out", ignore_errors=True)
                archive = self.guest("--disk", f"drive-scsi0={size}", "--disk", f"drive-efidisk0={sizes[-1 - seed]}",
                                     "--guest-seed", str(seed), "--zero-fraction", f"0.{seed * 2}",
                                     form=("vma", "vma.zst")[seed % 2])
                self.mount(archive)
                files = self.extracted()
                self.assertEqual(set(self.names(self.at)), {*files, "info.json"})
                for name, path in files.items():
                    shown = self.at / name
                    self.assertEqual(sha256(shown), sha256(path), name)
                    if name.endswith(".raw"):
                        content = blocks_with_content(path)
                        self.assertEqual(blocks_by_seek(shown), content, name)
                        self.assertEqual(shown.stat().st_blocks, len(content) * BLOCK // 512, name)
                self.umount()

    def test_many_readers_at_once(self):
        """Random, sequential and direct reads of several disks, on all threads, with next to no memory."""
        archive = self.guest("--disk", "drive-scsi0=24M", "--disk", "drive-scsi1=9M", "--zero-fraction", "0.3")
        self.mount(archive, "--memory", "16M")
        disks = {path: (self.at / name).resolve() for name, path in self.extracted().items() if name.endswith(".raw")}
        content = {shown: path.read_bytes() for path, shown in disks.items()}

        def sequentially(path):
            return hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(content[path]).digest()

        def at_random(path, seed):
            numbers = random.Random(seed)
            with open(path, "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                for _ in range(200):
                    offset = numbers.randrange(len(content[path]))
                    size = numbers.choice((1, 512, 4096, 5000, 300000))
                    if os.pread(file.fileno(), size, offset) != content[path][offset:offset + size]:
                        return False
            return True

        def directly(path):
            result = subprocess.run(["dd", f"if={path}", "bs=1M", "iflag=direct", "status=none"], check=True,
                                    stdout=subprocess.PIPE, timeout=HANG_SECONDS)
            return result.stdout == content[path]

        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            readers = [pool.submit(reader, path, *more) for path in disks.values()
                       for reader, *more in ((sequentially,), (directly,), *((at_random, seed) for seed in range(6)))]
            self.assertTrue(all(reader.result() for reader in readers))

    def test_read_only(self):
        self.mount(self.guest("--disk", "drive-scsi0=1M"))
        for call in (lambda: open(self.at / "drive-scsi0.raw", "r+b"), lambda: (self.at / "new").touch(),
                     (self.at / "drive-scsi0.raw").unlink, lambda: (self.at / "drive-scsi0.raw").chmod(0o644)):
            with self.assertRaises(OSError) as raised:
                call()
            self.assertEqual(raised.exception.errno, errno.EROFS)

    def test_others_are_admitted_only_when_asked(self):
        archive = self.guest("--disk", "drive-scsi0=1M")
        for path in (self.dir, *self.dir.parents):
            if path.stat().st_mode & 0o001 == 0:
                path.chmod(path.stat().st_mode | 0o055)
        for options, code in (((), 1), (("--allow-other",), 0)):
            self.mount(archive, *options)
            result = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "cat", self.at / "drive-scsi0.raw"],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            self.assertEqual(result.returncode, code, options)
            self.umount()

    def test_copies_stay_sparse(self):
        archive = self.guest("--disk", "drive-scsi0=16M", "--zero-fraction", "0.9")
        self.mount(archive)
        copy = self.dir / "copy"
        shown = self.at / "drive-scsi0.raw"
        subprocess.run(["cp", "--sparse=auto", shown, copy], check=True)
        self.assertEqual(sha256(copy), sha256(self.extracted()["drive-scsi0.raw"]))
        self.assertLessEqual(copy.stat().st_blocks, shown.stat().st_blocks + 64)

    @unittest.skipIf(without("qemu-img"), without("qemu-img"))
    def test_qemu_reads_it(self):
        archive = self.guest("--disk", "drive-scsi0=16M", "--zero-fraction", "0.8")
        self.mount(archive)
        shown, path = self.at / "drive-scsi0.raw", self.extracted()["drive-scsi0.raw"]
        qcow2 = self.dir / "copy.qcow2"
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", shown, qcow2], check=True)
        subprocess.run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", qcow2, path], check=True)
        text = subprocess.run(["qemu-img", "map", "--output=json", "-f", "raw", shown], check=True,
                              stdout=subprocess.PIPE).stdout
        mapped = sum(part["length"] for part in json.loads(text) if part["data"])
        self.assertEqual(mapped, len(blocks_with_content(path)) * BLOCK)
        socket = self.dir / "nbd"
        server = subprocess.Popen(["qemu-nbd", "-r", "-f", "raw", "--socket", socket, shown])
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        wait_for(lambda: server.poll() is not None or socket.exists())
        subprocess.run(["qemu-img", "compare", "-q", f"nbd+unix:///?socket={socket}", path], check=True)
        # A guest could be booted from this.
        overlay = self.dir / "overlay.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", shown, "-F", "raw", overlay], check=True)
        subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", overlay], check=True, stdout=subprocess.DEVNULL)
        self.assertEqual(sha256(shown), sha256(path))

    @unittest.skipIf(why_no_loop(), why_no_loop())
    def test_a_partition_can_be_mounted(self):
        content = self.dir / "content"
        content.mkdir()
        (content / "fstab").write_text("a line\n")
        image = self.dir / "image"
        with image.open("wb") as file:
            file.truncate(24 << 20)
        subprocess.run(["sfdisk", "-q", image], input="start=2048, type=83\n", text=True, check=True)
        subprocess.run(["mkfs.ext4", "-q", "-d", content, "-E", f"offset={2048 * 512}", image, "22M"], check=True,
                       stderr=subprocess.DEVNULL)
        self.mount(self.guest("--disk", f"drive-scsi0=@{image}"))
        loop = subprocess.run(["losetup", "-rP", "--find", "--show", self.at / "drive-scsi0.raw"], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()
        self.addCleanup(subprocess.run, ["losetup", "--detach", loop], check=False, stderr=subprocess.DEVNULL)
        result = self.vmactl("umount", self.at)
        self.assertEqual(result.returncode, 7)
        self.assertIn(loop, result.stderr)
        target = self.dir / "target"
        target.mkdir()
        part, options = f"{loop}p1", "ro,noload"
        if not os.path.exists(part):
            # A kernel that knows no partitions, or a container without udev.
            part, options = loop, f"ro,noload,offset={2048 * 512}"
        subprocess.run(["mount", "-t", "ext4", "-o", options, part, target], check=True)
        try:
            self.assertEqual((target / "fstab").read_text(), "a line\n")
        finally:
            subprocess.run(["umount", target], check=True)
        subprocess.run(["losetup", "--detach", loop], check=True)
        wait_for(lambda: self.vmactl("umount", self.at).returncode == 0)


class DamageTest(MountTest):
    def frame_of(self, data, region):
        """(offset, size) of the frame of a region of the only disk."""
        table = SeekTable(data)
        number = 0
        for i, (stored, content, _) in enumerate(table.entries):
            if i == 0:
                continue
            if content > BLOCK and number == region:
                return table.frame_offset(i), stored
            number += 1 if content > BLOCK else content // 512
        raise AssertionError(f"no frame for region {region}")

    def test_a_flipped_bit_is_an_error_there_and_only_there(self):
        archive = self.guest("--disk", "drive-scsi0=11M", "--zero-fraction", "0.2")
        data = bytearray(archive.read_bytes())
        damaged = 2
        offset, size = self.frame_of(data, damaged)
        data[offset + size // 3] ^= 4
        archive.write_bytes(data)
        process = self.start(archive)
        expected = self.extracted()["drive-scsi0.raw"].read_bytes()
        failed = set()
        fd = os.open(self.at / "drive-scsi0.raw", os.O_RDONLY)
        # Reading ahead must not spread it.
        for position in range(0, len(expected), 64 << 10):
            for _ in range(2):
                try:
                    self.assertEqual(os.pread(fd, 64 << 10, position), expected[position:position + (64 << 10)])
                except OSError as error:
                    self.assertEqual(error.errno, errno.EIO)
                    failed.add(position // REGION)
        begin = damaged * REGION
        for position in range(begin, begin + REGION, BLOCK):
            with self.assertRaises(OSError):
                os.pread(fd, BLOCK, position)
        os.close(fd)
        self.assertEqual(failed, {damaged})
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(HANG_SECONDS), 0)
        self.assertEqual(self.errors(), f"vmactl: drive-scsi0: bytes {begin} to {begin + REGION - 1} are damaged in the "
                                        "archive\n")

    def test_storage_that_goes_away(self):
        """Its errors are those of the reads, and the program lives on."""
        real, storage = self.dir / "real", self.dir / "storage"
        real.mkdir()
        storage.mkdir()
        shutil.move(self.guest("--disk", "drive-scsi0=6M"), real / "a.vma.zst")
        subprocess.run([QUIRKFS, real, storage, "noino"], check=True)
        server = process_of("quirkfs", lambda words: str(storage) in words)
        self.mount(storage / "a.vma.zst")
        config = (self.at / "qemu-server.conf").read_bytes()
        os.kill(server, signal.SIGKILL)
        with self.assertRaises(OSError) as raised:
            for name in self.names(self.at):
                (self.at / name).read_bytes()
        self.assertEqual(raised.exception.errno, errno.EIO)
        self.assertEqual((self.at / "qemu-server.conf").read_bytes(), config)
        self.umount()

    def test_no_memory(self):
        self.mount(self.guest("--disk", "drive-scsi0=40M", "--zero-fraction", "0"))
        disk = self.at / "drive-scsi0.raw"
        fd = os.open(disk, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(fd, 1, 0)
        program = self.program()
        size = int(re.search(r"VmData:\s+(\d+)", pathlib.Path(f"/proc/{program}/status").read_text())[1]) << 10
        resource.prlimit(program, resource.RLIMIT_DATA, (size, resource.RLIM_INFINITY))
        numbers = set()
        for offset in range(0, 40 << 20, REGION):
            try:
                os.pread(fd, 1, offset)
            except OSError as error:
                numbers.add(error.errno)
        self.assertEqual(numbers, {errno.ENOMEM})
        resource.prlimit(program, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        os.close(fd)
        self.assertEqual(sha256(disk), sha256(self.extracted()["drive-scsi0.raw"]))
        # Longer than the end of data is searched for.
        self.assertEqual(blocks_by_seek(disk), set(range(disk.stat().st_size // BLOCK)))
        self.umount()


class LifeTest(MountTest):
    def test_the_archive_is_replaced_or_removed(self):
        for form, what in (("vma", "removed"), ("vma.zst", "replaced")):
            with self.subTest(form, what=what):
                archive = self.guest("--disk", "drive-scsi0=6M", "--guest-seed", "1", form=form)
                process = self.start(archive)
                with (self.at / "drive-scsi0.raw").open("rb") as opened:
                    begin = opened.read(REGION)
                    if what == "removed":
                        archive.unlink()
                    else:
                        other = generate(self.dir / "other.vma", "--disk", "drive-scsi0=6M", "--guest-seed", "2")
                        self.succeed("repack", other, self.dir / f"other.{form}.vma")
                        os.replace(self.dir / f"other.{form}.vma", archive)
                    wait_for(lambda: self.info()["archive"] == what)
                    content = begin + opened.read()
                self.assertEqual(content, self.extracted()["drive-scsi0.raw"].read_bytes())
                self.assertEqual(sha256(self.at / "drive-scsi0.raw"), hashlib.sha256(content).hexdigest())
                self.umount()
                self.assertEqual(process.wait(HANG_SECONDS), 0)
                self.assertRegex(self.errors(), rf"\Avmactl: {archive} was {what}; {self.at} still shows [^\n]*\n\Z")

    def test_a_killed_program_is_cleaned_up_after(self):
        archive = self.guest("--disk", "drive-scsi0=1M")
        self.mount(archive)
        os.kill(self.program(), signal.SIGKILL)
        wait_for(lambda: self.program() is None)
        with self.assertRaises(OSError) as raised:
            (self.at / "info.json").read_text()
        self.assertIn(raised.exception.errno, (errno.ENOTCONN, errno.ECONNABORTED))
        result = self.vmactl("mount", archive, self.at)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f'is a mount already, of {archive}: "vmactl umount {self.at}" first', result.stderr)
        self.umount()
        self.mount(archive)
        self.umount()

    def test_stop_signals_unmount(self):
        archive = self.guest("--disk", "drive-scsi0=1M")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process = self.start(archive)
            self.assertIn("info.json", self.names(self.at))
            process.send_signal(number)
            self.assertEqual(process.wait(HANG_SECONDS), 0)
            self.assertEqual((mounts_below(self.at), self.errors()), ([], ""))
        self.mount(archive)
        os.kill(self.program(), signal.SIGTERM)
        wait_for(lambda: self.program() is None)
        self.assertEqual(mounts_below(self.at), [])

    def test_unmounting_waits_for_the_program(self):
        self.mount(self.guest("--disk", "drive-scsi0=1M"))
        self.assertIsNotNone(self.program())
        self.umount()
        self.assertIsNone(self.program())

    def test_in_use(self):
        self.mount(self.guest("--disk", "drive-scsi0=1M"))
        with (self.at / "drive-scsi0.raw").open("rb") as opened:
            result = self.vmactl("umount", self.at)
            self.assertEqual(result.returncode, 7)
            self.assertRegex(result.stderr, rf"\Avmactl: {self.at} is in use by process {os.getpid()} \([^)]*\); --lazy [^\n]*\n")
            self.umount("--lazy")
            self.assertEqual(len(opened.read()), 1 << 20)
        wait_for(lambda: self.program() is None)

    def test_json(self):
        archive = self.guest("--disk", "drive-scsi0=1M")
        told = json.loads(self.mount(archive, "--json"))
        self.assertEqual(told, {"path": str(archive), "directory": str(self.at),
                                "files": ["drive-scsi0.raw", "qemu-server.conf", "info.json"]})
        self.umount()


class RefusalTest(MountTest):
    def refused(self, code, pattern, *arguments):
        result = self.vmactl("mount", *arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertRegex(result.stderr, rf"\Avmactl: [^\n]*{pattern}[^\n]*\n\Z")
        self.assertEqual(mounts_below(self.at), [])

    def test_what_cannot_be_mounted(self):
        raw = generate(self.dir / "raw.vma", "--disk", "drive-scsi0=1M")
        plain = self.dir / "plain.vma.zst"
        subprocess.run(["zstd", "-q", raw, "-o", plain], check=True)
        (self.dir / "text").write_text("no archive")
        os.mkfifo(self.dir / "fifo")
        cut = self.dir / "cut.vma"
        cut.write_bytes(raw.read_bytes()[:-4096])
        for code, pattern, archive, at in (
                (6, "repack it first: vmactl repack --in-place", plain, self.at),
                (6, "", self.dir / "text", self.at),
                (6, "cut off", cut, self.at),
                (1, "is not a regular file", self.dir / "fifo", self.at),
                (1, "No such file or directory", self.dir / "none.vma", self.at),
                (1, "No such file or directory", raw, self.dir / "none"),
                (1, "Not a directory", raw, raw)):
            with self.subTest(archive=archive.name, at=at.name):
                self.refused(code, pattern, archive, at)
        self.refused(2, "--memory", "--memory", "1K", raw, self.at)

    def test_already_mounted(self):
        raw = generate(self.dir / "raw.vma", "--disk", "drive-scsi0=1M")
        self.mount(raw)
        result = self.vmactl("mount", raw, self.at)
        self.assertEqual((result.returncode, len(mounts_below(self.at))), (1, 1))
        self.umount()
        result = self.vmactl("umount", self.at)
        self.assertEqual((result.returncode, result.stderr), (2, f"vmactl: no archive is mounted at {self.at}\n"))

    def test_the_package_is_missing(self):
        raw = generate(self.dir / "raw.vma", "--disk", "drive-scsi0=1M")
        self.environment["VMAD_MOUNT"] = str(self.dir / "vmad-mount")
        self.refused(1, "vmad-mount is missing: install the package vmad-fuse", raw, self.at)

    def test_foreign_mounts_are_left_alone(self):
        subprocess.run(["mount", "-t", "tmpfs", "none", self.at], check=True)
        result = self.vmactl("umount", self.at)
        self.assertEqual((result.returncode, len(mounts_below(self.at))), (2, 1))


if __name__ == "__main__":
    unittest.main()
