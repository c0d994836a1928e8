"""What the storage may do to a replacement, at each of its steps. What other programs may do: tests/fault/races.py.

At any moment the archive is the whole old or the whole new one.
"""

import unittest

from daemon_process import ENDS, needs_strace
from publishing_steps import STEPS_OF_ANY_RUN, PublishingTest


@needs_strace
class Disturbances(PublishingTest):
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
