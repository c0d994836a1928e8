"""vmactl's commands for the queue against a made-up daemon.

Run as: VMAD_BUILD=builddir python3 test_queue_commands.py
"""

import datetime
import json
import os
import re
import signal
import socket
import subprocess
import time
import unittest

import support
import sentences
from made_up_daemon import DAY, HOUR, MINUTE, QUEUE, MadeUpDaemon, QueueCommandTest, ago, job, replies_of, status


def iso(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


def plain(output):
    """What a terminal got, without its colours and its line ends."""
    for number in (0, 1, 31, 32, 33):
        output = output.replace(f"\x1b[{number}m", "")
    return output.replace("\r\n", "\n")


RUNNING = job(17, "running", guest="web", storage="nas", started_at=ago(5 * MINUTE),
              progress={"stage": "verifying", "done_bytes": 3 << 30, "total_bytes": 7 << 30,
                        "bytes_per_second": 212 << 20, "remaining_seconds": 63})
PUBLISHING = job(18, "publishing", started_at=ago(HOUR))
FAILED = job(16, "failed", reason="at byte 5: \x1b[2J is bad", started_at=ago(HOUR) - 309, ended_at=ago(HOUR))
DONE = job(15, "done", started_at=ago(DAY) - 125, ended_at=ago(DAY), size_before=4 << 30, size_after=3 << 30)
VANISHED = job(14, "vanished", ended_at=ago(2 * DAY))
NAMELESS = {key: value for key, value in job(19, "queued", path="/d/own.vma").items() if key != "vmid"}
WAITING = [job(number, "waiting", reason="there is no room: " + "x" * 100, waiting_for="space",
               retry_at=ago(-HOUR)) for number in range(20, 27)]


class StatusTest(QueueCommandTest):
    BUSY = status(
        [RUNNING, PUBLISHING], [FAILED, DONE, VANISHED],
        {"done": 1234, "bytes_before": 4 << 40, "bytes_after": 3 << 40,
         "last_success_at": ago(3 * HOUR), "last_failure_at": ago(2 * DAY)},
        {"hold": "paused", "oldest_at": ago(3 * DAY)}, WAITING,
        queued=3, running=1, publishing=1, waiting=7, failed=1, done=9)

    def test_text(self):
        daemon = self.daemon_with([], self.BUSY)
        head, active, waiting, recent = self.succeed("status").split("\n\n")
        totals = self.BUSY["totals"]
        self.assertRegex(head.splitlines()[1], r"^up      3 h( 1 min)?, since ")
        self.assertEqual(head.replace("3 h 1 min", "3 h"), f"""\
daemon  vmad 0.1.0, pid 4711, 2 workers
up      3 h, since {iso(self.BUSY["started_at"])}
held    paused; resume with "vmactl resume"
jobs    3 queued, 1 running, 1 publishing, 7 waiting, 1 failed
oldest  queued 3 d ago, {iso(self.BUSY["oldest_at"])}
done    1234 archives, 4.0 TiB → 3.0 TiB
        last success 3 h ago, {iso(totals["last_success_at"])}
        last failure 2 d ago, {iso(totals["last_failure_at"])}""")
        self.assertEqual(active, """\
ID  VMID  GUEST  BACKUP      STORAGE  STATE            WHEN  SIZE  FORMAT
17   117  web    2024-02-29  nas      running     5 min ago     -  zst
    42 %, 3.0 of 7.0 GiB, 212 MiB/s, 1 min 3 s left
18   118  -      2024-02-29  -        publishing    1 h ago     -  zst""")
        self.assertEqual(recent, """\
ID  VMID  GUEST  BACKUP      STORAGE  STATE        WHEN     SIZE  FORMAT
16   116  -      2024-02-29  -        failed    1 h ago        -  zst
    at byte 5: \\x1b[2J is bad
15   115  -      2024-02-29  -        done      1 d ago  3.0 GiB  zst
14   114  -      2024-02-29  -        vanished  2 d ago        -  zst
""")
        lines = waiting.splitlines()
        self.assertEqual(len(lines), 1 + 4 * 5 + 1)
        self.assertRegex(lines[1], r"^20   120  -      2024-02-29  -        waiting  in \d\d min     -  zst$")
        self.assertEqual("".join(line.strip() for line in lines[2:5]), "there is no room:" + "x" * 100)
        self.assertEqual(lines[-1], 'and 2 more; see "vmactl list --state waiting"')
        self.assertEqual([call["method"] for call in daemon.calls], [QUEUE + "Status", QUEUE + "Guests"])

    def test_it_fits_the_terminal(self):
        self.daemon_with(WAITING, self.BUSY)
        self.assert_fits(self.succeed("status"))
        for columns in (80, 100, 200):
            code, output = self.vmactl_on_terminal("status", columns=columns)
            self.assertEqual(code, 0)
            self.assertIn("\x1b[31mfailed", output)
            self.assertNotIn("\x1b", plain(output))
            self.assert_fits(plain(output), columns)
        self.environment["NO_COLOR"] = "1"
        self.assertNotIn("\x1b", self.vmactl_on_terminal("status")[1])

    def test_nothing_to_do(self):
        idle = status()
        daemon = self.daemon_with([], idle)
        self.assertRegex(self.succeed("status"),
                         r"^daemon  vmad 0\.1\.0, pid 4711, 2 workers\nup      3 h( 1 min)?, since \S+\n"
                         r"jobs    no pending jobs\ndone    0 archives\n$")
        self.assertEqual(len(daemon.calls), 2)

    def test_every_hold(self):
        said = {}
        self.daemon(lambda call: [{"parameters": {"status": status(more=said)}}])
        until = ago(-5 * HOUR)
        for hold, text in (({"hold": "paused"}, sentences.PAUSED),
                           ({"hold": "start_window"}, sentences.OUTSIDE_WINDOW),
                           ({"hold": "start_window", "hold_until": until},
                            sentences.until(iso(until)[11:16], "in 4 h")),
                           ({"hold": "vzdump"}, sentences.VZDUMP_RUNS)):
            said.clear()
            said.update(hold)
            self.assertIn(f"held    {text}\n", self.succeed("status"))

    def test_json_is_the_reply(self):
        daemon = self.daemon_with(WAITING, self.BUSY)
        self.assertEqual(self.succeed_json("status"), [self.BUSY])
        self.assertEqual(len(daemon.calls), 1)

    def watch(self, *arguments):
        """Starts it, and returns it with what came before the daemon was asked a third time."""
        daemon = self.daemon_with([], self.BUSY)
        process = self.start_vmactl("status", "--watch", *arguments)
        support.wait_for(lambda: sum(call["method"] == QUEUE + "Status" for call in daemon.calls) > 2)
        process.send_signal(signal.SIGINT)
        output, messages = process.communicate()
        self.assertEqual((process.returncode, messages), (-signal.SIGINT, ""))
        return output

    def test_watch_prints_it_anew(self):
        output = self.watch("1")
        self.assertGreaterEqual(output.count("\n\ndaemon  vmad 0.1.0"), 1)
        self.assertTrue(output.startswith("daemon  "))
        self.assertNotIn("\x1b", output)

    def test_watch_in_json(self):
        lines = self.watch("1", "--json").splitlines()
        self.assertGreaterEqual(len(lines), 2)
        for line in lines:
            self.assertEqual(json.loads(line), self.BUSY)

    def test_watch_redraws_a_terminal(self):
        answers = []

        def answer(call):
            if call["method"] == QUEUE + "List":
                return replies_of(WAITING)
            if call["method"] == QUEUE + "Guests":
                return [{"parameters": {}}]
            answers.append(call)
            return [{"parameters": {"status": self.BUSY}}] if len(answers) < 3 else None
        self.daemon(answer)
        code, output = self.vmactl_on_terminal("status", "--watch", "1")
        self.assertEqual(code, 3)  # the daemon went
        screens = output.split("\x1b[H")[1:]
        self.assertEqual(len(screens), 2)
        for screen in screens:
            # The terminal has 24 lines: none of them scrolls away.
            self.assertEqual(screen.count("\n") - screen.count("vmactl: "), 23)
            self.assertEqual(screen.count("\x1b[K"), 23)

    def test_watch_without_a_number_waits(self):
        asked = []

        def answer(call):
            if call["method"] == QUEUE + "Guests":
                return [{"parameters": {}}]
            asked.append(time.monotonic())
            return [{"parameters": {"status": self.BUSY}}] if len(asked) < 2 else None
        self.daemon(answer)
        code, _ = self.vmactl_on_terminal("status", "--watch")
        self.assertEqual((code, len(asked)), (3, 2))
        self.assertGreaterEqual(asked[1] - asked[0], 1)

    def test_watch_takes_whole_seconds(self):
        for interval in ("0", "-1", "1.5", "x", "86401"):
            self.refuse(2, "status", "--watch", interval)


class ListTest(QueueCommandTest):
    def test_many_jobs(self):
        jobs = [job(number, "queued") for number in range(1, 10001)]
        self.daemon_with(jobs, None)
        lines = self.succeed("list").splitlines()
        self.assertEqual(len(lines), 10001)
        self.assertEqual(lines[0], "   ID   VMID  GUEST  BACKUP      STORAGE  STATE      WHEN  SIZE  FORMAT")
        self.assertEqual(lines[-1], "10000  10100  -      2024-02-29  -        queued  1 h ago     -  zst")
        self.assertEqual(self.succeed_json("list"), jobs)

    def test_states(self):
        daemon = self.daemon_with([FAILED, DONE, RUNNING, *WAITING], None)
        self.assertEqual([job["id"] for job in self.succeed_json("list")], [17, *range(20, 27)])
        self.assertEqual(daemon.calls[-1]["parameters"]["states"], ["queued", "running", "publishing", "waiting"])
        self.succeed("list", "--state", "failed", "--state", "queued")
        self.assertEqual(daemon.calls[-1]["parameters"]["states"], ["queued", "failed"])
        self.assertTrue(daemon.calls[-1]["more"])
        text = self.succeed("list", "--all")
        self.assert_fits(text)
        self.assertIn("    at byte 5: \\x1b[2J is bad\n", text)

    def test_none(self):
        self.daemon_with([], None)
        self.assertEqual(self.succeed("list"), "")
        self.assertEqual(self.succeed_json("list"), [])


class ShowTest(QueueCommandTest):
    def show(self, shown):
        daemon = MadeUpDaemon(self.socket, lambda call: [{"parameters": {"job": shown}}])
        try:
            return self.succeed("show", "7")
        finally:
            daemon.close()
            self.socket.unlink()

    def test_every_field(self):
        full = job(7, "waiting", path="/d/a\x1b.vma", reason="the share does not answer", waiting_for="storage",
                   warning="odd header", storage="nas", vmid=100, guest="web", queued_at=0, started_at=60, ended_at=185,
                   end_number=3, retry_at=3600, attempts=2, failed_attempts=5, run_again=True, size_before=1000,
                   size_after=900, mount_point="/d", recovery={"a": 1}, announced=False,
                   progress=RUNNING["progress"])
        days = r"\d+ d ago"
        self.assertRegex(self.show(full), rf"""^Job:         7
Archive:     /d/a\\x1b\.vma
VMID:        100
Guest:       web
Storage:     nas
State:       waiting
Waiting for: the storage to become available
Reason:      the share does not answer
Hint:        "vmactl retry 7" retries now, "vmactl cancel 7" cancels
Warning:     odd header
Progress:    42 %, 3\.0 of 7\.0 GiB, 212 MiB/s, 1 min 3 s left
Queued:      {days}, 1970-01-01T00:00:00\+00:00
Started:     {days}, 1970-01-01T00:01:00\+00:00
Retry:       {days}, 1970-01-01T01:00:00\+00:00
Finished:    {days}, 1970-01-01T00:03:05\+00:00
Took:        2 min 5 s
Size before: 1000 B \(1000 bytes\)
Size after:  900 B \(900 bytes\)
Saving:      10\.0 % saved
Announced:   no; it must be unmodified for a minute
Run again:   yes, it was queued again while running
Attempts:    2 without a result
Failed:      5 attempts in a row
Mounted at:  /d
Replacement: interrupted; the next attempt finishes it or rolls it back
$""")

    def test_what_becomes_of_a_replacement(self):
        for state, text in (("publishing", "in progress; after a crash the next attempt finishes it or rolls it back"),
                            ("queued", "interrupted; the next attempt finishes it or rolls it back"),
                            ("failed", "interrupted; a file of vmad may be left beside the archive until "
                                       '"vmactl retry 7"')):
            self.assertIn(f"Replacement: {text}", " ".join(self.show(job(7, state, recovery={})).split()))
        self.assertIn("Replacement: done; the old file is removed at the end\n",
                      self.show(job(7, "waiting", waiting_for="grace_period", recovery={})))
        self.assertNotIn("Replacement:", self.show(job(7, "queued")))

    def test_what_a_job_waits_for(self):
        for reason, text in sentences.WAITING_FOR.items():
            self.assertIn(f"Waiting for: {text}\n", self.show(job(7, "waiting", waiting_for=reason)))

    def test_what_to_do(self):
        for state, advice in (("failed", '"vmactl retry 7" retries, "vmactl cancel 7" acknowledges'),
                              ("cancelled", '"vmactl retry 7" queues it again'), ("done", None), ("queued", None)):
            text = self.show(job(7, state))
            self.assertEqual(f"Hint:        {advice}\n" in text, advice is not None)
            self.assertEqual("Hint:" in text, advice is not None)

    def test_a_path_names_its_latest_job(self):
        first = job(3, "failed", path="/d/x.vma")
        second = job(9, "queued", path="/d/x.vma")
        jobs = {7: job(7, "queued"), 9: second}
        daemon = self.daemon(lambda call: replies_of([first, jobs[7], second]) if call["method"] == QUEUE + "List"
                             else [{"parameters": {"job": jobs[call["parameters"]["id"]]}}])
        shown = self.succeed_json("show", "7", "/d/x.vma", "/d//./x.vma")
        self.assertEqual([each["id"] for each in shown], [7, 9, 9])
        self.assertEqual([call["method"].removeprefix(QUEUE) for call in daemon.calls],
                         ["List", "Show", "Show", "Show"])
        self.assertEqual(self.succeed("show", "7", "/d/x.vma").count("\n\nJob: "), 1)
        self.assertEqual(self.refuse(4, "show", "7", "/d/y.vma"), sentences.no_job_for("/d/y.vma"))


class ChangeTest(QueueCommandTest):
    def test_cancel_and_retry(self):
        def answer(call):
            number = call["parameters"]["id"]
            if number == 4:
                return [{"error": QUEUE + "NoSuchJob", "parameters": {"id": number}}]
            if number == 5:
                return [{"error": QUEUE + "JobHasEnded", "parameters": {"id": number, "state": "done"}}]
            return [{"parameters": {"job": {**RUNNING, "id": 17, "path": "/d/\x1b.vma"}}}]
        self.daemon(answer)
        result = self.vmactl("cancel", "4", "17", "5")
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (4, "job 17: being stopped: /d/\\x1b.vma\n",
                          f"vmactl: {sentences.no_job(4)}\n"
                          f"vmactl: {sentences.already_finished(5, 'done')}\n"))
        self.assertEqual(self.refuse(1, "cancel", "5"), sentences.already_finished(5, "done"))
        self.assertEqual(self.succeed("retry", "16"), sentences.superseded(16, 17) + "running: /d/\\x1b.vma\n")

    def test_pause_and_resume(self):
        daemon = self.daemon_that_replies({"parameters": {}})
        for arguments, method, parameters in ((["pause"], "Pause", {"now": False}),
                                              (["pause", "--now"], "Pause", {"now": True}),
                                              (["resume"], "Resume", {})):
            self.assertTrue(self.succeed(*arguments).startswith("vmad: "))
            self.assertEqual((daemon.calls[-1]["method"], daemon.calls[-1]["parameters"]),
                             (QUEUE + method, parameters))
            self.assertEqual(self.succeed_json(*arguments), [{}])

    def test_reload(self):
        self.daemon_that_replies({"parameters": {"warnings": ["a: odd", "b\x1b: old"]}})
        result = self.vmactl("reload")
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (0, "vmad: settings reloaded\n",
                          "vmactl: warning: a: odd\nvmactl: warning: b\\x1b: old\n"))
        self.assertEqual(self.succeed_json("reload"), [{"warnings": ["a: odd", "b\x1b: old"]}])

    def test_reload_of_invalid_settings(self):
        self.daemon_that_replies({"error": QUEUE + "InvalidSettings",
                                  "parameters": {"reason": "/etc/vmad/vmad.toml: line 3: workers: write a number"}})
        self.assertEqual(self.refuse(1, "reload"),
                         sentences.INVALID_SETTINGS + "/etc/vmad/vmad.toml: line 3: workers: write a number")


