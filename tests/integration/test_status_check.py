"""vmactl status --check: the line and the exit code of a monitoring plugin.

Run as: VMAD_BUILD=builddir python3 test_status_check.py
"""

import os
import re
import signal
import unittest

import support
import sentences
from daemon_process import DaemonTest
from made_up_daemon import DAY, QUEUE, QueueCommandTest, ago, status

OK, WARNING, CRITICAL, UNKNOWN = range(4)

# 'label'=value[UOM];[warn];[crit];[min];[max], of the guidelines for plugins.
VALUE = re.compile(r"([a-z_]+)=(\d+)(s|c)?(?:;(\d*))?(?:;(\d*))?(?:;(\d*))?(?:;(\d*))?")


def values_in(test, line):
    """The performance data: {label: (value, warning, critical)}."""
    text, bar, data = line.rstrip("\n").partition(" | ")
    test.assertTrue(bar, line)
    values = {}
    for word in data.split(" "):
        match = VALUE.fullmatch(word)
        test.assertTrue(match, word)
        values[match[1]] = (int(match[2]), match[4] or None, match[5] or None)
    return values


class CheckTest(QueueCommandTest):
    def check(self, **options):
        """The exit code and the one line."""
        result = self.vmactl("status", "--check", **options)
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.stdout.count("\n"), 1)
        self.assertTrue(result.stdout.endswith("\n"))
        return result.returncode, result.stdout

    def test_every_verdict(self):
        rows = [
            (OK, status(), "VMAD OK - 0 queued, 0 running, 0 waiting | "),
            (OK, status(queued=3, running=1, more={"oldest_at": ago(123)}),
             "VMAD OK - 3 queued, 1 running, 0 waiting | "),
            (OK, status(queued=3, more={"hold": "paused"}), "VMAD OK - 3 queued, 0 running, 0 waiting, paused | "),
            (WARNING, status(waiting=2, more={"oldest_at": ago(2 * DAY)}),
             "VMAD WARNING - an unfinished job was queued 2 d ago, 0 queued, 0 running, 2 waiting | "),
            (CRITICAL, status(failed=2), "VMAD CRITICAL - 2 failed (see vmactl list --state failed), 0 queued, "),
            (CRITICAL, status(failed=1, waiting=1, more={"oldest_at": ago(2 * DAY)}),
             "VMAD CRITICAL - 1 failed (see vmactl list --state failed), an unfinished job was queued 2 d "),
        ]
        said = {}
        self.daemon(lambda call: [{"parameters": {"status": said["status"]}}])
        for code, said["status"], beginning in rows:
            with self.subTest(beginning=beginning):
                exit_code, line = self.check()
                self.assertEqual(exit_code, code, line)
                self.assertTrue(line.startswith(beginning), line)
                values = values_in(self, line)
                counts = said["status"]["counts"]
                self.assertEqual(values["queued"][0], counts["queued"])
                self.assertEqual(values["failed"], (counts["failed"], None, "0"))
                self.assertEqual(values["oldest"][1], str(DAY))

    def test_a_daemon_that_is_down(self):
        code, line = self.check()
        self.assertEqual(code, CRITICAL)
        self.assertIn(f"VMAD CRITICAL - {sentences.UNREACHABLE}", line)
        self.assertNotIn("|", line)
        self.daemon(lambda call: None)
        code, line = self.check()
        self.assertEqual((code, line),
                         (CRITICAL, f"VMAD CRITICAL - {self.socket}: the server closed the connection\n"))

    def test_no_permission(self):
        self.daemon_that_waits()
        self.dir.chmod(0o711)
        self.socket.chmod(0o600 if os.geteuid() == 0 else 0)
        code, line = self.check(**support.run_as_nobody())
        self.assertEqual((code, line),
                         (UNKNOWN, f"VMAD UNKNOWN - connect {self.socket}: Permission denied: run as root\n"))

    def test_no_answer_in_time(self):
        self.daemon_that_waits()
        code, line = self.check()
        self.assertEqual((code, line), (UNKNOWN, f"VMAD UNKNOWN - {self.socket}: no answer in time\n"))

    def test_rubbish_in_a_reply(self):
        self.daemon_that_replies({"parameters": {"status": {"version": "a|b\n"}}})
        code, line = self.check()
        self.assertEqual((code, line), (UNKNOWN, "VMAD UNKNOWN - status: pid is missing\n"))

    def test_an_error_cannot_begin_the_values(self):
        self.daemon_that_replies({"error": QUEUE + "Failed", "parameters": {"reason": "a | b=1\n\x1b"}})
        self.assertEqual(self.check(), (UNKNOWN, "VMAD UNKNOWN - a ! b=1\\x0a\\x1b\n"))

    def test_it_is_an_answer_of_its_own(self):
        self.daemon_that_replies({"parameters": {"status": status()}})
        self.assertIn("excludes", self.refuse(2, "status", "--check", "--watch"))


class RealDaemonTest(DaemonTest):
    def check(self):
        code, line, messages = self.vmactl("status", "--check")
        self.assertEqual(messages, "")
        return code, line

    def test_a_failed_job_counts_until_somebody_takes_note(self):
        daemon = self.start()
        self.assertEqual(self.check()[0], OK)
        bad = self.dump / "vzdump-qemu-100-2026_01_01-02_00_00.vma"
        bad.write_bytes(b"no archive")
        job = daemon.add(bad)
        self.assertEqual(daemon.wait(job)["state"], "failed")
        code, line = self.check()
        self.assertEqual(code, CRITICAL)
        self.assertEqual(values_in(self, line)["failed"][0], 1)
        self.assertEqual(self.vmactl("cancel", str(job))[0], 0)
        self.assertEqual(self.check()[0], OK)
        daemon.kill()
        self.assertEqual(self.check()[0], CRITICAL)

    def test_a_hung_daemon(self):
        daemon = self.start()
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            self.assertEqual(self.check()[0], UNKNOWN)
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        self.assertEqual(self.check()[0], OK)


if __name__ == "__main__":
    unittest.main()
