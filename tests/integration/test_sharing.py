"""vmactl share, and jobs that share, on XFS and btrfs in a file: what they save, and what they leave as it was."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

import sharing_volumes
import support
from daemon_process import DaemonTest, needs_strace
from sharing_volumes import MIB, Volume, make_backups
from support import HANG_SECONDS, OFFICIAL, VMACTL, ProcessTest, generate

# Of a compressed archive a region is shared or not, of a raw one each block: the smaller disk shows as much.
DISK_MIB, DAYS = {"": 16, ".zst": 48}, 30
MOST_ROOM = {"": 1.4, ".zst": 2.2}  # of 30 backups, in archives


def setUpModule():
    global backups, module_directory
    module_directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-"))
    unittest.addModuleCleanup(shutil.rmtree, module_directory)
    backups = {}
    if os.geteuid() == 0:
        for ending, mib in DISK_MIB.items():
            backups |= make_backups(VMACTL, module_directory, mib, DAYS, (ending,))


def facts(path):
    """All that a stat tells of a file but its blocks, and its attributes."""
    status = os.stat(path)
    return ((status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode, status.st_uid, status.st_gid,
             status.st_size, status.st_nlink), {name: os.getxattr(path, name) for name in os.listxattr(path)})


class OnVolume:
    """What the tests of both file systems do: `kind` is which."""

    kind = None
    mib = 3072

    def setUp(self):
        if reason := sharing_volumes.why_not(self.kind):
            self.skipTest(reason)
        super().setUp()
        directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-"))
        self.addCleanup(shutil.rmtree, directory)
        directory.chmod(0o755)
        try:
            self.volume = Volume(self.kind, directory, self.mib)
        except OSError as error:
            self.skipTest(f"{self.kind}: {error}")
        self.addCleanup(self.volume.close)
        self.dump = self.volume.point / "dump"
        self.dump.mkdir()

    def put(self, paths):
        """Copies that share nothing."""
        for path in paths:
            subprocess.run(["cp", "--reflink=never", "--preserve=timestamps", path, self.dump], check=True)
            (self.dump / path.name).chmod(0o644)
        return [self.dump / path.name for path in paths]

    def assert_same(self, copies):
        for copy in copies:
            self.assertEqual(copy.read_bytes() == (module_directory / copy.name).read_bytes(), True, copy.name)
        self.assertEqual(sorted(os.listdir(self.dump)), sorted(copy.name for copy in copies))


class Share(OnVolume):
    def share(self, *arguments):
        return self.vmactl("share", "--state-dir", self.dir / "state", *arguments)

    def check_thirty_backups(self, ending):
        """Of 1 % daily change; the second time there is nothing to do."""
        empty = self.volume.used_bytes()
        copies = self.put(backups[ending][:1])
        one = self.volume.used_bytes() - empty
        copies += self.put(backups[ending][1:])
        before = [facts(copy) for copy in copies]
        result = self.share(self.dump)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertRegex(result.stdout, r"^VM 100: 30 backups, [\d.]+ \wiB; [\d.]+ \wiB shared now\n$")
        self.assert_same(copies)
        self.assertEqual([facts(copy) for copy in copies], before)
        room = self.volume.used_bytes() - empty
        self.assertLess(room / one, MOST_ROOM[ending])

        again = self.vmactl("--json", "share", "--state-dir", self.dir / "state", self.dump)
        lines = [json.loads(line) for line in again.stdout.splitlines()]
        self.assertEqual([line["outcome"] for line in lines], ["first"] + 29 * ["shared"])
        self.assertEqual([line.get("with") for line in lines], [None, *map(str, copies[:-1])])
        self.assertEqual(sum(line["shared_bytes"] for line in lines), 0)
        self.assertLess(self.volume.used_bytes() - empty, room + MIB)

    def test_thirty_raw_backups_take_little_more_room_than_one(self):
        self.check_thirty_backups("")

    def test_thirty_compressed_backups_take_little_more_room_than_one(self):
        self.check_thirty_backups(".zst")

    def test_dry_run(self):
        copies = self.put(backups[".zst"][:3])
        used = self.volume.used_bytes()
        result = self.share("--dry-run", self.dump)
        self.assertRegex(result.stdout, r"^VM 100: 3 backups, [\d.]+ MiB; [\d.]+ MiB to share\n$")
        self.assertEqual(self.volume.used_bytes(), used)
        self.assert_same(copies)

    @needs_strace
    def test_killed_at_any_call(self):
        for ending in MOST_ROOM:
            copies = self.put(backups[ending][:2])
            for number in range(1, 1000):
                result = subprocess.run(
                    ["strace", "-o", "/dev/null", "-e", "trace=ioctl,pwritev,sync_file_range,ftruncate",
                     f"--inject=ioctl,pwritev,sync_file_range,ftruncate:signal=SIGKILL:when={number}",
                     VMACTL, "share", "--state-dir", self.dir / "state", self.dump],
                    check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=HANG_SECONDS)
                self.assert_same(copies)
                if result.returncode == 0:
                    break
                self.assertEqual(result.returncode, -signal.SIGKILL)
                # From the start again.
                copies[1].unlink()
                self.put(backups[ending][1:2])
            self.assertGreater(number, 3)
            for copy in copies:
                copy.unlink()

    @needs_strace
    def test_readers_see_one_content_and_removed_archives_do_no_harm(self):
        first, second, third = self.put(backups[".zst"][:3])
        process = subprocess.Popen(
            ["strace", "-o", self.dir / "trace", "-e", "trace=ioctl", "--inject=ioctl:delay_enter=100000",
             VMACTL, "share", "--state-dir", self.dir / "state", self.dump],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        trace = self.dir / "trace"
        support.wait_for(lambda: trace.exists() and "FIDEDUPERANGE" in trace.read_text())
        expected = backups[".zst"][1].read_bytes()
        self.assertEqual(second.read_bytes() == expected, True)
        with open(second, "rb") as reader:
            first.unlink()
            third.write_bytes(b"another one")  # replaced, by something that is no archive
            self.assertEqual(reader.read() == expected, True)
        _, messages = process.communicate(timeout=HANG_SECONDS)
        self.assertEqual(process.returncode, 0)
        self.assertIn(f"{third}: not a canonical .vma or .vma.zst, left out", messages)
        self.assertEqual(second.read_bytes() == expected, True)

    def test_what_is_not_canonical_is_left_out(self):
        self.put(backups[".zst"][:2])
        dump = generate(self.dump / "vzdump-qemu-100-2026_01_01-03_00_00.vma.zst", "--disk", "drive-scsi0=2M")
        other = generate(self.dump / "vzdump-qemu-107-2026_01_01-03_00_00.vma", "--disk", "drive-scsi0=2M")
        result = self.share(self.dump)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(sorted(result.stderr.splitlines()),
                         [f"vmactl: {path}: not a canonical .vma or .vma.zst, left out" for path in (dump, other)])
        lines = result.stdout.splitlines()
        self.assertEqual([line.split(",")[0] for line in lines],
                         ["VM 100: 3 backups", "VM 107: 1 backup", "2 guests: 4 backups"])
        self.assertNotIn("; 0 B", lines[0])

    def test_read_only_and_other_owners(self):
        copies = self.put(backups[""][:2])
        result = self.vmactl("share", "--state-dir", "/tmp/vmad-nobody-state", self.dump, **support.run_as_nobody())
        shutil.rmtree("/tmp/vmad-nobody-state", ignore_errors=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("does not share blocks of this file: Operation not permitted", result.stderr)
        self.volume.unmount()
        self.volume.mount("ro")
        result = self.share(self.dump)
        self.assertEqual(result.returncode, 1)
        self.assertIn("Read-only file system", result.stderr)
        self.assert_same(copies)
        self.volume.unmount()
        self.volume.mount("rw")
        for copy in copies:
            os.chown(copy, 65534, 65534)
        owner = facts(copies[1])
        self.assertEqual(self.share(self.dump).returncode, 0)
        self.assertEqual(facts(copies[1]), owner)
        self.assert_same(copies)

    @needs_strace
    def test_a_locked_archive_is_busy(self):
        self.put(backups[".zst"][:2])
        sleeping = subprocess.Popen(
            ["strace", "-o", self.dir / "trace", "-e", "trace=ioctl", "--inject=ioctl:delay_enter=300000",
             VMACTL, "share", "--state-dir", self.dir / "state", self.dump], stdout=subprocess.DEVNULL)
        self.addCleanup(sleeping.wait)
        trace = self.dir / "trace"
        support.wait_for(lambda: trace.exists() and "FIDEDUPERANGE" in trace.read_text())
        result = self.share(self.dump)
        self.assertEqual(result.returncode, 7)
        self.assertIn("another process is working on it", result.stderr)


class Jobs(OnVolume):
    mib = 512

    def run_jobs(self, share_blocks):
        """Two dumps of a guest, some blocks of which have changed, repacked by a daemon."""
        self.write_settings(share_blocks=share_blocks)
        daemon = self.start()
        jobs = []
        for day in range(2):
            path = self.dump / sharing_volumes.backup_name(day, ".zst")
            dump = generate(self.dir / "dump.vma", "--disk", "drive-scsi0=24M", "--zero-fraction", "0", "--change",
                            str(day), "--dump-seed", str(day))
            with open(path, "wb") as file:
                subprocess.run(["zstd", "-q", "-c", dump], check=True, stdout=file)
            jobs.append(daemon.wait(daemon.add(path)))
        return jobs

    def test_a_job_shares_with_the_backup_before(self):
        first, second = self.run_jobs("auto")
        self.assertEqual([job["state"] for job in (first, second)], ["done", "done"])
        self.assertNotIn("shared_bytes", first)
        self.assertGreater(second["shared_bytes"], second["size_after"] * 3 // 4)
        verified = subprocess.run([VMACTL, "verify", second["path"]], stdout=subprocess.PIPE, check=True)
        self.assertIn(b"valid, canonical", verified.stdout)

    def test_it_can_be_switched_off(self):
        self.assertNotIn("shared_bytes", self.run_jobs("off")[1])


class ShareElsewhere(ProcessTest):
    def test_a_file_system_that_shares_nothing_is_told_once(self):
        dump = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-", dir="/dev/shm"))
        self.addCleanup(shutil.rmtree, dump)
        for day in range(2):
            shutil.copy(OFFICIAL / "a-one-disk.vma", dump / sharing_volumes.backup_name(day, ""))
        self.assertEqual(self.vmactl("share", "--state-dir", self.dir / "state", dump).stderr,
                         f"vmactl: {dump}: the file system does not share blocks: XFS (made with reflink=1) and btrfs "
                         "do\n")
        result = self.vmactl("--json", "share", "--dry-run", dump)
        self.assertEqual(result.returncode, 1)
        self.assertEqual([json.loads(line)["outcome"] for line in result.stdout.splitlines()], 2 * ["unavailable"])

    def test_where_to_search_must_be_said(self):
        self.assertEqual(self.refuse(2, "share"), "name a directory, or a storage with --storage")
        self.assertEqual(self.succeed("share", "--state-dir", self.dir / "state", self.dir), "no backups found\n")


class ShareOnXfs(Share, ProcessTest):
    kind = "xfs"


class ShareOnBtrfs(Share, ProcessTest):
    kind = "btrfs"


class JobsOnXfs(Jobs, DaemonTest):
    kind = "xfs"


class JobsOnBtrfs(Jobs, DaemonTest):
    kind = "btrfs"


if __name__ == "__main__":
    unittest.main()