class MonitorTest(QueueCommandTest):
    CHANGES = [NAMELESS, RUNNING, RUNNING,
               {**RUNNING, "progress": {**RUNNING["progress"], "stage": "repacking"}}, WAITING[0],
               {**WAITING[0], "reason": "another"}, DONE, FAILED]

    def answer(self, call):
        """The changes, and then the end of the daemon."""
        self.assertTrue(call["more"])
        return [{"parameters": {}}, *replies_of(self.CHANGES)]

    def test_lines(self):
        self.daemon(self.answer)
        output = self.succeed("monitor")
        self.assert_fits(output)
        lines = output.splitlines()
        for line in lines:
            self.assertRegex(line, r"^(\d\d:\d\d:\d\d  |          \S)")
        self.assertEqual([line[10:] for line in lines if not line.startswith(" ")], [
            "   19         queued      /d/own.vma",
            "   17    117  running     web, 2024-02-29, nas, zst",
            "   17    117  42 %, 3.0 of 7.0 GiB, 212 MiB/s, 1 min 3 s left",
            "   20    120  waiting     2024-02-29, zst",
            "   20    120  waiting     2024-02-29, zst",
            "   15    115  done        2024-02-29, zst",
            "   16    116  failed      2024-02-29, zst"])
        self.assertEqual([line[10:] for line in lines if line.startswith(" ")],
                         ["there is no room:", "x" * 70, "x" * 30, "another", "4.0 GiB → 3.0 GiB, 25.0 % saved, in 2 min 5 s", "at byte 5: \\x1b[2J is bad"])

    def test_a_bar_on_a_terminal(self):
        self.daemon(self.answer)
        code, output = self.vmactl_on_terminal("monitor")
        self.assertEqual(code, 0)
        self.assertIn("\rVM 117 web, 2024-02-29 13:05  42 % 3.0 of 7.0 GiB, 212 MiB/s, 1 min 3 s left", output)
        self.assertNotIn(", 42 %", output)
        self.assertIn("\r\x1b[K", output)

    def test_json_is_every_reply(self):
        self.daemon(self.answer)
        self.assertEqual(self.succeed_json("monitor"), self.CHANGES)

    def test_the_daemon_goes(self):
        self.daemon(lambda call: None)
        self.assertIn("the server closed the connection", self.refuse(3, "monitor"))


