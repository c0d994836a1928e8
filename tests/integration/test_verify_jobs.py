"""Verify jobs beside repacks: what stands still for what, and goes on after; and what the daemon knows of archives."""

import json
import os
import signal
import time
import unittest

from daemon_process import ENDS, DaemonTest, send, state_of, wait_until
from test_scheduling import SLOW, clock
from varlink_schema import Schema

FAST = "1024G"
# So slow that it can be looked at, and over in some seconds: three times 4 MiB.
SOME_SECONDS = "4M"


def has_open(pid, path):
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}") == str(path) for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


class TwoKinds(DaemonTest):
    def call(self, daemon, method, **parameters):
        with daemon.client() as client:
            return client.call("org.vmad.Queue." + method, **parameters)

    def call_more(self, daemon, method):
        schema = Schema()
        with daemon.client() as client:
            replies = client.call_more("org.vmad.Queue." + method)
        for reply in replies:
            schema.check(schema.methods[method][1], reply)
        return [value for reply in replies for value in reply.values()]

    def known(self, daemon):
        return {os.path.basename(record["path"]): record for record in self.call_more(daemon, "Archives")}

    def verify(self, daemon, archive):
        return self.call(daemon, "Enqueue", path=str(archive.path), announced=True, kind="verify")["job"]["id"]


