"""vmactl mount --all: each archive is the raw one that repack makes of it, with attributes that last, and live."""

import errno
import json
import os
import pathlib
import shutil
import subprocess
import time
import unittest

from archive_formats import SeekTable
from daemon_process import DaemonTest, wait_until
from support import HANG_SECONDS, OFFICIAL, VMACTL, VMAD_MOUNT, generate, make_old, wait_for
from test_mount import MountTest, mounts_below, why_not, without


def name_of(vmid, ending=".vma"):
    return f"vzdump-qemu-{vmid}-2026_01_01-02_00_00{ending}"


def attributes(directory):
    """What restic compares, of each file."""
    return {name: (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)
            for name in os.listdir(directory) for status in [os.stat(directory / name)]}


class ViewTest(MountTest):
    def setUp(self):
        super().setUp()
        self.dump = self.dir / "dump"
        self.dump.mkdir()

    def add(self, vmid, *options, source=None, ending=".vma.zst", dump=None):
        """Adds a canonical archive to the directory, and returns what a view shows of it."""
        source = source or generate(self.dir / "source", *options)
        raw = self.dir / f"raw-{vmid}.vma"
        path = (dump or self.dump) / name_of(vmid, ending)
        self.succeed("repack", "--force", source, raw)
        self.succeed("repack", source, path)
        return raw

    def view(self, *words, at=None):
        return self.succeed("mount", "--all", *(words or [self.dump]), at or self.at)