class AddTest(QueueCommandTest):
    def test_new_and_known_jobs(self):
        daemon = self.daemon(lambda call: [{"parameters": {
            "job": job(17, "queued"), "created": "new" in call["parameters"]["path"]}}])
        self.assertEqual(self.succeed("add", "/d/new.vma", "/d/known.vma", "--announced"),
                         "".join(f"vmad: {what} as job 17: {job(17, 'queued')['path']}\n"
                                 for what in ("queued", "already queued")))
        self.assertEqual([call["parameters"] for call in daemon.calls],
                         [{"path": "/d/new.vma", "announced": True}, {"path": "/d/known.vma", "announced": True}])
        [reply] = self.succeed_json("add", self.archive())
        self.assertEqual(reply["job"]["id"], 17)
        self.assertFalse(daemon.calls[-1]["parameters"].get("announced", False))

    def test_paths_become_absolute(self):
        (self.dir / "real/dump").mkdir(parents=True)
        (self.dir / "link").symlink_to("real/dump")
        daemon = self.daemon_that_replies({"parameters": {"job": job(1, "queued"), "created": True}})
        real = os.path.realpath(self.dir)
        for given, sent in (("x.vma", f"{real}/x.vma"), ("./link//x.vma", f"{real}/link/x.vma"),
                            ("link/../x.vma", f"{real}/real/x.vma"), ("/a/./b", "/a/b")):
            self.succeed("add", "--announced", "--", given, cwd=self.dir)
            self.assertEqual(daemon.calls[-1]["parameters"]["path"], sent)
        count = len(daemon.calls)
        result = self.vmactl("add", "--announced", "x.vma", "no/../y.vma", cwd=self.dir)
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (1, "", "vmactl: resolve no/..: No such file or directory\nvmactl: nothing was queued\n"))
        self.assertEqual(len(daemon.calls), count)

    def test_it_goes_on_after_a_refusal(self):
        def answer(call):
            path = call["parameters"]["path"]
            if "bad" in path:
                return [{"error": QUEUE + "PathRefused", "parameters": {"path": path, "reason": "it is bad"}}]
            return [{"parameters": {"job": job(17, "queued"), "created": True}}]
        self.daemon(answer)
        result = self.vmactl("add", "--announced", "/bad", "/good")
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (2, f"vmad: queued as job 17: {job(17, 'queued')['path']}\n", "vmactl: /bad cannot be queued: it is bad\n"))