class VerifyJobTest(TwoKinds):
    def set_speed(self, daemon, **settings):
        self.write_settings(**settings)
        self.call(daemon, "Reload")

    def start_slow_verify_job(self, **settings):
        """With the archive, the job and its worker, which has begun to read."""
        self.speeds = {"bwlimit": SOME_SECONDS, "verify_bwlimit": SLOW, **settings}
        self.write_settings(**self.speeds)
        daemon = self.start()
        archive = self.archive(100, disk="drive-scsi0=8M")
        job = self.verify(daemon, archive)
        daemon.wait(job, ("running",))
        worker = wait_until(daemon.workers, "a worker runs")[0]
        wait_until(lambda: has_open(worker, archive.path), "the archive is read")
        return daemon, archive, job, worker

    def start_repack_beside(self, daemon, job, worker, vmid=101):
        """With its worker; the verify job is halted."""
        archive = self.archive(vmid, seed=vmid, disk="drive-scsi0=4M")
        repack = daemon.add(archive.path)
        daemon.wait(repack, ("running", "publishing"))
        wait_until(lambda: state_of(worker) == "T", "the verify job stands still")
        self.assertTrue(daemon.job(job)["paused"])
        self.assertEqual(daemon.job(job)["state"], "running")
        others = wait_until(lambda: [pid for pid in daemon.workers() if pid != worker], "the repack has a worker")
        return archive, repack, others[0]

    def goes_on(self, daemon, job, worker):
        """To its end."""
        wait_until(lambda: state_of(worker) not in ("T", None), "the verify job goes on")
        self.assertNotIn("paused", daemon.job(job))
        self.set_speed(daemon, **{**self.speeds, "verify_bwlimit": FAST})
        ended = daemon.wait(job)
        self.assertEqual((ended["state"], ended["kind"]), ("done", "verify"))

    # What stands still.

    def test_it_stands_still_while_an_archive_is_repacked_on_its_file_system(self):
        daemon, archive, job, worker = self.start_slow_verify_job()
        beside, repack, _ = self.start_repack_beside(daemon, job, worker)
        while daemon.job(repack)["state"] not in ENDS:
            # The repack may end between the two looks.
            if state_of(worker) != "T":
                wait_until(lambda: daemon.job(repack)["state"] in ENDS, "the repack is over")
            time.sleep(0.05)
        self.assertEqual(daemon.job(repack)["state"], "done")
        self.assertEqual(beside.content(), beside.new)
        self.goes_on(daemon, job, worker)
        self.assertEqual(archive.content(), archive.old)

    def test_it_takes_no_worker_from_a_repack_while_it_waits_its_turn(self):
        # Verify jobs are not started while an archive waits to be repacked, however old they are.
        self.write_settings(bwlimit=SOME_SECONDS)
        daemon = self.start()
        self.call(daemon, "Pause")
        archives = [self.archive(vmid, seed=vmid) for vmid in (100, 101)]
        verify = self.verify(daemon, archives[0])
        repack = daemon.add(archives[1].path)
        self.call(daemon, "Resume")
        self.assertEqual(daemon.wait(repack)["state"], "done")
        self.assertEqual(daemon.wait(verify)["state"], "done")
        self.assertLessEqual(daemon.job(repack)["ended_at"], daemon.job(verify)["ended_at"])
        self.assertLess(daemon.job(repack)["end_number"], daemon.job(verify)["end_number"])

    def test_a_cancelled_repack_lets_it_go_on(self):
        daemon, _, job, worker = self.start_slow_verify_job(bwlimit=SLOW)
        _, repack, _ = self.start_repack_beside(daemon, job, worker)
        self.call(daemon, "Cancel", id=repack)
        self.assertEqual(daemon.wait(repack)["state"], "cancelled")
        self.goes_on(daemon, job, worker)

    def test_it_is_not_without_a_limit_when_its_own_one_is_gone(self):
        daemon, _archive, job, _worker = self.start_slow_verify_job(bwlimit=SLOW)
        self.set_speed(daemon, bwlimit=SLOW)
        time.sleep(0.5)  # in which all of it could be read
        self.assertEqual(daemon.job(job)["state"], "running")

    def test_it_can_be_cancelled_while_it_stands_still(self):
        daemon, _, job, worker = self.start_slow_verify_job(bwlimit=SLOW)
        _, repack, _ = self.start_repack_beside(daemon, job, worker)
        self.call(daemon, "Cancel", id=job)
        self.assertEqual(daemon.wait(job)["state"], "cancelled")
        wait_until(lambda: state_of(worker) is None, "its worker is gone")
        self.assertEqual(daemon.job(repack)["state"], "running")

    def test_its_death_while_it_stands_still_disturbs_nobody(self):
        daemon, _, job, worker = self.start_slow_verify_job()
        _, repack, _ = self.start_repack_beside(daemon, job, worker)
        send(worker, signal.SIGKILL)
        wait_until(lambda: daemon.job(job)["state"] == "queued", "it is queued again")
        self.assertEqual(daemon.wait(repack)["state"], "done")
        self.set_speed(daemon, verify_bwlimit=FAST)
        self.assertEqual(daemon.wait(job)["state"], "done")

    def test_the_death_of_the_repack_does_not_leave_it_standing(self):
        daemon, _, job, worker = self.start_slow_verify_job(bwlimit=SLOW)
        _, repack, other = self.start_repack_beside(daemon, job, worker)
        send(other, signal.SIGKILL)
        # It runs again, and the verify job waits for it again.
        wait_until(lambda: daemon.job(repack)["attempts"] == 2, "the repack runs again")
        wait_until(lambda: state_of(worker) == "T", "the verify job stands still again")
        self.call(daemon, "Cancel", id=repack)
        daemon.wait(repack)
        self.goes_on(daemon, job, worker)

    def test_a_daemon_that_is_stopped_or_dies_leaves_no_worker_that_stands_still(self):
        for ending in ("stop", "kill"):
            with self.subTest(ending):
                self.start_afresh()
                daemon, _, job, worker = self.start_slow_verify_job(bwlimit=SLOW)
                _, repack, _ = self.start_repack_beside(daemon, job, worker)
                if ending == "stop":
                    self.assertEqual(daemon.stop(), 0)
                else:
                    daemon.kill()
                wait_until(lambda: state_of(worker) in (None, "Z"), "the worker is gone")
                self.write_settings()
                daemon = self.start()
                self.assertEqual(daemon.wait(repack)["state"], "done")
                self.assertEqual(daemon.wait(job)["state"], "done")

    def test_an_archive_that_is_verified_can_be_repacked_at_once(self):
        daemon, archive, job, worker = self.start_slow_verify_job()
        repack = daemon.add(archive.path)
        self.assertNotEqual(repack, job)
        done = daemon.wait(repack)
        self.assertEqual((done["state"], done["attempts"]), ("done", 0))
        self.assertIsNone(state_of(worker))
        self.set_speed(daemon, verify_bwlimit=FAST)
        self.assertEqual(daemon.wait(job)["state"], "done")
        self.assertEqual(archive.content(), archive.new)

    # When it starts.

    def test_it_has_a_window_of_its_own(self):
        self.write_settings(start_window=f"{clock(2)}-{clock(4)}", verify_window=f"{clock(-1)}-{clock(1)}")
        daemon = self.start()
        archive = self.archive()
        repack = daemon.add(archive.path)
        self.assertEqual(daemon.wait(self.verify(daemon, archive))["state"], "done")
        self.assertEqual(daemon.job(repack)["state"], "queued")
        self.set_speed(daemon, verify_window=f"{clock(2)}-{clock(4)}")
        daemon.wait(repack)
        verify = self.verify(daemon, archive)
        time.sleep(0.3)
        self.assertEqual(daemon.job(verify)["state"], "queued")
        # Who waits for all that is to be repacked does not wait for it; who waits for it gets it.
        self.assertEqual(self.vmactl("wait")[0], 0)
        self.assertEqual(daemon.job(verify)["state"], "queued")
        self.assertEqual(self.vmactl("wait", str(verify))[0], 0)
        self.assertEqual(daemon.job(verify)["state"], "done")

    def test_the_two_are_counted_apart(self):
        self.write_settings(on_success=["/bin/sh", "-c", f"cat >> {self.dir}/told"])
        daemon = self.start()
        archive = self.archive()
        daemon.wait(daemon.add(archive.path))
        daemon.wait(self.verify(daemon, archive))
        status = self.call(daemon, "Status")["status"]
        self.assertEqual(status["counts"]["done"], 1)
        self.assertEqual(status["verify_counts"]["done"], 1)
        totals = status["totals"]
        self.assertEqual((totals["done"], totals["bytes_before"]), (1, len(archive.old)))
        self.assertEqual((totals["verify"]["good"], totals["verify"]["bytes"]), (1, len(archive.new)))
        self.assertEqual(status["archives"]["known"], 1)
        self.assertEqual(status["archives"]["unverified"], 0)
        told = wait_until((self.dir / "told").read_text, "the command has run")
        self.assertEqual(json.loads(told)["id"], 1)


