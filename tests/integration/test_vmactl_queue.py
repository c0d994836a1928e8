"""vmactl's commands for the queue against a real daemon, and the same from a client that knows only Varlink.

Run as: VMAD_BUILD=builddir python3 test_vmactl_queue.py
"""

import json
import os
import signal
import subprocess
import unittest

import sentences
from daemon_process import PATIENCE, DaemonTest, wait_until
from support import VMACTL
from varlink_client import VarlinkError
from varlink_schema import Schema

QUEUE = "org.vmad.Queue."


class QueueTest(DaemonTest):
    schema = Schema()

    def succeed(self, *arguments):
        """The output of a command that has nothing to complain about."""
        code, output, messages = self.vmactl(*arguments)
        self.assertEqual((code, messages), (0, ""), output)
        return output

    def succeed_json(self, kind, *arguments):
        """The values, each of this type of the description."""
        values = [json.loads(line) for line in self.succeed("--json", *arguments).splitlines()]
        for value in values:
            self.schema.check(kind, value)
        return values

    def refuse(self, code, *arguments):
        """The message of a command that fails."""
        result, output, messages = self.vmactl(*arguments)
        self.assertEqual((result, output), (code, ""), messages)
        self.assertEqual(messages.count("\n"), 1, messages)
        return messages.removeprefix("vmactl: ").rstrip("\n")

    def bad_archive(self, vmid):
        path = self.dump / f"vzdump-qemu-{vmid}-2026_01_01-02_00_00.vma"
        path.write_bytes(b"no archive")
        return path

    def start_monitor(self, *arguments):
        """Its lines arrive in a file; returns when it would miss nothing."""
        output = open(self.dir / "monitor", "wb")
        self.addCleanup(output.close)
        monitor = subprocess.Popen([VMACTL, "--socket", self.socket, *arguments, "monitor"], stdout=output,
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(monitor.stderr.close)
        self.addCleanup(monitor.wait, PATIENCE)
        self.addCleanup(monitor.kill)
        return monitor

    def monitor_lines(self):
        return (self.dir / "monitor").read_text().splitlines()

    def change_something(self, daemon, job):
        """Cancels and queues a job, which every client that listens hears of."""
        with daemon.client() as client:
            client.call(QUEUE + "Cancel", id=job)
            client.call(QUEUE + "Retry", id=job)


class PausedTest(QueueTest):
    """Nothing starts, so that jobs stay as they are."""

    def setUp(self):
        super().setUp()
        self.daemon = self.start()
        self.assertEqual(self.succeed("pause"), "vmad: paused; running jobs finish\n")
        self.paths = [self.bad_archive(100 + number) for number in range(3)]
        self.ids = [self.daemon.add(path) for path in self.paths]

    def test_pause_and_resume(self):
        self.assertIn(f"held    {sentences.PAUSED}\n",
                      self.succeed("status"))
        self.assertEqual(self.succeed("resume"), "vmad: resumed\n")
        for job in self.ids:
            self.assertEqual(self.daemon.wait(job)["state"], "failed")
        self.assertNotIn("held", self.succeed("status"))
        self.assertEqual(self.succeed_json(self.schema.methods["Pause"][1], "pause", "--now"), [{}])
        self.assertEqual(self.succeed_json(self.schema.methods["Resume"][1], "resume"), [{}])
        self.assertEqual(self.succeed("pause", "--now"), "vmad: paused; running jobs are stopped and queued again\n")

    def test_list(self):
        lines = self.succeed("list").splitlines()
        self.assertEqual(lines[0].split(), ["ID", "VMID", "GUEST", "BACKUP", "STORAGE", "STATE", "WHEN", "SIZE", "FORMAT"])
        for line, job, path in zip(lines[1:], self.ids, self.paths, strict=True):
            words = line.split()
            self.assertEqual((words[0], words[1], "queued" in words), (str(job), path.name[12:15], True))
        jobs = self.succeed_json("Job", "list")
        self.assertEqual([job["id"] for job in jobs], self.ids)
        self.assertEqual(self.succeed("list", "--state", "failed", "--state", "done"), "")
        self.succeed("cancel", str(self.ids[1]))
        self.assertEqual([job["id"] for job in self.succeed_json("Job", "list")], [self.ids[0], self.ids[2]])
        self.assertEqual([job["id"] for job in self.succeed_json("Job", "list", "--all")], self.ids)
        self.assertEqual([job["id"] for job in self.succeed_json("Job", "list", "--state", "cancelled")], [self.ids[1]])
        self.assertIn("asleep", self.refuse(2, "list", "--state", "asleep"))
        self.assertIn("excludes", self.refuse(2, "list", "--all", "--state", "done"))

    def test_show(self):
        text = self.succeed("show", str(self.ids[0]))
        self.assertTrue(text.startswith(f"Job:         {self.ids[0]}\nArchive:     {self.paths[0]}\nVMID:        100\n"
                                        "State:       queued\n"), text)
        self.assertRegex(text, r"\nQueued:      (now|\d+ s ago), 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d\n")
        [by_id, by_path] = self.succeed_json("Job", "show", str(self.ids[0]), str(self.paths[0]))
        self.assertEqual(by_id, by_path)
        self.assertEqual(self.refuse(4, "show", "/nowhere"), sentences.no_job_for("/nowhere"))
        code, output, messages = self.vmactl("show", "4711", str(self.ids[0]))
        self.assertEqual((code, output.splitlines()[0], messages),
                         (4, text.splitlines()[0],
                          f"vmactl: {sentences.no_job(4711)}\n"))
        self.assertEqual(self.refuse(2, "show").split(";")[0], "JOB is required")

    def test_cancel(self):
        job, path = self.ids[0], self.paths[0]
        self.assertEqual(self.succeed("cancel", str(job)), f"job {job}: cancelled: {path}\n")
        self.assertEqual(self.daemon.job(job)["state"], "cancelled")
        self.assertEqual(self.refuse(1, "cancel", str(job)), sentences.already_finished(job, "cancelled"))
        with self.daemon.client() as client:
            with self.assertRaises(VarlinkError) as caught:
                client.call(QUEUE + "Cancel", id=job)
        self.assertEqual(caught.exception.name, QUEUE + "JobHasEnded")
        self.schema.check(self.schema.errors["JobHasEnded"], caught.exception.parameters)
        self.assertEqual(self.refuse(4, "cancel", "4711"),
                         sentences.no_job(4711))
        # A bad one does not stop the others; a bad path stops all, before anything is done.
        code, output, messages = self.vmactl("cancel", "4711", str(self.ids[1]))
        self.assertEqual((code, output.split(":")[1], messages.count("\n")), (4, " cancelled", 1))
        self.refuse(4, "cancel", str(self.ids[2]), "/nowhere")
        self.assertEqual(self.daemon.job(self.ids[2])["state"], "queued")
        [cancelled] = self.succeed_json("Job", "cancel", str(self.paths[2]))
        self.assertEqual((cancelled["id"], cancelled["state"]), (self.ids[2], "cancelled"))

    def test_retry(self):
        self.succeed("resume")
        for job in self.ids:
            self.daemon.wait(job)
        self.succeed("pause")
        job, path = self.ids[0], self.paths[0]
        self.assertEqual(self.succeed("retry", str(job)), f"job {job}: queued: {path}\n")
        retried = self.succeed_json("Job", "retry", "--failed")
        self.assertEqual([(job["id"], job["state"]) for job in retried], [(job, "queued") for job in self.ids[1:]])
        code, output, messages = self.vmactl("retry", "--failed")
        self.assertEqual((code, output, messages), (0, "", f"vmactl: {sentences.NO_FAILED_JOBS}\n"))
        self.assertEqual(self.refuse(2, "retry"), sentences.NO_JOBS_NAMED)
        self.assertIn("excludes", self.refuse(2, "retry", "--failed", "1"))
        self.refuse(4, "retry", "4711")

    def test_retry_of_a_job_whose_path_has_another(self):
        job, path = self.ids[0], self.paths[0]
        self.succeed("cancel", str(job))
        newer = self.daemon.add(path)
        self.assertNotEqual(newer, job)
        self.assertEqual(self.succeed("retry", str(job)),
                         sentences.superseded(job, newer) + f"queued: {path}\n")

    def test_status(self):
        [reply] = self.succeed_json("QueueStatus", "status")
        self.assertEqual((reply["hold"], reply["counts"]["queued"]), ("paused", 3))
        self.assertLessEqual(max(map(len, self.succeed("status").splitlines())), 80)

    def test_reload(self):
        self.assertEqual(self.succeed("reload"), "vmad: settings reloaded\n")
        self.assertEqual(self.succeed_json(self.schema.methods["Reload"][1], "reload"), [{"warnings": []}])
        good = self.config.read_text()
        self.config.write_text(good + "workers = \"many\"\n")
        message = self.refuse(1, "reload")
        self.assertTrue(message.startswith(sentences.INVALID_SETTINGS), message)
        self.assertIn("workers", message)
        with self.daemon.client() as client:
            with self.assertRaises(VarlinkError) as caught:
                client.call(QUEUE + "Reload")
        self.assertEqual(caught.exception.name, QUEUE + "InvalidSettings")
        self.schema.check(self.schema.errors["InvalidSettings"], caught.exception.parameters)
        self.config.write_text(good)
        self.succeed("reload")

    def test_every_reply_is_as_the_description_declares(self):
        calls = [("Enqueue", {"path": str(self.paths[0])}), ("List", {}), ("List", {"states": ["done"]}),
                 ("Show", {"id": self.ids[0]}), ("Status", {}), ("Cancel", {"id": self.ids[1]}),
                 ("Retry", {"id": self.ids[1]}), ("Wait", {"ids": [self.ids[2]]}), ("Pause", {"now": False}),
                 ("Resume", {}), ("Reload", {})]
        with self.daemon.client() as client:
            client.call(QUEUE + "Cancel", id=self.ids[2])
            for method, parameters in calls:
                taken, given = self.schema.methods[method]
                self.schema.check(taken, parameters)
                more = method in ("List", "Wait")
                replies = client.call_more(QUEUE + method, **parameters) if more else \
                    [client.call(QUEUE + method, **parameters)]
                for reply in replies:
                    self.schema.check(given, reply, method)


class MonitorTest(QueueTest):
    def setUp(self):
        super().setUp()
        self.daemon = self.start()
        self.succeed("pause")
        self.job = self.daemon.add(self.bad_archive(100))

    def until_heard(self):
        """Changes something until the monitor says so: then it listens."""
        def heard():
            self.change_something(self.daemon, self.job)
            return self.monitor_lines()
        wait_until(heard, "the monitor tells a change")

    def test_lines(self):
        monitor = self.start_monitor()
        self.until_heard()
        # What it heard first may have been the second half of a change.
        self.change_something(self.daemon, self.job)
        self.succeed("resume")
        self.daemon.wait(self.job)
        wait_until(lambda: any(" failed " in line for line in self.monitor_lines()), "the monitor tells the end")
        lines = self.monitor_lines()
        for state in ("queued", "cancelled", "running", "failed"):
            self.assertTrue(any(line.split()[1:5] == [str(self.job), "100", state, "01-01"] for line in lines), lines)
        self.assertRegex(lines[0], r"^\d\d:\d\d:\d\d  ")
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertEqual(lines[-1].strip(), lines[-1][10:])  # the reason stands below, wrapped
        monitor.send_signal(signal.SIGINT)
        self.assertEqual(monitor.wait(PATIENCE), -signal.SIGINT)

    def test_json(self):
        monitor = self.start_monitor("--json")
        with self.daemon.client() as other:
            # Another client hears the same.
            other.send(QUEUE + "Monitor", more=True)
            self.assertEqual(other.receive()["parameters"], {})
            self.until_heard()
            change = other.receive()["parameters"]
        self.schema.check(self.schema.methods["Monitor"][1], change)
        for line in self.monitor_lines():
            self.schema.check("Job", json.loads(line))
        self.assertEqual(change["job"]["id"], self.job)
        self.daemon.kill()
        self.assertEqual(monitor.wait(PATIENCE), 3)
        self.assertIn("the server closed the connection", monitor.stderr.read())

    def test_a_daemon_that_is_not_there(self):
        self.daemon.stop()
        for command in (["monitor"], ["list"], ["show", "1"], ["cancel", "1"], ["retry", "--failed"], ["pause"],
                        ["resume"], ["reload"], ["status"]):
            with self.subTest(command=command):
                self.assertIn(sentences.UNREACHABLE, self.refuse(3, *command))


class RunTest(QueueTest):
    def test_a_job_that_runs_is_stopped(self):
        archive = self.archive()
        daemon = self.start_watched(archive, "openat2:signal=SIGSTOP:when=1")
        job = daemon.add(archive.path)
        worker = daemon.stopped_worker()
        self.assertIn(f"job {job}: being stopped: {archive.path}", self.succeed("cancel", str(job)))
        os.kill(worker, signal.SIGCONT)
        self.assertEqual(daemon.wait(job, go_on=True)["state"], "cancelled")
        self.assert_content(archive, archive.old)
        self.assert_only(archive)

    def test_what_was_done_is_told(self):
        archive = self.archive()
        daemon = self.start()
        job = daemon.add(archive.path)
        daemon.wait(job)
        text = self.succeed("show", str(archive.path))
        for beginning in ("State:       done", "Started:     ", "Finished:    ", "Took:        ", "Size before: ",
                          "Size after:  ", "Saving:      "):
            self.assertTrue(any(line.startswith(beginning) for line in text.splitlines()), (beginning, text))
        self.assertRegex(self.succeed("status"), r"\ndone    1 archive, .*\n        last success (now|\d+ s ago), 20")

    def test_a_path_that_is_not_utf8_is_refused(self):
        daemon = self.start()
        self.archive().path.rename(os.fsdecode(os.fsencode(self.dump) + b"/bad\xff.vma"))
        result = subprocess.run([os.fsencode(VMACTL), b"--socket", os.fsencode(self.socket), b"add",
                                 os.fsencode(self.dump) + b"/bad\xff.vma"], capture_output=True, timeout=60)
        self.assertEqual((result.returncode, result.stdout), (2, b""))
        self.assertIn(rb"bad\xff.vma cannot be queued: it is not UTF-8: rename it", result.stderr)
        self.assertEqual(daemon.jobs(), [])


if __name__ == "__main__":
    unittest.main()