class WaitTest(QueueCommandTest):
    def test_every_end_has_its_exit_code(self):
        ends = {"done": 0, "unchanged": 0, "vanished": 0, "failed": 1, "cancelled": 1}
        self.daemon(lambda call: [{"parameters": {"job": job(call["parameters"]["ids"][0],
                                                             list(ends)[call["parameters"]["ids"][0] - 1])}}])
        for number, (state, code) in enumerate(ends.items(), 1):
            result = self.vmactl("wait", str(number))
            self.assertEqual((result.returncode, result.stderr), (code, ""))
            self.assertTrue(result.stdout.startswith(f"job {number}: {state}: /mnt/pve/nas/dump/"), result.stdout)

    def test_lines(self):
        self.daemon_that_replies(
            {"parameters": {"job": job(1, "done", size_before=4 << 30, size_after=3 << 30)}},
            {"parameters": {"job": job(2, "failed", reason="at byte 5: bad")}})
        result = self.vmactl("wait")
        path = "/mnt/pve/nas/dump/vzdump-qemu-{}-2024_02_29-13_05_09.vma.zst"
        self.assertEqual((result.returncode, result.stdout),
                         (1, f"job 1: done: {path.format(101)}, 4.0 GiB → 3.0 GiB\n"
                             f"job 2: failed: {path.format(102)}: at byte 5: bad\n"))
        result = self.vmactl("wait", "--json")
        self.assertEqual([json.loads(line)["id"] for line in result.stdout.splitlines()], [1, 2])

    def test_ids_and_paths(self):
        daemon = self.daemon_that_replies({"parameters": {}})
        self.assertEqual(self.succeed("wait", "17", "x", "./18", "19x", cwd=self.dir), "")
        real = os.path.realpath(self.dir)
        self.assertEqual(daemon.calls[-1]["parameters"],
                         {"ids": [17], "paths": [f"{real}/x", f"{real}/18", f"{real}/19x"]})
        self.assertTrue(daemon.calls[-1]["more"])

    def test_no_such_job(self):
        self.daemon(lambda call: [{"error": QUEUE + "NoSuchJob", "parameters": {"id": 7}}
                                  if call["parameters"].get("ids") else
                                  {"error": QUEUE + "NoSuchPath", "parameters": {"path": "/x"}}])
        self.assertEqual(self.refuse(4, "wait", "7"), sentences.no_job(7))
        self.assertEqual(self.refuse(4, "wait", "/x"), sentences.no_job_for("/x"))

    def test_timeout(self):
        self.daemon_that_waits()
        self.assertIn("no answer in time", self.refuse(5, "wait", "--timeout", "1"))

    def test_a_daemon_that_goes_away(self):
        self.daemon(lambda call: None)
        for arguments in (("status",), ("add", self.archive()), ("wait",)):
            self.assertIn("the server closed the connection", self.refuse(3, *arguments))

    def test_progress_on_a_terminal(self):
        def answer(call):
            if call["method"] == QUEUE + "Status":
                return [{"parameters": {"status": StatusTest.BUSY}}]
            # With the second call the first has been shown.
            support.wait_for(lambda: [call["method"] for call in daemon.calls].count(QUEUE + "Status") > 1)
            return [{"parameters": {"job": job(17, "done")}}]
        daemon = self.daemon(answer)
        code, output = self.vmactl_on_terminal("wait", "17", "18")
        self.assertEqual(code, 0)
        self.assertIn("\r1 of 2: VM 117 web, 2024-02-29 13:05  42 % 212 MiB/s, 1 min 3 s left", output)
        self.assertIn("\r\x1b[K\x1b[32mjob 17: done: ", output)


