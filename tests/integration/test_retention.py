"""What the daemon remembers of jobs that have ended, and how it tells of many."""

import json
import time
import unittest

from daemon_process import DaemonTest


class RetentionTest(DaemonTest):
    def status(self, daemon):
        with daemon.client() as client:
            return client.call("org.vmad.Queue.Status")["status"]

    def run_to_end(self, daemon, count):
        for vmid in range(count):
            path = self.dump / f"vzdump-qemu-{100 + vmid}-2026_01_01-02_00_00.vma"
            path.write_bytes(b"not an archive")
            daemon.wait(daemon.add(path))

    def test_by_number_and_the_totals_stay(self):
        self.write_settings(keep_jobs=3)
        daemon = self.start()
        self.run_to_end(daemon, 7)
        self.assertEqual([job["id"] for job in daemon.jobs()], [5, 6, 7])
        self.assertEqual(self.status(daemon)["totals"]["failed"], 7)
        daemon.kill()
        daemon = self.start()
        status = self.status(daemon)
        self.assertEqual(status["totals"]["failed"], 7)
        self.assertEqual(status["counts"]["failed"], 3)
        self.assertGreater(status["totals"]["last_failure_at"], time.time() - 60)
        self.write_settings(keep_jobs=1)
        self.assertEqual(self.vmactl("reload"), (0, "vmad: settings reloaded\n", ""))
        self.assertEqual([job["id"] for job in daemon.jobs()], [7])

    def test_by_age(self):
        daemon = self.start()
        self.run_to_end(daemon, 3)
        daemon.kill()
        for job_id, days in ((1, 31), (2, 29), (3, 400)):
            path = self.state / f"queue/{job_id}.json"
            job = json.loads(path.read_text())
            job["ended_at"] -= days * 86400
            path.write_text(json.dumps(job))
        daemon = self.start()
        # The newest is what tells the next id, so it stays.
        self.assertEqual([job["id"] for job in daemon.jobs()], [2, 3])
        self.assertEqual(daemon.add(self.dump / "next.vma"), 4)

    def test_ten_thousand_jobs(self):
        self.start().kill()
        (self.state / "paused").touch()
        for job_id in range(1, 10001):
            (self.state / f"queue/{job_id}.json").write_text(json.dumps(
                {"id": job_id, "path": f"{self.dump}/vzdump-qemu-{job_id}-2026_01_01-02_00_00.vma", "state": "queued",
                 "announced": True, "queued_at": 1700000000 + job_id, "attempts": 0, "failed_attempts": 0, "run_again": False}))
        daemon = self.start()
        self.assertEqual([job["id"] for job in daemon.jobs()], list(range(1, 10001)))
        status = self.status(daemon)
        self.assertEqual((status["counts"]["queued"], status["oldest_at"]), (10000, 1700000001))
        with daemon.client() as client:
            (reply,) = client.call_more("org.vmad.Queue.List", states=["failed"])
        self.assertEqual(reply, {})
        code, output, _ = self.vmactl("--json", "list")
        self.assertEqual((code, output.count("\n")), (0, 10000))

    def test_monitor(self):
        archive = self.archive(disk="drive-scsi0=16M")
        self.write_settings(bwlimit="8M")
        daemon = self.start()
        with daemon.client() as client:
            client.send("org.vmad.Queue.Monitor", more=True)
            self.assertEqual(client.receive(), {"parameters": {}, "continues": True})
            job = daemon.add(archive.path)
            states, stages = [], set()
            while not states or states[-1] != "done":
                told = client.receive()["parameters"]["job"]
                self.assertEqual(told["id"], job)
                if not states or states[-1] != told["state"]:
                    states.append(told["state"])
                if "progress" in told:
                    stages.add(told["progress"]["stage"])
        self.assertEqual(states, ["queued", "running", "publishing", "done"])
        self.assertIn("repacking", stages)


if __name__ == "__main__":
    unittest.main()
