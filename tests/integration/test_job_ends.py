"""How jobs end or wait when the archive or its storage is not as it should be: with a reason, and untouched."""

import errno
import fcntl
import os
import pathlib
import re
import signal
import subprocess
import unittest

import sentences
from daemon_process import (ENDS, NOBODY, WITHOUT_OVERRIDE, Archive, DaemonTest, needs_root, needs_strace, send,
                            wait_until)
from support import VMACTL, damage_ids, generate, make_old


class JobEndTest(DaemonTest):
    def run_job(self, path, states=("failed",), daemon=None):
        daemon = daemon or self.start()
        return daemon.wait(daemon.add(path), states)

    def assert_untouched(self, path, content, before):
        self.assertTrue(path.read_bytes() == content)
        after = path.stat()
        for field in ("st_ino", "st_size", "st_mtime_ns", "st_mode", "st_nlink"):
            self.assertEqual(getattr(after, field), getattr(before, field), field)

    def test_damaged_archive(self):
        daemon = self.start()
        path = self.dump / "vzdump-qemu-100-2026_01_01-02_00_00.vma"
        whole = self.archive().old
        extent = int.from_bytes(whole[56:60], "big")
        damaged = bytearray(whole)
        damaged[extent + 100] ^= 1
        for name, content, reason in (
                ("an extent", bytes(damaged),
                 f"at byte {extent + 24}: the extent header's MD5 is wrong: it was damaged"),
                ("cut short", whole[:-1], f"at byte {len(whole) - 1}: the extent at byte {extent} is cut off: "),
                ("no archive", b"text", "at byte 4: not a VMA archive: "),
                ("empty", b"", "at byte 0: the file is empty")):
            with self.subTest(name):
                path.write_bytes(content)
                before = path.stat()
                job = self.run_job(path, daemon=daemon)
                self.assertTrue(job["reason"].startswith(f"{sentences.DAMAGED} ({reason}"), job["reason"])
                self.assertIs(job["damaged"], True)
                # Every way by which an administrator hears of it has the verdict, and the reason behind it.
                for command in ("show", "list --state failed", "wait", "status"):
                    named = (str(job["id"]),) if command in ("show", "wait") else ()
                    _, output, _ = self.vmactl(*command.split(), *named)
                    said = " ".join(output.split())
                    self.assertIn(" ".join(job["reason"].split()), said, command)
                self.assert_untouched(path, content, before)
                self.assertEqual(list(self.dump.iterdir()), [path])
                self.assertEqual(self.vmactl("wait", str(job["id"]))[0], 1)

    def test_every_kind_of_damage_that_is_known(self):
        daemon = self.start()
        paths = {}
        for number, damage in enumerate(damage_ids()):
            path = self.dump / f"vzdump-qemu-{number}-2026_01_01-02_00_00.vma"
            generate(path, "--damage", damage)
            paths[damage] = (path, path.read_bytes(), daemon.add(path))
        for damage, (path, content, job) in paths.items():
            with self.subTest(damage):
                ended = daemon.wait(job)
                self.assertEqual(ended["state"], "failed")
                self.assertTrue(ended["reason"])
                self.assertTrue(path.read_bytes() == content)
        self.assertEqual(sorted(self.dump.iterdir()), sorted(path for path, _, _ in paths.values()))

    def test_archive_that_somebody_has_open_for_writing(self):
        archive = self.archive()
        daemon = self.start()
        before = archive.path.stat()
        with open(archive.path, "r+b") as writer:
            try:
                with open(archive.path, "rb") as file:
                    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    self.skipTest(f"no leases here: {error}")
            job = daemon.wait(daemon.add(archive.path), ("waiting", *ENDS))
            self.assertEqual((job["state"], job.get("waiting_for"), job.get("reason")),
                             ("waiting", "locked", sentences.OPEN_FOR_WRITING))
            self.assertGreater(job["retry_at"], 0)
            self.assertNotIn("progress", job, "it is not read in vain")
            self.assert_untouched(archive.path, archive.old, before)
            self.assert_only(archive)
            self.assertIn(f"{archive.path}: {sentences.OPEN_FOR_WRITING}", daemon.log.read_text())
            make_old(archive.path)
            result = subprocess.run([VMACTL, "repack", "--in-place", "--state-dir", self.dir / "other", archive.path],
                                    text=True, capture_output=True, timeout=60, check=False)
            self.assertEqual((result.returncode, result.stderr.strip()),
                             (7, f"vmactl: {sentences.held_open(archive.path)}"))
            self.assert_content(archive, archive.old)
            writer.write(archive.old[:1])
        self.vmactl("retry", str(job["id"]))
        self.assertEqual(daemon.wait(job["id"])["state"], "done")
        self.assert_canonical(archive)

    def test_what_is_no_plain_file(self):
        archive = self.archive()
        daemon = self.start()
        link = self.dump / "link.vma"
        link.symlink_to(archive.path)
        fifo = self.dump / "fifo.vma"
        os.mkfifo(fifo)
        directory = self.dump / "directory.vma"
        directory.mkdir()
        for path, reason in ((link, f"{link} is a symbolic link"),
                             (fifo, f"{fifo} is not a regular file"),
                             (directory, f"{directory} is not a regular file")):
            with self.subTest(path=path.name):
                self.assertIn(reason, self.run_job(path, daemon=daemon)["reason"])
        linked = self.dump / "linked"
        linked.symlink_to(self.dir)
        reason = self.run_job(linked / "dump" / archive.path.name, daemon=daemon)["reason"]
        self.assertIn("a symbolic link is on the way", reason)
        second = self.dump / "second.vma"
        os.link(archive.path, second)
        self.assertIn("has 2 hard links", self.run_job(archive.path, daemon=daemon)["reason"])
        self.assert_content(archive, archive.old)

    def test_outside_of_the_directories(self):
        elsewhere = self.dir / "elsewhere.vma"
        elsewhere.write_bytes(self.archive().old)
        self.start()
        code, output, messages = self.vmactl("add", str(elsewhere))
        self.assertEqual((code, output), (2, ""))
        self.assertIn(str(elsewhere), messages)
        self.assertIn("it is not below a configured directory", messages)
        # A name that merely begins like one of them is not below it.
        self.assertEqual(self.vmactl("add", f"{self.dump}-2/a.vma")[0], 2)

    def test_young_archive_that_no_hook_named(self):
        archive = self.archive()
        daemon = self.start()
        job = daemon.wait(daemon.add(archive.path, announced=False), ("waiting",))
        self.assertIn("modified less than a minute ago", job["reason"])
        # The hook knows better.
        self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "done")
        self.assert_canonical(archive)

    def test_archive_is_missing(self):
        self.assertEqual(self.run_job(self.dump / "missing.vma", ("vanished", "failed"))["state"], "vanished")
        self.assertEqual(self.vmactl("wait", "1")[0], 0)

    def test_directory_is_missing(self):
        directory = self.dump / "not-mounted"
        daemon = self.start()
        job = self.run_job(directory / "a.vma", ("waiting", "vanished", "failed"), daemon)
        self.assertEqual(job["state"], "waiting")
        self.assertIn(f"the directory {directory} is not there", job["reason"])
        directory.mkdir()
        archive = Archive(directory / "a.vma")
        again = daemon.add(archive.path)
        self.assertEqual(again, job["id"])
        self.assertEqual(daemon.wait(again)["state"], "done")
        self.assert_content(archive, archive.new)

    @needs_strace
    def test_pruned_or_replaced_while_queued(self):
        first = self.archive(100)
        pruned = self.archive(101)
        replaced = self.archive(102)
        daemon = self.start_watched(first, "flistxattr:signal=SIGSTOP:when=1")
        jobs = [daemon.add(archive.path) for archive in (first, pruned, replaced)]
        worker = daemon.stopped_worker()
        pruned.path.unlink()
        other = Archive(self.dir / "dump" / "other.vma", seed=2)
        other.path.rename(replaced.path)
        other.path = replaced.path
        send(worker, signal.SIGCONT)
        # strace counts for each process anew, and the others have another archive.
        states = [daemon.wait(job)["state"] for job in jobs]
        self.assertEqual(states, ["done", "vanished", "done"])
        self.assert_content(other, other.new)
        self.assert_only(first, other)

    @needs_root
    def test_directory_that_cannot_be_written(self):
        archive = self.archive()
        os.chown(self.dump, NOBODY, NOBODY)
        before = archive.path.stat()
        daemon = self.start(wrapper=WITHOUT_OVERRIDE)
        job = self.run_job(archive.path, ("failed", "waiting", "done"), daemon)
        self.assertEqual(job["state"], "failed")
        self.assertRegex(job["reason"], f"{self.dump}[^ ]*: Permission denied")
        self.assert_untouched(archive.path, archive.old, before)
        self.assert_only(archive)

    @needs_root
    def test_too_little_space(self):
        archive = self.archive(disk="drive-scsi0=4M")
        storage = self.dir / "storage"
        storage.mkdir()
        self.write_settings(storage)
        daemon = self.start(wrapper=self.tmpfs_with(archive, storage, "4M"))
        path = storage / archive.path.name
        job = self.run_job(path, ("waiting", "failed", "done"), daemon)
        self.assertEqual(job["state"], "waiting")
        self.assertIn(f"too little space in {storage}", job["reason"])
        inside = pathlib.Path(f"/proc/{daemon.pid}/root{storage}")
        self.assertEqual([entry.name for entry in inside.iterdir()], [path.name])
        self.assertTrue((inside / path.name).read_bytes() == archive.old)
        # More of it, and the next try goes through.
        self.run_beside(daemon, "mount", "-o", "remount,size=64M", storage)
        self.assertEqual(daemon.wait(daemon.add(path))["state"], "done")
        self.assertTrue((inside / path.name).read_bytes() == archive.new)

    @needs_root
    def test_storage_is_unmounted(self):
        archive = self.archive()
        storage = self.dir / "storage"
        storage.mkdir()
        self.write_settings(storage)
        daemon = self.start(wrapper=self.tmpfs_with(archive, storage, "64M"))
        path = storage / archive.path.name
        # Too young, so that it waits while the storage goes away.
        job = daemon.add(path, announced=False)
        self.assertEqual(daemon.wait(job, ("waiting",))["mount_point"], str(storage))
        self.run_beside(daemon, "umount", storage)
        daemon.kill()
        # As if the minute of waiting had passed meanwhile.
        job_file = self.state / f"queue/{job}.json"
        text = job_file.read_text()
        job_file.write_text(re.sub(r'"retry_at": \d+', '"retry_at": 1', text))
        self.assertNotEqual(job_file.read_text(), text)
        daemon = self.start()
        wait_until(lambda: daemon.job(job)["state"] != "waiting" or daemon.job(job)["retry_at"] != 1, "it has run")
        ended = daemon.wait(job, ("waiting", *ENDS))
        self.assertEqual((ended["state"], ended["reason"]), ("waiting", f"nothing is mounted at {storage}"))


if __name__ == "__main__":
    unittest.main()
