"""The life of the daemon: start, service manager, stop, death, restart, and who else wants its place."""

import ctypes
import os
import pathlib
import re
import signal
import subprocess
import time
import unittest

from daemon_process import ENDS, VMAD, DaemonTest, needs_root, needs_strace, state_of, wait_until
from service_manager import ServiceManager

PTRACE_SEIZE = 0x4206  # ptrace(2)


class DaemonLifeTest(DaemonTest):
    def run_to_its_end(self, config=None):
        """The exit code and the messages of a daemon that is to fail."""
        result = subprocess.run([VMAD, "--config", config or self.config], text=True, capture_output=True,
                                timeout=60)
        return result.returncode, result.stderr

    def test_tells_the_service_manager(self):
        archive = self.archive()
        archive.path.write_bytes(b"not an archive")
        with ServiceManager(self.dir) as manager:
            daemon = self.start(environment=manager.environment)
            self.assertEqual(manager.hear("READY=1"), ["STATUS=0 queued, 0 running, 0 waiting, 0 failed"])
            daemon.add(archive.path)
            manager.hear("STATUS=0 queued, 1 running, 0 waiting, 0 failed")
            manager.hear("STATUS=0 queued, 0 running, 0 waiting, 1 failed")
            # How far a job is, is told too.
            slow = self.archive(101, seed=2, disk="drive-scsi0=16M")
            self.write_settings(bwlimit="8M")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.add(slow.path)
            told = re.compile(r"STATUS=0 queued, 1 running, 0 waiting, 1 failed; " +
                              re.escape(slow.path.name) + r" \d+ %")
            manager.hear(told.fullmatch)
            daemon.process.terminate()
            manager.hear("STOPPING=1")
            self.assertEqual(daemon.process.wait(60), 0)
        self.assertFalse(self.socket.exists())

    def test_stopped_in_the_middle_of_a_job(self):
        archive = self.archive(disk="drive-scsi0=64M")
        daemon = self.start()
        job = daemon.add(archive.path)
        wait_until(daemon.workers, "a worker runs")
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(self.job_on_disk(job)["state"], "queued")
        self.assert_content(archive, archive.old)
        self.assert_only(archive)
        # To be told to stop is no death.
        self.assertEqual(self.job_on_disk(job)["attempts"], 0)
        self.assertEqual(self.start().wait(job)["state"], "done")
        self.assert_canonical(archive)

    def test_killed_in_the_middle_of_a_job(self):
        archive = self.archive(disk="drive-scsi0=64M")
        daemon = self.start()
        job = daemon.add(archive.path)
        wait_until(daemon.workers, "a worker runs")
        daemon.kill()  # which waits for the worker's death, too
        self.assert_content(archive, archive.old)
        self.assert_only(archive)
        self.assertEqual(self.start().wait(job)["state"], "done")
        self.assert_canonical(archive)

    @needs_root
    def test_worker_that_dies_while_it_is_traced(self):
        """Its end shows at once, but who traces it is the first one who may wait for it."""
        archive = self.archive()
        self.write_settings(bwlimit="64K")
        daemon = self.start()
        daemon.add(archive.path)
        worker = wait_until(daemon.workers, "a worker runs")[0]
        self.assertEqual(ctypes.CDLL(None).ptrace(PTRACE_SEIZE, worker, None, None), 0)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: state_of(worker) == "Z", "the worker is dead")
        time.sleep(0.2)  # for the daemon to look
        os.waitpid(worker, 0)
        wait_until(lambda: "the worker died (signal 9)" in daemon.log.read_text(), "the daemon notices")

    @needs_strace
    def test_killed_with_jobs_in_the_queue(self):
        first = self.archive(100)
        queued = [self.archive(vmid, seed=vmid) for vmid in (101, 102)]
        daemon = self.start_watched(first, "flistxattr:signal=SIGSTOP:when=1")
        jobs = [daemon.add(archive.path) for archive in (first, *queued)]
        daemon.stopped_worker()
        self.assertEqual([daemon.job(job)["state"] for job in jobs], ["running", "queued", "queued"])
        daemon.kill()
        self.assertEqual([self.job_on_disk(job)["state"] for job in jobs], ["running", "queued", "queued"])
        for archive in (first, *queued):
            self.assert_content(archive, archive.old)
        daemon = self.start()
        for job, archive in zip(jobs, (first, *queued)):
            self.assertEqual(daemon.wait(job)["state"], "done")
            self.assert_content(archive, archive.new)
        self.assert_only(first, *queued)
        # Ids go on where they were.
        self.assertEqual(daemon.add(first.path), 4)

    def test_killed_again_and_again(self):
        archives = [self.archive(100 + n, seed=n, disk="drive-scsi0=8M") for n in range(6)]
        daemon = self.start()
        jobs = [daemon.add(archive.path) for archive in archives]
        for turn in range(12):
            wait_until(lambda: daemon.workers() or self.all_ended(daemon), "a worker runs or all is done")
            time.sleep(turn * 0.013)  # so that it is another moment each time
            daemon.kill()
            for archive in archives:
                self.assert_content(archive, archive.old, archive.new)
            daemon = self.start()
        for job in jobs:
            self.assertEqual(daemon.wait(job)["state"], "done")
        for archive in archives:
            self.assert_content(archive, archive.new)
        self.assert_only(*archives)

    @staticmethod
    def all_ended(daemon):
        return all(job["state"] in ENDS for job in daemon.jobs())

    def test_socket_of_a_killed_daemon_is_replaced(self):
        self.start().kill()
        self.assertTrue(self.socket.is_socket())
        self.start()
        self.assertEqual(self.vmactl("status")[0], 0)

    def test_socket_is_for_its_owner_only(self):
        self.start()
        self.assertEqual(self.socket.stat().st_mode & 0o777, 0o600)

    def test_second_daemon(self):
        first = self.start()
        for what, setting, message in (
                ("same socket", {"state_dir": str(self.dir / "other")}, str(self.socket)),
                ("same state directory", {"socket": str(self.dir / "other.sock")},
                 f"another vmad is using {self.state}")):
            with self.subTest(what):
                self.write_settings(**setting)
                code, messages = self.run_to_its_end()
                self.assertEqual(code, 1)
                self.assertIn(message, messages)
                self.assertEqual(messages.count("\n"), 1, messages)
                self.assertTrue(first.answers())
        self.assertFalse((self.dir / "other.sock").exists(), "the socket of the one that failed is left behind")

    def test_settings_that_make_no_sense(self):
        for text, place in (('sokcet = "/run/a"\n', "1:1"),
                            ("\nworkers = 0\n", "2:11"),
                            ('workers = "two"\n', "1:11"),
                            ('socket = "relative"\n', "1:10"),
                            ("directories = [1]\n", "1:16"),
                            ("[section]\n", "1:2"),
                            ("workers = \n", "1:11")):
            with self.subTest(text=text):
                self.config.write_text(text)
                code, messages = self.run_to_its_end()
                self.assertEqual(code, 78)
                self.assertIn(f"{self.config}:{place}: ", messages)
        missing = self.dir / "missing.toml"
        code, messages = self.run_to_its_end(missing)
        self.assertEqual(code, 78)
        self.assertIn(f"{missing}: ", messages)

    def test_damaged_job_file_is_set_aside(self):
        archive = self.archive()
        daemon = self.start()
        daemon.wait(daemon.add(archive.path))
        daemon.stop()
        (self.state / "queue" / "7.json").write_text('{"id": 7, "path"')
        daemon = self.start()
        self.assertIn("7.json: set aside", daemon.log.read_text())
        self.assertEqual([job["id"] for job in daemon.jobs()], [1])
        # The id is not used a second time.
        self.assertGreater(daemon.add(archive.path), 7)

    def test_worker_holds_nothing_of_the_daemon(self):
        archive = self.archive(disk="drive-scsi0=64M")
        daemon = self.start()
        daemon.add(archive.path)
        worker = wait_until(daemon.workers, "a worker runs")[0]
        os.kill(worker, signal.SIGSTOP)
        # Not the socket, not the lock on the state directory: they must end with the daemon.
        held = [os.readlink(entry) for entry in pathlib.Path(f"/proc/{worker}/fd").iterdir()]
        self.assertEqual([target for target in held if target.startswith("socket:")], [])
        self.assertNotIn(str(self.state / "lock"), held)
        os.kill(worker, signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
