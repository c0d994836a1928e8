"""vmactl status, add and wait against a made-up daemon, which can say what a real one says only rarely.

Run as: VMAD_BUILD=builddir python3 test_queue_commands.py
"""

import json
import os
import socket
import threading
import unittest

import support
from support import ProcessTest

QUEUE = "org.vmad.Queue."


class MadeUpDaemon:
    """Answers each call with the replies that `answer` returns for it, or closes the connection for None.

    A reply is {parameters} or {error, parameters}; when there are several, all but the last continue.
    """

    def __init__(self, path, answer):
        self.calls = []
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_client, args=(client,), daemon=True).start()

    def serve_client(self, client):
        with client:
            buffer = b""
            while block := client.recv(65536):
                buffer += block
                while b"\0" in buffer:
                    message, buffer = buffer.split(b"\0", 1)
                    call = json.loads(message)
                    self.calls.append(call)
                    replies = self.answer(call)
                    if replies is None:
                        return
                    for number, reply in enumerate(replies, 1):
                        if number < len(replies):
                            reply = {**reply, "continues": True}
                        client.sendall(json.dumps(reply).encode() + b"\0")

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def job(number, state, **fields):
    return {"id": number, "path": f"/mnt/pve/nas/dump/vzdump-qemu-{number}-2024_02_29-13_05_09.vma", "state": state,
            "announced": True, "queued_at": 1709208000, "starts": 0, "tries": 0, "run_again": False, **fields}


def status(active=(), recent=(), **counts):
    every = dict.fromkeys(("queued", "running", "publishing", "waiting", "done", "unchanged", "vanished",
                           "failed", "cancelled"), 0)
    return {"version": "0.1.0", "pid": 4711, "started_at": 1709208309, "state_dir": "/var/lib/vmad", "workers": 2,
            "counts": {**every, **counts}, "active": list(active), "recent": list(recent)}


class QueueCommandTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.socket = self.dir / "socket"
        self.environment["VMAD_SOCKET"] = str(self.socket)

    def daemon(self, answer):
        daemon = MadeUpDaemon(self.socket, answer)
        self.addCleanup(daemon.close)
        return daemon

    def daemon_that_replies(self, *replies):
        return self.daemon(lambda call: list(replies))

    def daemon_that_waits(self):
        """One that never answers."""
        return self.daemon(lambda call: [])


class StatusTest(QueueCommandTest):
    BUSY = status(
        [job(17, "running", started_at=1709208400,
             progress={"stage": "proving", "done_bytes": 3 << 30, "total_bytes": 7 << 30,
                       "bytes_per_second": 212 << 20, "remaining_seconds": 63}),
         job(18, "publishing", started_at=1709208400)],
        [job(16, "failed", reason="at byte 5: \x1b[2J is bad", started_at=1709208000, ended_at=1709208309),
         job(15, "done", started_at=1709208000, ended_at=1709208125, size_before=4 << 30, size_after=3 << 30),
         job(14, "vanished", ended_at=1709208000)],
        queued=3, running=1, publishing=1, waiting=2, failed=1, done=9)

    def test_text(self):
        self.daemon_that_replies({"parameters": {"status": self.BUSY}})
        text = self.succeed("status")
        self.assertEqual(text, """\
vmad 0.1.0, pid 4711, up since 2024-02-29T12:05:09+00:00, 2 workers
jobs: 3 queued, 1 running, 1 publishing, 2 waiting, 1 failed

ID  STATE       STAGE    DONE       RATE       LEFT  ARCHIVE
17  running     proving  42 %  212 MiB/s  1 min 3 s  /mnt/pve…02_29-13_05_09.vma
18  publishing                                       /mnt/pve…02_29-13_05_09.vma

ID  RESULT    SIZE                    TOOK  ENDED        ARCHIVE
16  failed                       5 min 9 s  02-29 12:05  /mnt/pv…29-13_05_09.vma
15  done      4.0 GiB → 3.0 GiB  2 min 5 s  02-29 12:02  /mnt/pv…29-13_05_09.vma
14  vanished                                02-29 12:00  /mnt/pv…29-13_05_09.vma

job 16: at byte 5: \\x1b[2J is bad
""")

    def test_it_fits_the_terminal(self):
        self.daemon_that_replies({"parameters": {"status": self.BUSY}})
        for columns in (80, 100, 200):
            code, output = self.vmactl_on_terminal("status", columns=columns)
            self.assertEqual(code, 0)
            plain = output.replace("\x1b[0m", "")
            for number in (1, 31, 32, 33):
                plain = plain.replace(f"\x1b[{number}m", "")
            self.assertNotIn("\x1b", plain)
            self.assertLessEqual(max(map(len, plain.splitlines())), columns)

    def test_nothing_to_do(self):
        self.daemon_that_replies({"parameters": {"status": status()}})
        self.assertEqual(self.succeed("status"), "vmad 0.1.0, pid 4711, up since 2024-02-29T12:05:09+00:00, 2 workers\n"
                                                 "jobs: none to do\n")

    def test_json_is_the_reply(self):
        self.daemon_that_replies({"parameters": {"status": self.BUSY}})
        self.assertEqual(self.succeed_json("status"), [self.BUSY])


