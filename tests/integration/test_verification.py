#!/usr/bin/env python3
"""Verification as an administrator uses it: what is queued, what is told of damage, and what is forgotten."""

import json
import os
import subprocess
import time
import unittest

from daemon_process import DaemonTest
from support import VMACTL, make_old

DAY = 86400


class VerificationTest(DaemonTest):
    def setUp(self):
        super().setUp()
        for name, value in {"VMAD_ROOT": str(self.dir), "TZ": "UTC", "COLUMNS": "120", "LC_ALL": "C.UTF-8"}.items():
            before = os.environ.get(name)
            os.environ[name] = value
            self.addCleanup(self.restore, name, before)

    @staticmethod
    def restore(name, value):
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value

    def succeed(self, *arguments, code=0, messages=""):
        result = self.vmactl(*map(str, arguments))
        self.assertEqual((result[0], result[2]), (code, messages), result)
        return result[1]

    def json_lines(self, *arguments, **expected):
        return [json.loads(line) for line in self.succeed("--json", *arguments, **expected).splitlines()]

    def repacked(self, daemon, vmid=100, **options):
        archive = self.archive(vmid, **options)
        make_old(archive.path)
        self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "done")
        return archive

    def due(self, *arguments, **expected):
        return self.succeed("scan", "--verify", "--due", *arguments, **expected)

    @staticmethod
    def flip_a_bit(path):
        """In the payload, as a disk does it: nothing else of the file changes."""
        status = path.stat()
        content = bytearray(path.read_bytes())
        content[len(content) - 5000] ^= 1
        with open(path, "r+b") as file:
            file.write(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def known(self):
        return {record["path"]: record for record in self.json_lines("list", "--verified")}


class JobsTest(VerificationTest):
    def test_an_archive_is_added_to_be_verified(self):
        daemon = self.start()
        archive = self.repacked(daemon)
        before = archive.path.stat()
        self.assertEqual(self.succeed("add", "--verify", archive.path), "vmad: queued as job 2\n")
        self.assertEqual(daemon.wait(2)["state"], "done")
        after = archive.path.stat()
        self.assertEqual((before.st_ino, before.st_mtime_ns, before.st_size),
                         (after.st_ino, after.st_mtime_ns, after.st_size))
        self.assert_canonical(archive)
        table = self.succeed("list", "--all").splitlines()
        self.assertEqual(table[0].split()[:3], ["ID", "KIND", "VMID"])
        self.assertEqual([line.split()[1] for line in table[1:]], ["repack", "verify"])
        self.assertIn("verified", table[2])
        shown = self.succeed("show", "2")
        self.assertIn("Kind:        verify; the archive is only read\n", shown)
        self.assertNotIn("Size after", shown)
        self.assertRegex(self.succeed("wait", "2"), rf"^job 2: verified: {archive.path}, [0-9.]+ MiB\n$")
        self.assertIn("known   1 archive\n", self.succeed("status"))
        header, row = self.succeed("list", "--verified").splitlines()
        self.assertEqual(header.split(), ["VMID", "GUEST", "STORAGE", "BACKUPS", "VERIFIED", "RESULT"])
        self.assertEqual((row.split()[0], row.split()[-1]), ("100", "good"))

    def test_what_is_announced_is_not_verified(self):
        code, _, messages = self.vmactl("add", "--verify", "--announced", "x.vma")
        self.assertEqual(code, 2)
        self.assertIn("excludes", messages)

    def test_wait_waits_for_repacks_alone(self):
        daemon = self.start()
        archive = self.repacked(daemon)
        self.succeed("pause")
        self.succeed("add", "--verify", archive.path)
        self.assertEqual(self.succeed("wait"), "")
        code, _, messages = self.vmactl("wait", "--timeout", "1s", "2")
        self.assertEqual(code, 5)
        self.assertIn("job 2 has not finished: queued", messages)


class DamageTest(VerificationTest):
    def test_a_flipped_bit_is_told_everywhere_until_the_archive_is_gone(self):
        daemon = self.start()
        archive = self.repacked(daemon)
        other = self.repacked(daemon, 101, seed=2)
        self.flip_a_bit(archive.path)
        output = self.succeed("scan", "--verify", self.dump)
        self.assertIn("\n2 archives, 2 queued\n", output)
        jobs = {job["path"]: job for job in (daemon.wait(3), daemon.wait(4))}
        self.assertEqual((jobs[str(archive.path)]["state"], jobs[str(other.path)]["state"]), ("failed", "done"))
        damaged = jobs[str(archive.path)]
        self.assertTrue(damaged["damaged"])
        number = str(damaged["id"])
        shown = self.succeed("show", number)
        self.assertIn("State:       damaged\n", shown)
        self.assertIn("\nDamaged:     scsi0: ", shown)
        self.assertIn("\nLast good:   ", shown)
        code, line, _ = self.vmactl("status", "--check")
        self.assertEqual(code, 2)
        self.assertTrue(line.startswith("VMAD CRITICAL - 1 damaged (see vmactl list --verified), 1 failed "), line)
        self.assertIn(" archives=2;;;0 damaged=1;;0;0 overdue=0;0;;0\n", line)
        rows = self.succeed("list", "--verified").splitlines()
        self.assertEqual((rows[1].split()[0], rows[1].split()[-1]), ("100", "damaged"))
        self.assertIn(str(archive.path), rows[2])
        self.assertIn("good", rows[-1])
        self.succeed("cancel", number)
        self.assertEqual(self.vmactl("status", "--check")[0], 0)
        self.assertTrue(self.known()[str(archive.path)]["acknowledged"])
        self.assertIn("damaged", self.succeed("list", "--verified"))
        # Unless it is found damaged once more.
        self.succeed("scan", "--verify", self.dump)
        self.assertEqual([daemon.wait(5)["kind"], daemon.wait(6)["kind"]], ["verify"] * 2)
        self.assertEqual(self.vmactl("status", "--check")[0], 2)
        archive.path.unlink()
        self.assertIn("1 gone and forgotten", self.succeed("scan", "--verify", self.dump))
        self.assertEqual(list(self.known()), [str(other.path)])
        # The job of the other one has seen that it is gone: its failure no longer counts.
        self.assertEqual(daemon.wait(7)["path"], str(other.path))
        self.assertEqual([job["id"] for job in daemon.jobs() if job["state"] == "failed"], [])
        self.assertEqual(self.vmactl("status", "--check")[0], 0)


class DueTest(VerificationTest):
    def test_nothing_is_due_while_it_is_off_even_without_a_daemon(self):
        off = "nothing is due: verify_every is off\n"
        self.assertEqual(self.due(), off)
        self.start()
        self.assertEqual(self.due(), off)

    def test_a_daemon_is_missed_while_it_is_on(self):
        self.write_settings(verify_every="30d")
        self.assertEqual(self.vmactl("scan", "--verify", "--due")[0], 3)

    def test_it_needs_verify_and_verify_needs_a_place(self):
        self.assertEqual(self.vmactl("scan", "--due")[0], 2)
        self.assertEqual(self.succeed("scan", "--verify", code=2,
                                      messages="vmactl: name a directory, or a storage with --storage\n"), "")

    def test_what_was_repacked_lately_is_not_due_and_the_oldest_comes_first(self):
        self.write_settings(verify_every="30d")
        daemon = self.start()
        self.repacked(daemon)
        self.succeed("pause")
        for vmid, days in ((101, 40), (102, 60), (103, 50)):
            archive = self.archive(vmid, disk="drive-scsi0=64K")
            os.utime(archive.path, (time.time() - days * DAY,) * 2)
        # Four archives in 30 days are one a day at most, since it is twice the share.
        self.assertIn("\n4 archives, 1 queued, 2 left for later, 1 not due\n", self.due())
        [job] = [job for job in daemon.jobs() if job.get("kind") == "verify"]
        self.assertIn("qemu-102-", job["path"])
        # What is still queued is of today's share.
        self.assertIn("\n4 archives, 1 already queued, 2 left for later, 1 not due\n", self.due())
        [line] = self.json_lines("scan", "--verify", "--due", "--dry-run")
        self.assertEqual(sorted(line), ["job", "modified_at", "path", "read_at", "size_bytes"])
        self.assertIsNone(line["job"])

    def test_known_archives_elsewhere_are_looked_for_too(self):
        self.write_settings(verify_every="30d", directories=[])
        daemon = self.start()
        archive = self.repacked(daemon)
        self.assertIn("1 archive, 1 not due\n", self.due())
        archive.path.unlink()
        self.assertIn("0 archives, 1 gone and forgotten\n", self.due())
        self.assertEqual(self.known(), {})

    def test_known_archives_that_the_daemon_no_longer_accepts_are_left_alone(self):
        self.write_settings(verify_every="1d", directories=[])
        daemon = self.start()
        archive = self.repacked(daemon)
        os.utime(archive.path, (time.time() - 60 * DAY,) * 2)
        self.assertIn("1 archive, 1 to queue\n", self.due("--dry-run"))
        other = self.dir / "other"
        other.mkdir()
        self.write_settings(other, verify_every="1d")
        self.succeed("reload")
        self.assertEqual(self.due(), "0 archives\n")
        self.assertEqual(list(self.known()), [str(archive.path)])
        archive.path.unlink()
        self.assertEqual(self.due(), "0 archives, 1 gone and forgotten\n")

    def test_nothing_is_forgotten_of_a_storage_that_is_not_mounted(self):
        self.write_settings(verify_every="30d", directories=[])
        (self.dir / "etc/pve").mkdir()
        storages = self.dir / "etc/pve/storage.cfg"
        text = f"dir: local\n\tdisable\n\ndir: nas\n\tpath {self.dir}/nas\n\tcontent backup\n"
        storages.write_text(text)
        self.dump.rename(self.dir / "dump-before")
        self.dump = self.dir / "nas/dump"
        self.dump.mkdir(parents=True)
        daemon = self.start()
        archive = self.repacked(daemon)
        self.assertIn("1 archive, 1 not due\n", self.due())
        storages.write_text(text + "\tis_mountpoint yes\n")
        archive.path.rename(self.dir / "kept")
        missing = f'vmactl: storage "nas" is not mounted at {self.dir}/nas'
        self.assertEqual(self.due(messages=missing + ", so its archives are left for later\n"), "0 archives\n")
        # Nor when it is named; then it is a failure.
        self.assertEqual(self.succeed("scan", "--verify", "--storage", "nas", code=1, messages=missing + "\n"),
                         "0 archives\n")
        self.assertIn(str(archive.path), self.known())
        storages.write_text(text)
        self.assertEqual(self.due("--dry-run"), "0 archives, 1 gone and to forget\n")
        self.assertIn(str(archive.path), self.known())
        self.assertEqual(self.due(), "0 archives, 1 gone and forgotten\n")
        self.assertEqual(self.known(), {})

    def test_nothing_is_forgotten_of_a_file_system_that_is_not_mounted(self):
        """By where it was mounted when the archive was read: no storage says that it must be."""
        mounted = self.dir / "disk"
        mounted.mkdir()
        self.write_settings(mounted, verify_every="30d")
        archive = self.archive()
        target = mounted / archive.path.name
        daemon = self.start(wrapper=self.tmpfs_with(archive, mounted, "64m"))
        self.assertEqual(daemon.wait(daemon.add(target))["state"], "done")

        def beside(*arguments):
            return subprocess.run(["nsenter", "--mount", f"--target={daemon.pid}", VMACTL, "--socket", self.socket,
                                   *arguments], text=True, capture_output=True, timeout=60, check=True).stdout
        self.assertIn("1 archive, 1 not due\n", beside("scan", "--verify", "--due"))
        # Here it is not mounted: the directory is there, and empty.
        self.assertEqual(self.due(), "0 archives\n")
        self.assertEqual(self.succeed("scan", "--verify", mounted), "0 archives\n")
        self.assertEqual(list(self.known()), [str(target)])
        self.run_beside(daemon, "rm", target)
        self.assertEqual(beside("scan", "--verify", "--due"), "0 archives, 1 gone and forgotten\n")
        self.assertEqual(self.known(), {})

    def test_a_configured_directory_that_is_not_there_is_no_failure(self):
        gone = self.dir / "other"
        self.write_settings(self.dump, gone, verify_every="30d")
        self.start()
        self.assertEqual(self.due(messages=f"vmactl: {gone} is not there, so its archives are left for later\n"),
                         "0 archives\n")

    def test_ten_thousand_archives(self):
        self.write_settings(verify_every="30d")
        self.start()
        old = time.time() - 400 * DAY
        for vmid in range(10_000):
            path = self.dump / f"vzdump-qemu-{100 + vmid}-2026_01_01-02_00_00.vma"
            path.touch()
            os.utime(path, (old, old))
        process = subprocess.Popen([VMACTL, "--socket", self.socket, "scan", "--verify", "--due", "--dry-run"], text=True,
                                   stdout=subprocess.PIPE)
        output = process.stdout.read()
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, 0)
        self.assertTrue(output.endswith("\n10000 archives, 667 to queue, 9333 left for later\n"), output[-200:])
        self.assertLess(usage.ru_maxrss, 64 << 10)


if __name__ == "__main__":
    unittest.main()
