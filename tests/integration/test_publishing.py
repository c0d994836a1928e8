"""What a kill may do to a replacement, at each of its steps.

At any moment the archive is the whole old or the whole new one; in the end nothing is left beside it.
"""

import contextlib
import os
import signal
import unittest

from daemon_process import Archive, needs_strace
from publishing_steps import STEPS, STEPS_OF_ANY_RUN, PublishingTest


@needs_strace
class Kills(PublishingTest):
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
        """All at once: a worker that is stopped cannot obey SIGTERM, and is killed after two seconds."""
        with contextlib.ExitStack() as sandboxes:
            stopped = []
            for way, injections, step in STEPS:
                with self.subTest(way=way, step=step[0]):
                    sandbox = PublishingTest()
                    sandbox.setUp()
                    sandboxes.callback(sandbox.tearDown)
                    stopped.append((way, step[0], sandbox, *sandbox.start_stopped(injections, step)))
            for _, _, _, daemon, *_ in stopped:
                daemon.process.terminate()
            for way, name, sandbox, daemon, archive, job, _ in stopped:
                with self.subTest(way=way, step=name):
                    self.assertEqual(daemon.stop(), 0)
                    sandbox.assert_content(archive, archive.old, archive.new)
                    self.assertEqual(sandbox.job_on_disk(job)["state"], "queued")
                    self.assertEqual(sandbox.start().wait(job)["state"], "done")
                    sandbox.assert_canonical(archive)

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