class AddTest(QueueCommandTest):
    def test_new_and_known_jobs(self):
        daemon = self.daemon(lambda call: [{"parameters": {
            "job": job(17, "queued"), "created": "new" in call["parameters"]["path"]}}])
        self.assertEqual(self.succeed("add", "/d/new.vma", "/d/known.vma", "--announced"),
                         "vmad: queued as job 17\nvmad: already queued as job 17\n")
        self.assertEqual([call["parameters"] for call in daemon.calls],
                         [{"path": "/d/new.vma", "announced": True}, {"path": "/d/known.vma", "announced": True}])
        [reply] = self.succeed_json("add", "/d/known.vma")
        self.assertEqual((reply["job"]["id"], reply["created"]), (17, False))
        self.assertFalse(daemon.calls[-1]["parameters"].get("announced", False))

    def test_paths_become_absolute(self):
        (self.dir / "real/dump").mkdir(parents=True)
        (self.dir / "link").symlink_to("real/dump")
        daemon = self.daemon_that_replies({"parameters": {"job": job(1, "queued"), "created": True}})
        real = os.path.realpath(self.dir)
        for given, sent in (("x.vma", f"{real}/x.vma"), ("./link//x.vma", f"{real}/link/x.vma"),
                            ("link/../x.vma", f"{real}/real/x.vma"), ("/a/./b", "/a/b")):
            self.succeed("add", "--", given, cwd=self.dir)
            self.assertEqual(daemon.calls[-1]["parameters"]["path"], sent)
        count = len(daemon.calls)
        self.assertEqual(self.refuse(1, "add", "x.vma", "no/../y.vma", cwd=self.dir),
                         "resolve no/..: No such file or directory")
        self.assertEqual(len(daemon.calls), count)

    def test_it_goes_on_after_a_refusal(self):
        def answer(call):
            path = call["parameters"]["path"]
            if "bad" in path:
                return [{"error": QUEUE + "PathRefused", "parameters": {"path": path, "reason": "it is bad"}}]
            return [{"parameters": {"job": job(17, "queued"), "created": True}}]
        self.daemon(answer)
        result = self.vmactl("add", "/bad", "/good")
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (2, "vmad: queued as job 17\n", "vmactl: /bad cannot be queued: it is bad\n"))


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
        path = "/mnt/pve/nas/dump/vzdump-qemu-{}-2024_02_29-13_05_09.vma"
        self.assertEqual((result.returncode, result.stdout),
                         (1, f"job 1: done: {path.format(1)}, 4.0 GiB → 3.0 GiB\n"
                             f"job 2: failed: {path.format(2)}: at byte 5: bad\n"))
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
        self.assertEqual(self.refuse(4, "wait", "7"), "there is no job 7: there never was, or it ended long ago")
        self.assertEqual(self.refuse(4, "wait", "/x"), "there is no job for /x")

    def test_timeout(self):
        self.daemon_that_waits()
        self.assertIn("no answer in time", self.refuse(5, "wait", "--timeout", "1"))

    def test_a_daemon_that_goes_away(self):
        self.daemon(lambda call: None)
        for arguments in (("status",), ("add", "/x"), ("wait",)):
            self.assertIn("the server closed the connection", self.refuse(3, *arguments))

    def test_progress_on_a_terminal(self):
        def answer(call):
            if call["method"] == QUEUE + "Status":
                return [{"parameters": {"status": StatusTest.BUSY}}]
            # With the second call the first has been shown.
            support.wait_for(lambda: [call["method"] for call in daemon.calls].count(QUEUE + "Status") > 1)
            return [{"parameters": {"job": job(17, "done")}}]
        daemon = self.daemon(answer)
        code, output = self.vmactl_on_terminal("wait", "17")
        self.assertEqual(code, 0)
        self.assertIn("\rjob 17: proving  42 % [", output)
        self.assertIn("\r\x1b[K\x1b[32mjob 17: done: ", output)


class SocketTest(QueueCommandTest):
    def test_nobody_listens(self):
        with socket.socket(socket.AF_UNIX) as unused:
            unused.bind(str(self.socket))
        for arguments in (("status",), ("add", "/x"), ("wait",)):
            self.assertIn("Connection refused", self.refuse(3, *arguments))

    def test_a_socket_that_is_not_for_us(self):
        self.daemon_that_waits()
        self.dir.chmod(0o711)
        self.socket.chmod(0o600)
        if os.geteuid() != 0:
            self.socket.chmod(0)
        for arguments in (("status",), ("add", "/x"), ("wait",)):
            self.assertEqual(self.refuse(1, *arguments, **support.run_as_nobody()),
                             f"connect {self.socket}: Permission denied: run as root")

    def test_a_peer_that_is_not_root(self):
        self.daemon_that_replies({"error": "org.varlink.service.PermissionDenied"})
        self.assertEqual(self.refuse(1, "status"), "the daemon obeys only root: run as root")

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
