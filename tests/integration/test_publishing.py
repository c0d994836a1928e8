"""What a kill or another program may do to a replacement, at each of its steps.

At any moment the archive is the whole old or the whole new one; in the end nothing is left beside it; what
somebody else has put there, or has removed, stays so.
"""

import contextlib
import os
import signal
import unittest

from daemon_process import ENDS, Archive, DaemonTest, needs_strace, send

# A step is the system call after which the worker is stopped: {its name, the call, which one of the thread}.
BEFORE_SWAP = (
    ("the temporary file is made", "openat", 2),
    ("reading", "preadv", 4),
    ("metadata is copied", "flistxattr", 1),
    ("the copy is proven", "fsync", 1),
    ("the copy has its temporary name", "linkat", 1),
    ("the archive was looked at", "openat", 3),
)
AFTER_SWAP = (
    ("swapped", "renameat2", 1),
    ("the swap is durable", "fsync", 2),
    ("the old one is removed", "unlinkat", 1),
    ("the removal is durable", "fsync", 3),
)
NO_EXCHANGE = "renameat2:error=EINVAL"
LAST_LOOK = ("the archive was looked at again", "openat", 4)
RENAME_WAY = (
    ("the old one has a second name", "linkat", 2),
    LAST_LOOK,
    ("renamed", "renameat", 1),
    ("the rename is durable", "fsync", 2),
    ("the second name is removed", "unlinkat", 1),
    ("the removal is durable", "fsync", 3),
)
NO_UNNAMED_FILE = "openat:error=EOPNOTSUPP:when=2"
NAMED_WAY = (
    ("reading", "preadv", 4),
    ("metadata is copied", "flistxattr", 1),
    ("the copy is proven", "fsync", 1),
    ("swapped", "renameat2", 1),
    ("the old one is removed", "unlinkat", 1),
)
STEPS = (
    *(("exchange", (), step) for step in BEFORE_SWAP + AFTER_SWAP),
    *(("rename", (NO_EXCHANGE,), step) for step in RENAME_WAY),
    *(("named temporary file", (NO_UNNAMED_FILE,), step) for step in NAMED_WAY),
)
# Between the last look and a plain rename nothing can be noticed (ReplaceFile::rename_over).
# Counting calls does not tell which one makes the temporary file when there is an old one to be settled first.
STEPS_OF_ANY_RUN = tuple(row for row in STEPS if NO_UNNAMED_FILE not in row[1])
STEPS_THAT_NOTICE = tuple(row for row in STEPS if row[2] != LAST_LOOK)


