"""When jobs start: vzdump's lock, the start window, pauses, workers and file systems, storage that comes and goes;
and that whoever waits for a job from inside a backup never waits for ever."""

import fcntl
import os
import signal
import subprocess
import time
import unittest

from daemon_process import ENDS, DaemonTest, state_of, wait_until
from support import VMACTL
from varlink_client import VarlinkError

# So slow that a job of some MiB runs until it is told otherwise.
SLOW = "64K"


class VzdumpLock:
    """vzdump's, on a node of our own."""

    def __init__(self, root):
        (root / "run").mkdir(parents=True, exist_ok=True)
        self.file = open(root / "run/vzdump.lock", "a", encoding="ascii")

    def __enter__(self):
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_):
        self.file.close()


def clock(offset_hours):
    return time.strftime("%H:%M", time.localtime(time.time() + offset_hours * 3600))


class SchedulingTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.root = self.dir / "root"
        self.node = {"VMAD_ROOT": str(self.root)}

    def status(self, daemon):
        with daemon.client() as client:
            return client.call("org.vmad.Queue.Status")["status"]

    def call(self, daemon, method, **parameters):
        with daemon.client() as client:
            return client.call("org.vmad.Queue." + method, **parameters)

    def stays_queued(self, daemon, *jobs):
        """Long enough for a daemon that has nothing else to do."""
        time.sleep(0.3)
        self.assertEqual([daemon.job(job)["state"] for job in jobs], ["queued"] * len(jobs))

    def start_slow_job(self, archive=None, **settings):
        self.write_settings(bwlimit=SLOW, **settings)
        daemon = self.start(environment=self.node)
        archive = archive or self.archive(disk="drive-scsi0=8M")
        job = daemon.add(archive.path)
        daemon.wait(job, ("running",))
        wait_until(daemon.workers, "a worker runs")
        return daemon, archive, job

    # vzdump's lock.

    def test_jobs_wait_until_the_backups_are_over(self):
        archive = self.archive()
        with VzdumpLock(self.root):
            daemon = self.start(environment=self.node)
            job = daemon.add(archive.path)
            self.stays_queued(daemon, job)
            self.assertEqual(self.status(daemon)["hold"], "vzdump")
            self.assertIn("vzdump", self.vmactl("status")[1])
            self.assert_content(archive, archive.old)
        self.assertEqual(daemon.wait(job)["state"], "done")
        self.assertNotIn("hold", self.status(daemon))
        self.assert_canonical(archive)

    def test_unless_it_is_switched_off(self):
        self.write_settings(defer_while_vzdump_runs=False)
        archive = self.archive()
        with VzdumpLock(self.root):
            daemon = self.start(environment=self.node)
            self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "done")

    def test_who_waits_for_a_job_gets_it_during_the_backup(self):
        first, second = self.archive(100), self.archive(101, seed=2)
        with VzdumpLock(self.root):
            daemon = self.start(environment=self.node)
            jobs = [daemon.add(archive.path) for archive in (first, second)]
            self.stays_queued(daemon, *jobs)
            with daemon.client() as client:
                client.send("org.vmad.Queue.Wait", more=True, ids=[jobs[1]])
                self.assertEqual(client.receive()["parameters"]["job"]["state"], "done")
            self.stays_queued(daemon, jobs[0])
            # One that gave up lifts nothing any more.
            with daemon.client() as client:
                self.call(daemon, "Pause")
                client.send("org.vmad.Queue.Wait", more=True, ids=[jobs[0]])
                time.sleep(0.1)
            time.sleep(0.1)
            self.call(daemon, "Resume")
            self.stays_queued(daemon, jobs[0])
            self.assertEqual(self.vmactl("wait")[0], 0)
            self.assertEqual(daemon.job(jobs[0])["state"], "done")
        self.assert_content(first, first.new)

    def test_a_script_of_vzdump_s_waits_while_the_lock_is_held(self):
        scripts = self.dir / "hook.d"
        scripts.mkdir()
        script = scripts / "offsite"
        script.write_text(f'#!/bin/sh\ncase $1 in\n'
                          f'backup-end) exec {VMACTL} --socket {self.socket} wait "$TARGET" ;;\n'
                          f'job-end) exec {VMACTL} --socket {self.socket} wait ;;\nesac\n')
        script.chmod(0o755)
        archives = [self.archive(100), self.archive(101, seed=2)]
        with VzdumpLock(self.root):
            daemon = self.start(environment=self.node)
            for archive in archives:
                code, output = self.run_hook(archive.path)
                self.assertEqual(code, 0, output)
                self.assertIn("done", output)
                self.assert_content(archive, archive.new)
            # Queued without being waited for, as by a hook that has no script.
            late = self.archive(102, seed=3)
            job = daemon.add(late.path)
            self.stays_queued(daemon, job)
            code, output = self.run_hook("", "job-end", TARGET="")
            self.assertEqual(code, 0, output)
            self.assert_content(late, late.new)

    # The start window.

    def test_outside_the_window_nothing_starts_but_what_somebody_waits_for(self):
        opens = clock(2)
        self.write_settings(start_window=f"{opens}-{clock(4)}")
        archives = [self.archive(100), self.archive(101, seed=2)]
        daemon = self.start(environment=self.node)
        jobs = [daemon.add(archive.path) for archive in archives]
        self.stays_queued(daemon, *jobs)
        status = self.status(daemon)
        self.assertEqual(status["hold"], "start_window")
        self.assertTrue(3600 < status["hold_until"] - time.time() <= 2 * 3600, status)
        self.assertIn(opens, self.vmactl("status")[1])
        self.assertEqual(self.vmactl("wait", str(jobs[1]))[0], 0)
        self.stays_queued(daemon, jobs[0])
        # A job that runs is not cut off, one that waits starts when the window opens.
        self.write_settings(start_window=f"{clock(-1)}-{clock(1)}")
        self.assertEqual(self.vmactl("reload"), (0, "vmad: settings reloaded\n", ""))
        self.assertEqual(daemon.wait(jobs[0])["state"], "done")

    # Pauses.

    def test_a_pause_survives_death(self):
        archive = self.archive()
        daemon = self.start(environment=self.node)
        self.assertEqual(self.call(daemon, "Pause"), {})
        job = daemon.add(archive.path)
        self.stays_queued(daemon, job)
        daemon.kill()
        daemon = self.start(environment=self.node)
        self.stays_queued(daemon, job)
        self.assertEqual(self.status(daemon)["hold"], "paused")
        self.assertEqual(self.vmactl("resume")[0], 0)
        self.assertEqual(daemon.wait(job)["state"], "done")

    def test_a_pause_lets_the_running_job_finish(self):
        archives = [self.archive(100, disk="drive-scsi0=16M"), self.archive(101, seed=2)]
        self.write_settings(bwlimit="8M")
        daemon = self.start(environment=self.node)
        jobs = [daemon.add(archive.path) for archive in archives]
        daemon.wait(jobs[0], ("running",))
        self.assertEqual(self.vmactl("pause")[0], 0)
        self.assertEqual(daemon.wait(jobs[0])["state"], "done")
        self.stays_queued(daemon, jobs[1])

    def test_a_pause_now_abandons_the_running_job(self):
        daemon, archive, job = self.start_slow_job()
        self.assertEqual(self.vmactl("pause", "--now")[0], 0)
        daemon.wait(job, ("queued",))
        self.assertEqual(self.job_on_disk(job)["attempts"], 0)
        self.assert_content(archive, archive.old)
        self.assert_only(archive)
        self.stays_queued(daemon, job)
        self.write_settings()
        self.call(daemon, "Reload")
        self.call(daemon, "Resume")
        self.assertEqual(daemon.wait(job)["state"], "done")

    # Changing what is to be done.

    def test_cancel(self):
        daemon, archive, running = self.start_slow_job()
        other = self.archive(101, seed=2)
        queued = daemon.add(other.path)
        self.assertEqual(self.call(daemon, "Cancel", id=queued)["job"]["state"], "cancelled")
        self.assertEqual(self.vmactl("cancel", str(running))[0], 0)
        self.assertEqual(daemon.wait(running)["state"], "cancelled")
        self.assert_only(archive, other)
        self.assert_content(archive, archive.old)
        with self.assertRaises(VarlinkError) as raised:
            self.call(daemon, "Cancel", id=queued)
        self.assertEqual((raised.exception.name, raised.exception.parameters),
                         ("org.vmad.Queue.JobHasEnded", {"id": queued, "state": "cancelled"}))
        with self.assertRaises(VarlinkError) as raised:
            self.call(daemon, "Cancel", id=99)
        self.assertEqual(raised.exception.name, "org.vmad.Queue.NoSuchJob")

    def test_retry_of_what_failed(self):
        archive = self.archive()
        archive.path.write_bytes(b"not an archive")
        daemon = self.start(environment=self.node)
        job = daemon.add(archive.path)
        self.assertEqual(daemon.wait(job)["state"], "failed")
        self.assertEqual(self.call(daemon, "Retry", id=job)["job"]["id"], job)
        self.assertEqual(daemon.wait(job)["state"], "failed")
        archive.path.write_bytes(archive.old)
        self.assertEqual(self.vmactl("retry", str(job))[0], 0)
        self.assertEqual(daemon.wait(job)["state"], "done")
        totals = self.status(daemon)["totals"]
        self.assertEqual((totals["done"], totals["failed"]), (1, 2))

    def test_a_stopped_worker_holds_up_nobody(self):
        daemon, archive, job = self.start_slow_job()
        (worker,) = daemon.workers()
        os.kill(worker, signal.SIGSTOP)
        wait_until(lambda: state_of(worker) == "T", "the worker is stopped")
        other = self.archive(101, seed=2)
        self.assertEqual(self.status(daemon)["active"][0]["id"], job)
        self.assertEqual(self.vmactl("add", "--announced", str(other.path))[0], 0)
        self.assertEqual(self.vmactl("cancel", str(job))[0], 0)
        self.assertEqual(daemon.wait(job)["state"], "cancelled")
        self.assert_content(archive, archive.old)
        second = daemon.wait(job + 1, ("running",))["id"]
        (worker,) = wait_until(daemon.workers, "the next worker runs")
        os.kill(worker, signal.SIGSTOP)
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(self.job_on_disk(second)["state"], "queued")
        self.assert_only(archive, other)

    # File systems.

    def wrapper(self, *mounts):
        """Gives the daemon file systems in a mount namespace of its own, which ends with it."""
        if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise unittest.SkipTest("there are no mount namespaces here, as in a plain chroot")
        script = "".join(f'mount -t tmpfs none "{point}" && cp -p {" ".join(map(str, files))} "{point}" && '
                         for point, files in mounts)
        return ("unshare", "--mount", "--propagation", "private", "sh", "-euc", script + 'exec "$@"', "sh")

    def test_one_job_on_a_file_system_and_no_more_than_workers(self):
        points = [self.dump / name for name in ("a", "b", "c")]
        sources = [self.archive(vmid, seed=vmid, disk="drive-scsi0=8M").path for vmid in (100, 101)]
        for point in points:
            point.mkdir()
        self.write_settings(bwlimit=SLOW, workers=2)
        daemon = self.start(environment=self.node, wrapper=self.wrapper(*((point, sources) for point in points)))
        jobs = [daemon.add(point / source.name) for point in points for source in sources]
        for job in (jobs[0], jobs[2]):
            daemon.wait(job, ("running",))
        time.sleep(0.3)
        self.assertEqual([daemon.job(job)["state"] for job in jobs],
                         ["running", "queued", "running", "queued", "queued", "queued"])
        self.assertEqual(len(daemon.workers()), 2)
        # Another worker may have a third file system, but none a second job on one.
        self.write_settings(bwlimit=SLOW, workers=8)
        self.assertEqual(self.vmactl("reload"), (0, "vmad: settings reloaded\n", ""))
        daemon.wait(jobs[4], ("running",))
        time.sleep(0.3)
        self.assertEqual([daemon.job(job)["state"] for job in jobs],
                         ["running", "queued", "running", "queued", "running", "queued"])
        # What runs gets the new rate, too.
        self.write_settings(workers=8)
        self.call(daemon, "Reload")
        for job in jobs:
            self.assertEqual(daemon.wait(job)["state"], "done")

    def test_storage_that_is_away_is_waited_for(self):
        point = self.dump / "share"
        point.mkdir()
        archive = self.archive()
        target = point / archive.path.name
        self.write_settings(start_window=f"{clock(2)}-{clock(4)}")
        daemon = self.start(environment=self.node, wrapper=self.wrapper((point, [archive.path])))
        job = daemon.add(target)
        self.run_beside(daemon, "umount", point)
        self.write_settings()
        self.call(daemon, "Reload")
        waiting = daemon.wait(job, ("waiting",))
        self.assertEqual(waiting["waiting_for"], "storage")
        self.assertEqual(waiting["reason"], f"nothing is mounted at {point}")
        # It is looked at as soon as something is mounted there, not only when its time has come.
        self.assertGreater(waiting["retry_at"], time.time() + 30)
        self.run_beside(daemon, "sh", "-c", f"mount -t tmpfs none {point}")
        self.assertIn(daemon.wait(job)["state"], ENDS)


if __name__ == "__main__":
    unittest.main()
