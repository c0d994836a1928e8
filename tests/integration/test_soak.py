"""Everything at once: many backups through the hook while daemon and workers are killed, and backups are pruned and
replaced. In the end every archive that is still wanted is canonical, and nothing else is left.

VMAD_SOAK_ARCHIVES says how many backups (500).
"""

import collections
import os
import random
import signal
import subprocess
import threading
import time
import unittest

from daemon_process import ENDS, Archive, DaemonTest, send, wait_until

ARCHIVES = int(os.environ.get("VMAD_SOAK_ARCHIVES", "500"))
HOOKS = 16
VARIANTS = 24
# Time for the rest of the queue once nobody makes trouble any more.
CALM_SECONDS = 300


class Soak(DaemonTest):
    def setUp(self):
        super().setUp()
        self.write_settings(keep_jobs=100000, workers=2)
        seed = int(os.environ.get("VMAD_SOAK_SEED", int.from_bytes(os.urandom(4))))
        print(f"VMAD_SOAK_SEED={seed}", flush=True)
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.count = collections.Counter()
        # What a path is to hold in the end: the bytes of a canonical archive, or None after a prune.
        self.expected = {}
        self.path_locks = collections.defaultdict(threading.Lock)
        self.failures = []
        self.hooks = []
        self.is_over = False
        samples = self.dir / "samples" / "dump"
        samples.mkdir(parents=True)
        self.variants = [Archive(samples / f"variant-{seed}", seed=seed, disk="drive-scsi0=1M")
                         for seed in range(1, VARIANTS + 1)]

    def tearDown(self):
        # Before its directory goes: a hook that finds no settings there takes those of this machine.
        self.is_over = True
        for thread in self.hooks:
            thread.join()
        super().tearDown()

    def path(self, number):
        return self.dump / f"vzdump-qemu-{100 + number}-2026_01_01-02_00_00.vma"

    def back_up(self, number):
        """As vzdump does it: under another name first, then the hook."""
        path, variant = self.path(number), self.random.choice(self.variants)
        with self.path_locks[number]:
            part = path.with_suffix(".dat")
            part.write_bytes(variant.old)
            with self.lock:
                self.expected[path] = variant.new
            part.rename(path)
            self.announce(path)

    def announce(self, path):
        code, output = self.run_hook(path)
        self.count["hook calls"] += 1
        if "request saved" in output:
            self.count["saved in incoming/"] += 1
        elif "did not end within" in output and not self.is_over:
            # As an administrator of a machine as busy as this would.
            self.count["hooks given up"] += 1
            return self.announce(path)
        elif not output.startswith(("vmad: queued as job", "vmad: already queued")):
            self.failures.append(f"hook: exit code {code}: {output}")
        self.assertEqual(code, 0)

    def prune(self, number):
        with self.path_locks[number], self.lock:
            self.expected[self.path(number)] = None
            self.path(number).unlink(missing_ok=True)
        self.count["pruned"] += 1

    def hook_thread(self, numbers):
        try:
            for number in numbers:
                if self.is_over:
                    return
                self.back_up(number)
                chance = self.random.random()
                if chance < 0.05:
                    self.prune(self.random.randrange(number + 1) if chance < 0.03 else number)
                elif chance < 0.1:
                    self.back_up(number)
                    self.count["replaced"] += 1
        except Exception as error:  # of any kind: to be told by the test, not by a thread
            self.failures.append(repr(error))

    def make_trouble(self):
        """Kills what runs, and starts the daemon again as systemd would. In the main thread, because a daemon of
        these tests dies with the thread that started it."""
        daemon = self.daemons[-1]
        if self.random.random() < 0.5:
            daemon.kill()
            self.count["daemons killed"] += 1
            wait_until(self.starts, "the daemon starts again")
        else:
            for pid in daemon.workers():
                send(pid, signal.SIGKILL)
                self.count["workers killed"] += 1

    def starts(self):
        """False while a child that the last daemon was starting has its lock."""
        try:
            self.start()
            return True
        except AssertionError as error:
            if not str(error).rstrip().endswith(f"another vmad is using {self.state}"):
                raise
            self.count["locked out"] += 1
            return False

    def test_soak(self):
        began = time.monotonic()
        self.start()
        self.hooks = [threading.Thread(target=self.hook_thread, args=(range(first, ARCHIVES, HOOKS),))
                      for first in range(HOOKS)]
        for thread in self.hooks:
            thread.start()
        # On until most of the queue is done in spite of it.
        while any(thread.is_alive() for thread in self.hooks) or self.unfinished() > ARCHIVES // 20:
            time.sleep(self.random.uniform(0.25, 1.5))
            self.make_trouble()
        daemon = self.daemons[-1]
        try:
            wait_until(lambda: self.unfinished() == 0, "every job ends", CALM_SECONDS)
        except AssertionError:
            self.fail(str([job for job in daemon.jobs() if job["state"] not in ENDS]))
        self.assertEqual(self.failures, [])
        # Three deaths of one job in a row are a failure by design; then an administrator tries again.
        jobs = daemon.jobs()
        for job in jobs:
            if job["state"] == "failed":
                self.assertIn("worker died (", job["reason"])
                self.count["failed by three deaths"] += 1
                self.vmactl("retry", str(job["id"]))
                daemon.wait(job["id"])
        self.check_jobs(daemon.jobs())
        self.check_files()
        self.count["jobs"] = len(jobs)
        self.count["seconds"] = round(time.monotonic() - began)
        print("soak:", ", ".join(f"{value} {name}" for name, value in self.count.items()), flush=True)

    def unfinished(self):
        try:
            with self.daemons[-1].client() as client:
                counts = client.call("org.vmad.Queue.Status")["status"]["counts"]
        except (OSError, EOFError):
            return ARCHIVES
        return sum(number for state, number in counts.items() if state not in ENDS)

    def check_jobs(self, jobs):
        self.assertEqual(len({job["id"] for job in jobs}), len(jobs))
        last = {job["path"]: job for job in jobs}
        for path, content in self.expected.items():
            job = last.get(str(path))
            self.assertIsNotNone(job, f"no job for {path}")
            # One that failed by three deaths no longer counts once the archive is seen to be gone.
            self.assertIn(job["state"], ("done", "unchanged", "vanished", "cancelled") if content is None
                          else ("done", "unchanged"), job)
        self.assertEqual(set(last), {str(path) for path in self.expected})
        # No naming makes more than one job.
        self.assertLessEqual(len(jobs), self.count["hook calls"] + self.count["saved in incoming/"])

    def check_files(self):
        kept = {path for path, content in self.expected.items() if content is not None}
        self.assertEqual({entry for entry in self.dump.iterdir()}, kept)
        for path in kept:
            self.assertTrue(path.read_bytes() == self.expected[path], f"{path} holds something else")
        self.assertEqual(list((self.state / "incoming").iterdir()), [])
        self.assertTrue(all(entry.name.endswith(".json") for entry in (self.state / "queue").iterdir()))
        self.assertEqual(subprocess.run(["find", self.state / "locks", "-type", "f"], capture_output=True, text=True,
                                        check=False).stdout, "")


if __name__ == "__main__":
    unittest.main()