class ContentTest(ViewTest):
    def test_each_archive_is_what_repack_makes_of_it(self):
        raws = {}
        for vmid, source in enumerate(sorted(OFFICIAL.glob("*.vma"))):
            raws[name_of(vmid)] = self.add(vmid, source=source, ending=".vma" if vmid % 3 == 0 else ".vma.zst")
        for seed in range(10):
            raws[name_of(500 + seed)] = self.add(500 + seed, "--random-guest", "--guest-seed", str(seed))
        raws[name_of(600)] = self.add(600, "--disk", "drive-scsi0=40M", "--disk", "drive-scsi1=3M")
        (self.dump / name_of(600, ".vma.zst.notes")).write_text("a note")
        self.assertEqual(self.view(), f"{self.at}: {len(raws)} archives of {self.dump}\n")
        self.assertEqual(set(self.names(self.at)), {*raws, name_of(600, ".vma.notes")})
        for name, raw in raws.items():
            subprocess.run(["cmp", raw, self.at / name], check=True)
        self.assertEqual((self.at / name_of(600, ".vma.notes")).read_text(), "a note")
        # What restic and borg restore is a backup.
        self.succeed("verify", self.at / name_of(600))
        self.umount()

    def test_damage_is_an_error_where_it_is(self):
        raw = self.add(100, "--disk", "drive-scsi0=40M").read_bytes()
        path = self.dump / name_of(100, ".vma.zst")
        stored = bytearray(path.read_bytes())
        table = SeekTable(bytes(stored))
        regions = {}  # number of the frame -> a place in the middle of it, in the raw archive
        offset = 0
        for number, (_, size, _) in enumerate(table.entries):
            if size > 4096:
                regions[number] = offset + size // 2
            offset += size
        damaged = list(regions)[len(regions) // 2]
        stored[table.frame_offset(damaged) + 100] ^= 0x10
        path.write_bytes(stored)
        process = self.start("--all", self.dump)
        with open(self.at / name_of(100), "rb", buffering=0) as file:
            for number, middle in regions.items():
                with self.subTest(number):
                    if number == damaged:
                        with self.assertRaises(OSError) as caught:
                            os.pread(file.fileno(), 4096, middle)
                        self.assertEqual(caught.exception.errno, errno.EIO)
                    else:
                        self.assertEqual(os.pread(file.fileno(), 4096, middle), raw[middle:middle + 4096])
        process.terminate()
        self.assertEqual(process.wait(HANG_SECONDS), 0)
        self.assertRegex(self.errors(), rf"\Avmactl: {path}: drive-scsi0: bytes \d+ to \d+ are damaged in the archive\n\Z")


class DirectoryTest(ViewTest):
    def test_attributes_last(self):
        for vmid in range(100, 105):
            self.add(vmid, "--guest-seed", str(vmid), "--disk", "drive-scsi0=3M")
        self.view()
        before = attributes(self.at)
        self.assertEqual(len({status[0] for status in before.values()}), 5)
        self.assertEqual(attributes(self.at), before)
        for name, status in before.items():
            self.assertEqual(status[2], (self.dump / f"{name}.zst").stat().st_mtime_ns)
        self.umount()
        # Neither is the content another one for these.
        (self.dump / name_of(100, ".vma.zst")).chmod(0o600)
        shutil.copy2(self.dump / name_of(101, ".vma.zst"), self.dir / "copy")
        (self.dir / "copy").replace(self.dump / name_of(101, ".vma.zst"))
        self.view()
        self.assertEqual(attributes(self.at), before)

    def test_what_comes_and_goes_does_so_in_the_view(self):
        raws = {vmid: self.add(vmid, "--guest-seed", str(vmid), "--disk", "drive-scsi0=3M").read_bytes()
                for vmid in (100, 101)}
        self.view()
        with open(self.at / name_of(100), "rb") as pruned, open(self.at / name_of(101), "rb") as replaced:
            self.add(102, "--disk", "drive-scsi0=3M")
            (self.dump / name_of(100, ".vma.zst")).unlink()
            self.succeed("repack", generate(self.dir / "other", "--guest-seed", "7", "--disk", "drive-scsi0=5M"),
                         self.dir / "other.vma.zst")
            (self.dir / "other.vma.zst").replace(self.dump / name_of(101, ".vma.zst"))
            wait_for(lambda: self.names(self.at) == [name_of(101), name_of(102)])
            self.assertEqual(pruned.read(), raws[100])
            self.assertEqual(os.fstat(pruned.fileno()).st_size, len(raws[100]))
            self.assertEqual(replaced.read(), raws[101])
        self.succeed("repack", "--force", self.dir / "other", self.dir / "other.vma")
        self.assertEqual((self.at / name_of(101)).read_bytes(), (self.dir / "other.vma").read_bytes())
        # Nothing of an archive that is not open is kept, so that its room is free when it is pruned.
        (self.dump / name_of(101, ".vma.zst")).unlink()
        links = [os.readlink(link) for link in pathlib.Path(f"/proc/{self.program()}/fd").iterdir()]
        self.assertFalse([link for link in links if link.startswith(str(self.dump))], links)

    def test_an_archive_is_shown_as_soon_as_it_is_repacked(self):
        shutil.copy(OFFICIAL / "b-two-disks-odd.vma", self.dump / name_of(100))
        make_old(self.dump / name_of(100))
        result = self.vmactl("mount", "--all", self.dump, self.at)
        self.assertEqual((result.returncode, result.stdout), (0, f"{self.at}: 0 archives of {self.dump}\n"))
        self.assertEqual(result.stderr, f"vmactl: 1 archive of {self.dump} is not shown until it is repacked: "
                                        f"vmactl scan {self.dump}\n")
        self.assertEqual(self.names(self.at), [])
        self.succeed("repack", "--in-place", self.dump / name_of(100))
        wait_for(lambda: self.names(self.at) == [name_of(100)])

    def test_a_form_that_is_read_from_its_start_only_is_not_shown(self):
        self.add(100, source=OFFICIAL / "a-one-disk.vma", ending=".vma.gz")
        result = self.vmactl("--json", "mount", "--all", self.dump, self.at)
        self.assertEqual(json.loads(result.stdout), {"directory": str(self.at), "folders": [
            {"directory": str(self.at), "path": str(self.dump), "archives": 0, "not_repacked": [],
             "not_seekable": [name_of(100, ".vma.gz")]}]})
        self.assertIn("repack them to zstd", json.loads(result.stderr)["message"])

    def test_nothing_can_be_written(self):
        self.add(100, "--disk", "drive-scsi0=3M")
        self.view()
        for attempt in (lambda: open(self.at / name_of(100), "r+b"), lambda: open(self.at / "new", "xb"),
                        lambda: os.unlink(self.at / name_of(100))):
            with self.assertRaises(OSError) as caught:
                attempt()
            self.assertEqual(caught.exception.errno, errno.EROFS)


class SourceTest(ViewTest):
    def setUp(self):
        super().setUp()
        self.other = self.dir / "other/dump"
        self.local = self.dir / "big/dump"
        for path in (self.other, self.local, self.dir / "etc/pve", self.dir / "nas"):
            path.mkdir(parents=True)
        (self.dir / "etc/pve/storage.cfg").write_text(
            f"dir: big\n\tpath {self.dir}/big\n\tcontent backup,iso\n\n"
            f"dir: nas\n\tpath {self.dir}/nas\n\tcontent backup\n\tis_mountpoint 1\n\n"
            f"dir: images\n\tpath {self.dir}/images\n\tcontent images\n")
        self.environment["VMAD_ROOT"] = str(self.dir)
        for dump in (self.dump, self.other, self.local):
            self.add(100, "--disk", "drive-scsi0=1M", dump=dump)

    def test_several_are_folders(self):
        self.view(self.dump, self.other, "big")
        self.assertEqual(self.names(self.at), ["big", "dump", "dump-2"])
        for name in self.names(self.at):
            self.assertEqual(self.names(self.at / name), [name_of(100)])
        inodes = {path.stat().st_ino for path in self.at.rglob("*")}
        self.assertEqual(len(inodes), 6)
        shutil.rmtree(self.other)
        wait_for(lambda: not self.is_listed(self.at / "dump-2"))
        self.assertEqual(self.names(self.at / "dump"), [name_of(100)])

    @staticmethod
    def is_listed(directory):
        try:
            return os.listdir(directory) is not None
        except OSError as error:
            assert error.errno == errno.EIO, error
            return False

    def test_a_storage_is_named_by_its_id(self):
        self.view("big")
        self.assertEqual(self.names(self.at), [name_of(100)])
        for word, text, code in (("nas", "is not mounted at", 1), ("images", "is not configured for backups", 2),
                                 ("nowhere", "nowhere", 2), (self.dir / "nowhere", "No such file", 1)):
            with self.subTest(word):
                self.assertIn(text, self.refuse(code, "mount", "--all", word, self.dir / "nas"))
        self.assertEqual(mounts_below(self.dir), [str(self.at)])

    def test_what_it_would_hide_cannot_be_shown(self):
        for at in (self.other, self.other.parent):
            self.assertIn("would be hidden by a mount at", self.refuse(2, "mount", "--all", self.dump, self.other, at))
        for words in (("mount", self.dump, self.at, self.at), ("mount", "--wait", self.dump, self.at)):
            self.refuse(2, *words)

    def test_a_storage_that_is_unmounted_is_not_taken_for_empty(self):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.dir / "nas"], check=True)
        self.add(100, "--disk", "drive-scsi0=1M", dump=self.make(self.dir / "nas/dump"))
        self.view("nas")
        self.assertEqual(self.names(self.at), [name_of(100)])
        subprocess.run(["umount", self.dir / "nas"], check=True)
        self.make(self.dir / "nas/dump")
        wait_for(lambda: not self.is_listed(self.at))

    @staticmethod
    def make(directory):
        directory.mkdir()
        return directory


