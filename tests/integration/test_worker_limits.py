"""What workers may use, and how the daemon lives with one that does not do as it should.

Time is only ever compared from below.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

from daemon_process import ENDS, Archive, DaemonTest, needs_root, needs_strace, send, state_of, wait_until

HUNG_SHARE = pathlib.Path(__file__).with_name("hung_share.py")


def files_of(pid):
    """The paths of the files that a process has open."""
    try:
        return [os.readlink(entry) for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return []


class WorkerTest(DaemonTest):
    def wait_for_reading(self, daemon, archive):
        """The worker that has the archive open."""
        def find():
            return next((pid for pid in daemon.workers() if str(archive.path) in files_of(pid)), None)
        worker = wait_until(find, "a worker has opened the archive")
        # Into its first pause: what is tested holds before it as well.
        time.sleep(0.5)
        return worker


class RateTest(WorkerTest):
    def test_all_jobs_share_one_limit(self):
        other = self.dir / "other"
        other.mkdir()
        rate = 2 << 20
        self.write_settings(self.dump, other, bwlimit="2M", workers=2)
        archives = [self.archive(100), Archive(other / "vzdump-qemu-101-2026_01_01-02_00_00.vma")]
        daemon = self.start()
        begin = time.monotonic()
        for job in [daemon.add(archive.path) for archive in archives]:
            self.assertEqual(daemon.wait(job)["state"], "done")
        elapsed = time.monotonic() - begin
        # Each is read once, written once, and read again for the proof.
        size = sum(len(archive.old) + 2 * len(archive.new) for archive in archives)
        self.assertGreater(elapsed, size / rate - 0.5)
        for archive in archives:
            self.assert_content(archive, archive.new)

    def test_change_reaches_a_running_worker(self):
        self.write_settings(bwlimit="64K")
        archive = self.archive(disk="drive-scsi0=16M")
        self.assertGreater(len(archive.old), 8 << 20)  # minutes, at this rate
        daemon = self.start()
        job = daemon.add(archive.path)
        self.wait_for_reading(daemon, archive)
        worker = daemon.workers()
        self.write_settings()
        self.assertEqual(self.vmactl("reload")[0], 0)
        self.assertEqual(daemon.workers(), worker)
        self.assertEqual(daemon.wait(job)["state"], "done")
        self.assert_canonical(archive)

    def test_worker_that_waits_for_its_share_stops_at_once(self):
        self.write_settings(bwlimit="64K")
        archive = self.archive(disk="drive-scsi0=16M")
        daemon = self.start()
        job = daemon.add(archive.path)
        self.wait_for_reading(daemon, archive)
        self.assertEqual(daemon.stop(), 0)
        self.assertNotIn("signal 9", daemon.log.read_text())
        self.assertEqual(self.job_on_disk(job)["state"], "queued")
        self.assert_content(archive, archive.old)
        self.assert_only(archive)


class SpaceTest(DaemonTest):
    def storage(self, size):
        """An archive on a file system of that size, and what wraps the daemon that sees it."""
        mount_point = self.dir / "storage"
        mount_point.mkdir()
        self.write_settings(mount_point)
        archive = self.archive()
        return mount_point / archive.path.name, self.tmpfs_with(archive, mount_point, size)

    def files_in(self, daemon, directory):
        return sorted(os.listdir(f"/proc/{daemon.pid}/root{directory}"))

    @needs_root
    @needs_strace
    def test_disk_is_filled_while_a_job_runs(self):
        path, wrapper = self.storage("8m")
        daemon = self.start(("preadv:signal=SIGSTOP:when=4",), (path,), wrapper=wrapper)
        job = daemon.add(path)
        worker = daemon.stopped_worker()
        other = path.parent / "other"
        self.run_beside(daemon, "sh", "-c", f"head -c 64M /dev/zero > {other} 2>&- || true")
        send(worker, signal.SIGCONT)
        waiting = daemon.wait(job, ("waiting", *ENDS))
        self.assertEqual((waiting["state"], waiting["waiting_for"]), ("waiting", "space"))
        self.assertEqual(self.files_in(daemon, path.parent), ["other", path.name])
        self.run_beside(daemon, "rm", other)
        daemon.add(path)
        self.assertEqual(daemon.wait(job, go_on=True)["state"], "done")
        self.assertEqual(self.files_in(daemon, path.parent), [path.name])

    @needs_root
    def test_reserve(self):
        path, wrapper = self.storage("16m")
        self.write_settings(path.parent, reserve="15M")
        daemon = self.start(wrapper=wrapper)
        job = daemon.add(path)
        waiting = daemon.wait(job, ("waiting", *ENDS))
        self.assertEqual((waiting["state"], waiting["waiting_for"]), ("waiting", "space"))
        self.assertRegex(waiting["reason"],
                         rf"^too little space in {path.parent}: .* are needed and 15 MiB kept free, ")
        self.assertEqual(self.files_in(daemon, path.parent), [path.name])
        self.write_settings(path.parent, reserve="0")
        self.assertEqual(self.vmactl("reload")[0], 0)
        daemon.add(path)
        self.assertEqual(daemon.wait(job)["state"], "done")


class UnrulyWorkerTest(WorkerTest):
    @needs_strace
    def test_last_words_of_a_worker_are_logged_with_its_job(self):
        archive = self.archive()
        daemon = self.start(("prctl:error=EPERM",))
        job = daemon.wait(daemon.add(archive.path))
        self.assertEqual((job["state"], job["reason"]), ("failed", "worker died (exit code 1)"))
        self.assertRegex(daemon.log.read_text(),
                         r"(?m)^.*job 1.*vmad worker: prctl PR_SET_PDEATHSIG: Operation not permitted$")
        self.assert_content(archive, archive.old)

    @needs_strace
    def test_worker_that_survives_every_signal(self):
        """As in a hung share; the daemon is made to believe that it has sent them."""
        archive = self.archive()
        self.write_settings(bwlimit="64K")
        daemon = self.start(("kill:retval=0",))
        job = daemon.add(archive.path)
        worker = self.wait_for_reading(daemon, archive)
        os.kill(worker, signal.SIGSTOP)
        self.assertEqual(daemon.stop(), 0)
        wait_until(lambda: state_of(worker) in (None, "Z"), "the worker dies with the daemon")
        self.assertEqual(self.job_on_disk(job)["state"], "queued")
        self.assert_content(archive, archive.old)
        self.write_settings()
        self.assertEqual(self.start().wait(job)["state"], "done")
        self.assert_canonical(archive)

    def start_with_hung_share(self):
        share = self.dir / "share"
        share.mkdir()
        probe = subprocess.run(["unshare", "--mount", sys.executable, HUNG_SHARE, share, "true"],
                               stderr=subprocess.DEVNULL, check=False)
        if probe.returncode != 0:
            self.skipTest("no FUSE file system can be mounted here")
        self.write_settings(self.dump, share, workers=2)
        return share, self.start(wrapper=("unshare", "--mount", "--propagation", "private", sys.executable,
                                          HUNG_SHARE, share))

    def worker_of(self, daemon):
        """The one that is neither strace nor the server of the share."""
        def find():
            workers = [pid for pid in daemon.workers()
                       if b"worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
            return workers[0] if workers else None
        return wait_until(find, "a worker runs")

    @needs_root
    def test_worker_in_a_hung_share(self):
        archive = self.archive()
        share, daemon = self.start_with_hung_share()
        hung = daemon.add(share / "vzdump-qemu-101-2026_01_01-02_00_00.vma")
        worker = self.worker_of(daemon)
        # The other storage is served, and every question answered.
        self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "done")
        self.assertEqual(self.vmactl("status")[0], 0)
        self.assertEqual(daemon.job(hung)["state"], "running")
        with daemon.client() as client:
            client.call("org.vmad.Queue.Cancel", id=hung)
        wait_until(lambda: state_of(worker) == "D", "the worker cannot be killed")
        self.assertEqual(daemon.wait(hung)["state"], "cancelled")
        self.assertEqual(state_of(worker), "D")
        self.assertEqual(self.vmactl("status")[0], 0)
        self.assertEqual(daemon.stop(), 0)
        wait_until(lambda: state_of(worker) in (None, "Z"), "the worker ends when its share is gone")

    @needs_root
    def test_daemon_stops_beside_a_hung_share(self):
        share, daemon = self.start_with_hung_share()
        hung = daemon.add(share / "vzdump-qemu-101-2026_01_01-02_00_00.vma")
        worker = self.worker_of(daemon)
        self.assertEqual(daemon.stop(), 0)
        wait_until(lambda: state_of(worker) in (None, "Z"), "the worker ends when its share is gone")
        self.assertEqual(self.job_on_disk(hung)["state"], "queued")

    @needs_root
    def test_command_on_a_hung_share(self):
        """Neither the daemon nor the commands after it wait for a program that cannot even be executed."""
        archive = self.archive()
        os.truncate(archive.path, 1000)
        share, daemon = self.start_with_hung_share()
        note = self.dir / "note"
        self.write_settings(self.dump, on_failure=[str(share / "program")], on_success=["/bin/touch", str(note)],
                            command_timeout="1s")
        with daemon.client() as client:
            client.call("org.vmad.Queue.Reload")
        self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "failed")
        self.assertEqual(self.vmactl("status")[0], 0)
        self.assertEqual(daemon.wait(daemon.add(self.archive(101).path))["state"], "done")
        wait_until(note.exists, "the next command is run")
        self.assertIn("program: killed, but it hangs in the kernel", daemon.log.read_text())
        self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