class MailRecipeTest(QueueCommandTest):
    """The recipe for on_failure, as text taken from the manual page."""

    RECIPES = ("config/vmad.toml.5.scd.in",)

    def recipe(self, page):
        text = (support.SOURCE / page).read_text()
        found = re.search(r"""^ *on_failure = \["/bin/sh", "-c",\s*'+([^']*mail -s[^']*)'+\]$""", text, re.M)
        return found[1]

    def mail_of(self, recipe):
        mail = self.dir / "mail"
        mail.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{self.dir}/subject\ncat >{self.dir}/body\n')
        mail.chmod(0o755)
        path = f"{self.dir}:{os.path.dirname(support.VMACTL)}:/usr/bin:/bin"
        subprocess.run(["/bin/sh", "-c", recipe], check=True, stderr=subprocess.DEVNULL, input=json.dumps(FAILED), text=True,
                       env={"PATH": path, "LANG": "C.UTF-8", "VMAD_JOB": "16", "VMAD_SOCKET": str(self.socket)})
        return (self.dir / "subject").read_text(), (self.dir / "body").read_text()

    def test_the_body_is_readable(self):
        reason = sentences.DAMAGED + " (at byte 65536: the extent header's MD5 is wrong: it was damaged)"
        damaged = {**FAILED, "guest": "web", "damaged": True, "reason": reason}
        self.daemon_that_replies({"parameters": {"job": damaged}})
        for page in self.RECIPES:
            subject, body = self.mail_of(self.recipe(page))
            self.assertIn("vmad: job 16 failed", subject)
            self.assert_fits(body)
            self.assertIn("Guest:       web\n", body)
            self.assertIn(reason, " ".join(body.split()))
            self.assertIn("make another backup", body)

    def test_without_the_daemon_it_is_the_json(self):
        for page in self.RECIPES:
            self.assertEqual(json.loads(self.mail_of(self.recipe(page))[1]), FAILED)


