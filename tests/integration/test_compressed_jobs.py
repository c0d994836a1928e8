"""Compressed archives through the hook, the queue and the worker: each keeps its format and its name."""

import os
import pathlib
import shutil
import signal
import subprocess
import unittest

from daemon_process import VMACTL, DaemonTest, needs_root, send, state_of, wait_until
from support import generate

# As vzdump stores them, and as Proxmox reads them back.
KINDS = {
    ".zst": (("zstd", "-q", "--threads=2"), ("zstd", "-q", "-d", "-c")),
    ".gz": (("gzip", "--rsyncable"), ("zcat",)),
    ".lzo": (("lzop",), ("lzop", "-d", "-c")),
}


class CompressedArchive:
    """A made-up backup of one of the formats, and what it is to hold when it is canonical."""

    def __init__(self, test, format, *arguments, packer=None):
        self.format = format
        self.path = test.dump / f"vzdump-qemu-100-2026_01_01-02_00_00.vma{format}"
        raw, reference = test.dir / "raw", test.dir / "reference"
        generate(raw, *arguments, "--reference", reference)
        with open(self.path, "wb") as out, open(raw, "rb") as source:
            subprocess.run(packer or KINDS[format][0], stdin=source, stdout=out, check=True, timeout=60)
        self.old = self.path.read_bytes()
        self.new_content = reference.read_bytes()
        raw.unlink()
        reference.unlink()

    def content(self, path=None):
        """Decompressed by the stock tool, from its stdin."""
        with open(path or self.path, "rb") as stored:
            return subprocess.run(KINDS[self.format][1], stdin=stored, stdout=subprocess.PIPE, check=True,
                                  timeout=60).stdout