class CatalogueTest(TwoKinds):
    def test_what_a_repack_and_a_verify_job_found_out_outlives_the_daemon(self):
        daemon = self.start()
        first, second = self.archive(100), self.archive(101, seed=2)
        daemon.wait(daemon.add(first.path))
        daemon.wait(self.verify(daemon, second))
        known = self.known(daemon)
        self.assertEqual(sorted(known), sorted([first.path.name, second.path.name]))
        record = known[first.path.name]
        self.assertEqual(record["verdict"], "good")
        self.assertEqual(record["size_bytes"], len(first.new))
        self.assertEqual(record["vmid"], 100)
        self.assertEqual(record["modified_ns"], first.path.stat().st_mtime_ns)
        self.assertIn("repacked_at", record)
        self.assertEqual(time.strftime("%Y-%m-%d %H", time.localtime(record["backup_at"])), "2026-01-01 02")
        self.assertNotIn("repacked_at", known[second.path.name])
        daemon.kill()
        (self.state / "archives/77.json").write_text("what is this")
        daemon = self.start()
        self.assertEqual(self.known(daemon), known)
        self.assertTrue((self.state / "archives/77.json.bad").exists())
        self.assertIn("archives/77.json: set aside", daemon.log.read_text())

    def test_damage_is_known_until_the_archive_is_found_good(self):
        daemon = self.start()
        archive = self.archive()
        daemon.wait(daemon.add(archive.path))
        times = archive.path.stat().st_atime_ns, archive.path.stat().st_mtime_ns
        self.write_into(archive, 200_000, b"rotten", times)
        job = daemon.wait(self.verify(daemon, archive))
        self.assertEqual((job["state"], job["damaged"]), ("failed", True), job)
        self.assertEqual(job["damage"][0]["disk"], "drive-scsi0")
        self.assertIn("last_good_at", job)
        record = self.known(daemon)[archive.path.name]
        self.assertEqual(record["verdict"], "damaged")
        self.assertEqual(record["verified_at"], job["last_good_at"])
        self.assertEqual(self.call(daemon, "Status")["status"]["archives"]["damaged"], 1)
        self.assertEqual(self.call_more(daemon, "Guests")[0]["damaged"], 1)
        archive.path.write_bytes(archive.new)
        os.utime(archive.path, ns=times)
        self.assertEqual(daemon.wait(self.verify(daemon, archive))["state"], "done")
        self.assertEqual(self.known(daemon)[archive.path.name]["verdict"], "good")
        self.assertEqual(daemon.job(job["id"])["state"], "cancelled")

    def write_into(self, archive, offset, content, times):
        with open(archive.path, "r+b") as file:
            file.seek(offset)
            file.write(content)
        os.utime(archive.path, ns=times)

    def test_what_is_gone_is_forgotten(self):
        daemon = self.start()
        archives = [self.archive(100, seed=1)]
        for day in (2, 3):
            archives.append(self.archive(100, seed=day))
            archives[-1].path = archives[-1].path.rename(
                archives[-1].path.with_name(f"vzdump-qemu-100-2026_01_0{day}-02_00_00.vma"))
            archives[0].path.write_bytes(archives[0].old)
        for archive in archives[:2]:
            daemon.wait(daemon.add(archive.path))
        # The next job of the guest in the directory finds one gone, a verify job its own.
        archives[0].path.unlink()
        daemon.wait(daemon.add(archives[2].path))
        self.assertEqual(sorted(self.known(daemon)), [archive.path.name for archive in archives[1:]])
        archives[1].path.unlink()
        self.assertEqual(daemon.wait(self.verify(daemon, archives[1]))["state"], "vanished")
        self.assertEqual(list(self.known(daemon)), [archives[2].path.name])
        # Or somebody says so.
        paths = [str(archives[2].path), "/nowhere"]
        self.assertEqual(self.call(daemon, "Forget", paths=paths), {"forgotten": 1})
        self.assertEqual(self.call(daemon, "Forget", paths=paths), {"forgotten": 0})
        self.assertEqual(self.call_more(daemon, "Archives"), [])

    def test_guests_are_summed_up(self):
        daemon = self.start()
        archives = [self.archive(100), self.archive(101, seed=2)]
        for archive in archives:
            call = {"path": str(archive.path), "announced": True, "storage": "local"}
            daemon.wait(self.call(daemon, "Enqueue", **call)["job"]["id"])
        guests = self.call_more(daemon, "Guests")
        self.assertEqual([(guest["storage"], guest["vmid"]) for guest in guests], [("local", 100), ("local", 101)])
        for guest, archive in zip(guests, archives):
            size = len(archive.new)
            self.assertEqual((guest["backups"], guest["bytes"], guest["last_size"]), (1, size, size))
            self.assertEqual((guest["day_backups"], guest["week_bytes"]), (1, size))
            self.assertEqual((guest["unverified"], guest["damaged"]), (0, 0))


if __name__ == "__main__":
    unittest.main()