class SocketTest(QueueCommandTest):
    def test_nobody_listens(self):
        with socket.socket(socket.AF_UNIX) as unused:
            unused.bind(str(self.socket))
        for arguments in (("status",), ("add", self.archive()), ("wait",)):
            self.assertIn("Connection refused", self.refuse(3, *arguments))

    def test_a_socket_that_is_not_for_us(self):
        self.daemon_that_waits()
        self.dir.chmod(0o711)
        self.socket.chmod(0o600)
        if os.geteuid() != 0:
            self.socket.chmod(0)
        for arguments in (("status",), ("add", self.archive()), ("wait",)):
            self.assertEqual(self.refuse(1, *arguments, **support.run_as_nobody()),
                             f"connect {self.socket}: Permission denied: run as root")

    def test_a_peer_that_is_not_root(self):
        self.daemon_that_replies({"error": "org.varlink.service.PermissionDenied"})
        self.assertEqual(self.refuse(1, "status"), sentences.NOT_ROOT)

    def test_rubbish_in_a_reply(self):
        for reply in ({"parameters": {}}, {"parameters": {"status": 7}}, {"nonsense": 1},
                      {"error": "x.y.Z", "parameters": {"a": "\x1b"}}):
            with self.subTest(reply=reply):
                daemon = MadeUpDaemon(self.socket, lambda call, reply=reply: [reply])
                self.assertNotIn("\x1b", self.refuse(1, "status"))
                daemon.close()
                self.socket.unlink()


if __name__ == "__main__":
    unittest.main()