class CompressedJobTest(DaemonTest):
    def test_each_kind_becomes_canonical_and_keeps_its_kind(self):
        daemon = self.start()
        for format in KINDS:
            with self.subTest(format):
                archive = CompressedArchive(self, format)
                archive.path.chmod(0o640)
                code, output = self.run_hook(archive.path)
                self.assertEqual((code, output[:22]), (0, "vmad: queued as job " + output[20:22]))
                self.assertEqual(self.vmactl("wait", "--timeout", "60")[0], 0)
                self.assertEqual(daemon.jobs()[-1]["state"], "done")
                self.assertTrue(archive.content() == archive.new_content)
                self.assertEqual(list(self.dump.iterdir()), [archive.path])
                self.assertEqual(archive.path.stat().st_mode & 0o777, 0o640)
                again = archive.path.read_bytes()
                self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "unchanged")
                self.assertTrue(archive.path.read_bytes() == again)
                archive.path.unlink()

    def test_the_settings_reach_the_engine(self):
        levels = {}
        for level in (1, 3, 19):
            self.write_settings(zstd_level=level, threads=2, memory="16M", spill_dir=str(self.dir))
            archive = CompressedArchive(self, ".zst", "--disk", "drive-scsi0=24M", "--disk", "drive-scsi1=24M",
                                        "--ascending")
            expected = self.dir / "expected.vma.zst"
            self.assertEqual(self.vmactl("repack", "--level", str(level), archive.path, expected)[0], 0)
            daemon = self.start()
            self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "done")
            self.assertTrue(archive.path.read_bytes() == expected.read_bytes())
            levels[level] = archive.path.stat().st_size
            daemon.kill()
            expected.unlink()
        self.assertEqual(len(set(levels.values())), 3)

    def test_damaged_archives_fail_and_stay(self):
        daemon = self.start()
        for format in KINDS:
            archive = CompressedArchive(self, format)
            flipped = bytearray(archive.old)
            flipped[len(flipped) // 2] ^= 4
            for name, content in (("cut off", archive.old[:-1]), ("cut in the middle", archive.old[:len(archive.old) // 2]),
                                  ("flipped", bytes(flipped)), ("garbage behind it", archive.old + b"garbage")):
                with self.subTest(format=format, name=name):
                    archive.path.write_bytes(content)
                    job = daemon.wait(daemon.add(archive.path))
                    self.assertEqual(job["state"], "failed", job)
                    self.assertTrue(job["reason"])
                    self.assertTrue(archive.path.read_bytes() == content)
                    self.assertEqual(list(self.dump.iterdir()), [archive.path])
            archive.path.unlink()

    @needs_root
    def test_a_disk_that_fills_up_while_spilling(self):
        # Three equal disks, of which a long window stores one; what is spilled takes more room than all of it.
        image = self.dir / "image"
        image.write_bytes(os.urandom(24 << 20))
        disks = [argument for number in range(3) for argument in ("--disk", f"drive-scsi{number}=@{image}")]
        archive = CompressedArchive(self, ".zst", *disks, "--ascending", packer=("zstd", "-q", "--long=27"))
        storage = self.dir / "storage"
        storage.mkdir()
        # Room for a copy and the 5 % that are kept free, so that the job begins, but for nothing more.
        size = len(archive.old) * 212 // 100
        self.write_settings(storage, memory="16M", spill_dir=str(storage))
        daemon = self.start(wrapper=self.tmpfs_with(archive, storage, str(size)))
        path = storage / archive.path.name
        job = daemon.wait(daemon.add(path), ("waiting", "failed", "done"))
        self.assertEqual(job["state"], "waiting", job)
        self.assertIn(f"too little space in {storage}", job["reason"])
        inside = pathlib.Path(f"/proc/{daemon.pid}/root{storage}")
        self.assertEqual([entry.name for entry in inside.iterdir()], [path.name])
        self.assertTrue((inside / path.name).read_bytes() == archive.old)
        self.assertEqual(wait_until(lambda: not daemon.workers(), "the worker is gone"), True)
        self.run_beside(daemon, "mount", "-o", f"remount,size={size + (256 << 20)}", storage)
        self.assertEqual(daemon.wait(daemon.add(path))["state"], "done")
        self.assertTrue(archive.content(inside / path.name) == archive.new_content)


class LzopTest(DaemonTest):
    def start_with_lzop(self, script):
        """A daemon that finds this program as lzop, or none when it is empty."""
        programs = self.dir / "bin"
        programs.mkdir()
        if script:
            (programs / "lzop").write_text(f"#!/bin/sh\n{script}\n")
            (programs / "lzop").chmod(0o755)
        for program in ("sh", "sleep", "cat", "setpriv"):
            (programs / program).symlink_to(shutil.which(program))
        return self.start(environment={"PATH": str(programs), "LZOP_PID": str(self.dir / "pid")})

    def assert_left_alone(self, archive):
        self.assertTrue(archive.path.read_bytes() == archive.old)
        self.assertEqual(list(self.dump.iterdir()), [archive.path])

    def test_without_lzop_only_lzo_fails(self):
        lzo, zst = CompressedArchive(self, ".lzo"), CompressedArchive(self, ".zst")
        daemon = self.start_with_lzop("")
        job = daemon.wait(daemon.add(lzo.path))
        self.assertEqual((job["state"], job["reason"]),
                         ("failed", "lzop is needed for .lzo and is not installed: apt install lzop"))
        self.assertTrue(lzo.path.read_bytes() == lzo.old)
        self.assertEqual(daemon.wait(daemon.add(zst.path))["state"], "done")

    def test_an_lzop_that_dies(self):
        archive = CompressedArchive(self, ".lzo")
        daemon = self.start_with_lzop('echo "out of luck" >&2; exit 3')
        job = daemon.wait(daemon.add(archive.path))
        self.assertEqual((job["state"], job["reason"]), ("failed", "lzop failed with exit status 3: out of luck"))
        self.assert_left_alone(archive)

    def test_an_lzop_that_hangs_ends_with_its_worker(self):
        archive = CompressedArchive(self, ".lzo")
        for end in ("stop", "kill of the worker", "kill of the daemon"):
            with self.subTest(end):
                daemon = self.start_with_lzop('echo $$ >"$LZOP_PID"; exec sleep 1000')
                job = daemon.add(archive.path)
                lzop = int(wait_until(lambda: (self.dir / "pid").exists() and (self.dir / "pid").read_text().strip(),
                                      "lzop runs"))
                if end == "stop":
                    self.assertEqual(daemon.stop(), 0)
                    self.assertEqual(self.job_on_disk(job)["state"], "queued")
                elif end == "kill of the worker":
                    send(daemon.workers()[0], signal.SIGKILL)
                else:
                    daemon.kill()
                wait_until(lambda pid=lzop: state_of(pid) in (None, "Z"), "lzop is gone")
                daemon.kill()
                self.assert_left_alone(archive)
                shutil.rmtree(self.dir / "bin")
                (self.dir / "pid").unlink()


if __name__ == "__main__":
    unittest.main()
