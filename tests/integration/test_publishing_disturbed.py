"""What another program, or the storage, may do to a replacement, at each of its steps.

At any moment the archive is the whole old or the whole new one; what somebody else has put there, or has removed,
stays so.
"""

import signal
import unittest

from daemon_process import ENDS, Archive, needs_strace, send
from publishing_steps import STEPS_OF_ANY_RUN, STEPS_THAT_NOTICE, PublishingTest


@needs_strace
class Disturbances(PublishingTest):
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


if __name__ == "__main__":
    unittest.main()