@unittest.skipIf(without("restic"), without("restic"))
class ResticTest(ViewTest):
    """A guest of which a few blocks in many regions change."""

    DISK = ("--disk", "drive-scsi0=24M", "--guest-seed", "3")
    CHANGE = ("--change", "12", "--change-seed", "5")

    def restic(self, *words, json_output=False):
        environment = {**self.environment, "RESTIC_PASSWORD": "test"}
        command = ["restic", "-q", "--no-cache", "-r", self.dir / "repository", *(["--json"] if json_output else []), *words]
        output = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, timeout=HANG_SECONDS).stdout
        return json.loads(output.splitlines()[-1]) if json_output else output

    def backup(self, directory):
        """The summary, with the bytes that the repository grew by."""
        before = self.stored_bytes()
        return {**self.restic("backup", directory, json_output=True), "stored": self.stored_bytes() - before}

    def stored_bytes(self):
        return sum(path.stat().st_size for path in (self.dir / "repository/data").rglob("*") if path.is_file())

    def test_only_what_is_new_is_read_and_little_of_it_stored(self):
        subprocess.run(["restic", "-q", "-r", self.dir / "repository", "init"], check=True,
                       env={**self.environment, "RESTIC_PASSWORD": "test"}, stdout=subprocess.DEVNULL)
        first = self.add(100, *self.DISK)
        self.view()
        self.assertEqual(self.backup(self.at)["files_new"], 1)
        self.backup(self.dump)
        self.umount()
        self.view()
        again = self.backup(self.at)
        self.assertEqual((again["files_new"], again["files_changed"], again["files_unmodified"]), (0, 0, 1))

        raw = self.add(101, *self.DISK, *self.CHANGE)
        wait_for(lambda: len(self.names(self.at)) == 2)
        view = self.backup(self.at)
        zstd = self.backup(self.dump)
        self.assertEqual((view["files_new"], view["files_changed"], view["files_unmodified"]), (1, 0, 1))
        self.assertLess(view["stored"], zstd["stored"])
        self.restic("restore", "latest", "--path", self.at, "--target", self.dir / "restored")
        for vmid, source in ((100, first), (101, raw)):
            restored = self.dir / "restored" / self.at.relative_to("/") / name_of(vmid)
            subprocess.run(["cmp", source, restored], check=True)


@unittest.skipIf(why_not(), why_not())
class WaitTest(DaemonTest):
    def test_jobs_are_waited_for_first(self):
        archive = self.archive()
        at = self.dir / "at"
        at.mkdir()
        self.start()
        daemon = self.daemons[-1]
        with daemon.client() as client:
            client.call("org.vmad.Queue.Pause")
        daemon.add(archive.path)
        environment = {**os.environ, "VMAD_SOCKET": str(self.socket), "VMAD_MOUNT": str(VMAD_MOUNT)}
        self.addCleanup(subprocess.run, ["umount", "--lazy", at], stderr=subprocess.DEVNULL, check=False)
        with subprocess.Popen([VMACTL, "mount", "--all", "--wait", self.dump, at], env=environment, text=True,
                              stdout=subprocess.PIPE) as process:
            time.sleep(0.2)
            self.assertIsNone(process.poll())
            self.assertEqual(mounts_below(at), [])
            with daemon.client() as client:
                client.call("org.vmad.Queue.Resume")
            output = process.communicate(timeout=HANG_SECONDS)[0]
        self.assertRegex(output, rf"\Ajob 1: done: .*\n{at}: 1 archive of {self.dump}\n\Z")
        self.assertEqual((at / archive.path.name).read_bytes(), archive.new)
        subprocess.run([VMACTL, "umount", at], env=environment, check=True)
        wait_until(lambda: not mounts_below(at), "it is unmounted")


if __name__ == "__main__":
    unittest.main()