@needs_strace
class PublishingTest(DaemonTest):
    @contextlib.contextmanager
    def worker_stopped_at(self, way, injections, step):
        """{daemon, archive, job id, pid of the worker that is stopped}, in fresh directories."""
        name, call, number = step
        with self.subTest(way=way, step=name):
            self.start_afresh()
            archive = self.archive()
            daemon = self.start_watched(archive, *injections, f"{call}:signal=SIGSTOP:when={number}")
            job = daemon.add(archive.path)
            yield daemon, archive, job, daemon.stopped_worker()

    def test_daemon_is_killed(self):
        for row in STEPS:
            with self.worker_stopped_at(*row) as (daemon, archive, job, _):
                daemon.kill()
                self.assert_content(archive, archive.old, archive.new)
                self.assertEqual(self.start().wait(job)["state"], "done")
                self.assert_canonical(archive)

    def test_worker_is_killed(self):
        for row in STEPS_OF_ANY_RUN:
            with self.worker_stopped_at(*row) as (daemon, archive, job, worker):
                os.kill(worker, signal.SIGKILL)
                self.assert_content(archive, archive.old, archive.new)
                self.assertEqual(daemon.wait(job, go_on=True)["state"], "done")
                self.assert_canonical(archive)
                self.assertIn("worker died (signal 9)", daemon.log.read_text())

    def test_daemon_and_worker_are_stopped_by_the_service_manager(self):
        for row in STEPS:
            with self.worker_stopped_at(*row) as (daemon, archive, job, _):
                # The worker that is stopped cannot obey SIGTERM, and is killed after two seconds.
                self.assertEqual(daemon.stop(), 0)
                self.assert_content(archive, archive.old, archive.new)
                self.assertEqual(self.job_on_disk(job)["state"], "queued")
                self.assertEqual(self.start().wait(job)["state"], "done")
                self.assert_canonical(archive)

    def test_archive_is_pruned(self):
        for row in STEPS_THAT_NOTICE:
            with self.worker_stopped_at(*row) as (daemon, archive, job, worker):
                archive.path.unlink()
                send(worker, signal.SIGCONT)
                self.assertEqual(daemon.wait(job)["state"], "vanished")
                self.assert_only()

    def test_archive_is_replaced(self):
        for row in STEPS_THAT_NOTICE:
            with self.worker_stopped_at(*row) as (daemon, archive, job, worker):
                other = Archive(self.dir / "dump" / "other.vma", seed=2)
                other.path.rename(archive.path)
                other.path = archive.path
                send(worker, signal.SIGCONT)
                state = daemon.wait(job, ("waiting", "done", "failed", "vanished"))["state"]
                self.assertIn(state, ("waiting", "done"))
                self.assert_content(other, other.old)
                self.assert_only(other)
                self.assertEqual(daemon.stop(), 0)
                daemon = self.start()
                self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "done")
                self.assert_canonical(other)

    def test_archive_is_written_to(self):
        for row in STEPS_THAT_NOTICE:
            with self.worker_stopped_at(*row) as (daemon, archive, job, worker):
                # Through a descriptor of before, as a slow writer would have it: the very file that was opened.
                if archive.content() != archive.old:
                    continue
                with open(archive.path, "ab") as file:
                    file.write(b"more")
                send(worker, signal.SIGCONT)
                state = daemon.wait(job, ("waiting", "done", "failed", "vanished"))["state"]
                self.assertIn(state, ("waiting", "failed"))
                self.assert_content(archive, archive.old + b"more")
                self.assert_only(archive)

    def test_error_of_the_storage(self):
        for way, injections, (name, call, number) in STEPS_OF_ANY_RUN:
            with self.subTest(way=way, step=name):
                self.start_afresh()
                archive = self.archive()
                daemon = self.start_watched(archive, *injections, f"{call}:error=EIO:when={number}")
                job = daemon.add(archive.path)
                ended = daemon.wait(job, ("waiting", *ENDS))
                self.assertIn(ended["state"], ("waiting", "done"))
                if ended["state"] == "waiting":
                    self.assertIn("Input/output error", ended["reason"])
                self.assert_content(archive, archive.old, archive.new)
                self.assertEqual(daemon.stop(), 0)
                # Better now.
                daemon = self.start()
                self.assertIn(daemon.wait(daemon.add(archive.path))["state"], ("done", "unchanged"))
                self.assert_canonical(archive)

    def test_storage_that_says_yes_and_does_nothing(self):
        for call in ("renameat2", "linkat"):
            with self.subTest(call=call):
                self.start_afresh()
                archive = self.archive()
                daemon = self.start_watched(archive, f"{call}:retval=0")
                job = daemon.wait(daemon.add(archive.path))
                self.assertEqual(job["state"], "failed")
                self.assertTrue(job["reason"])
                self.assert_content(archive, archive.old)
                self.assert_only(archive)

    def test_worker_that_always_dies(self):
        for call in ("flistxattr", "linkat", "renameat2"):
            with self.subTest(call=call):
                self.start_afresh()
                archive = self.archive()
                elsewhere = self.dir / "elsewhere"
                elsewhere.mkdir()
                self.write_settings(self.dump, elsewhere)
                later = Archive(elsewhere / "vzdump-qemu-101-2026_01_01-02_00_00.vma")
                daemon = self.start_watched(archive, f"{call}:signal=SIGKILL:when=1")
                job = daemon.add(archive.path)
                later_job = daemon.add(later.path)
                ended = daemon.wait(job)
                self.assertEqual((ended["state"], ended["reason"]), ("failed", "worker died (signal 9)"))
                self.assert_content(archive, archive.old)
                self.assertEqual(daemon.wait(later_job)["state"], "done")
                self.assert_content(later, later.new)
                self.assertEqual(daemon.stop(), 0)
                # The next try, with better luck, clears up first.
                daemon = self.start()
                again = daemon.add(archive.path)
                self.assertEqual(daemon.wait(again)["state"], "done")
                self.assert_canonical(archive)

    def test_killed_while_verifying(self):
        archive = self.archive()
        # The third advice on the cache is about the copy that is read back.
        daemon = self.start(("fadvise64:signal=SIGSTOP:when=3",))
        job = daemon.add(archive.path)
        daemon.stopped_worker()
        daemon.kill()
        self.assert_content(archive, archive.old)
        self.assert_only(archive)
        self.assertEqual(self.start().wait(job)["state"], "done")
        self.assert_canonical(archive)


if __name__ == "__main__":
    unittest.main()
