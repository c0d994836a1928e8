"""A daemon made up by a test, which can say what a real one says only rarely, and words for it to say."""

import json
import shutil
import socket
import threading
import time

from support import OFFICIAL, ProcessTest

QUEUE = "org.vmad.Queue."
MINUTE, HOUR, DAY = 60, 3600, 86400


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
                    call = {"parameters": {}, **json.loads(message)}
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


def ago(seconds):
    """A time so long ago, and half a minute: what is read a little later still says the same minutes."""
    return int(time.time()) - seconds - 30


def job(number, state, **fields):
    return {"id": number, "path": f"/mnt/pve/nas/dump/vzdump-qemu-{100 + number}-2024_02_29-13_05_09.vma.zst",
            "vmid": 100 + number, "state": state, "announced": True, "queued_at": ago(HOUR), "attempts": 0, "failed_attempts": 0,
            "run_again": False, **fields}


def status(active=(), recent=(), totals=None, more=None, waiting_jobs=(), archives=None, verify=None, **counts):
    """`more`: what is not always there; `verify`: counts of verify jobs."""
    every = dict.fromkeys(("queued", "running", "publishing", "waiting", "done", "unchanged", "vanished",
                           "failed", "cancelled"), 0)
    ever = {"done": 0, "unchanged": 0, "vanished": 0, "failed": 0, "cancelled": 0, "bytes_before": 0,
            "bytes_after": 0, "durations": [0] * 10, "duration_seconds": 0, "counted": 0,
            "verify": dict.fromkeys(("good", "damaged", "failed", "vanished", "cancelled", "bytes",
                                     "duration_seconds"), 0)}
    known = {"known": 0, "unverified": 0, "damaged": 0, "unacknowledged": 0, "overdue": 0}
    return {"version": "0.1.0", "pid": 4711, "started_at": ago(3 * HOUR), "state_dir": "/var/lib/vmad",
            "workers": 2, "directories": [], "counts": {**every, **counts},
            "verify_counts": {**every, **(verify or {})}, "archives": {**known, **(archives or {})}, "totals": {**ever, **(totals or {})},
            "active": list(active), "waiting": list(waiting_jobs), "recent": list(recent), **(more or {})}


def replies_of(jobs):
    """What List and Wait reply for these jobs."""
    return [{"parameters": {"job": each}} for each in jobs] or [{"parameters": {}}]


class QueueCommandTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.socket = self.dir / "socket"
        self.environment["VMAD_SOCKET"] = str(self.socket)

    def archive(self):
        """One that may be queued."""
        path = self.dir / "x.vma"
        shutil.copyfile(OFFICIAL / "a-one-disk.vma", path)
        return path

    def daemon(self, answer):
        daemon = MadeUpDaemon(self.socket, answer)
        self.addCleanup(daemon.close)
        return daemon

    def daemon_that_replies(self, *replies):
        return self.daemon(lambda call: list(replies))

    def daemon_that_waits(self):
        """One that never answers."""
        return self.daemon(lambda call: [])

    def daemon_with(self, jobs, its_status):
        """Answers List and Status."""
        def answer(call):
            if call["method"] == QUEUE + "Status":
                return [{"parameters": {"status": its_status}}]
            states = call["parameters"].get("states")
            return replies_of([each for each in jobs if not states or each["state"] in states])
        return self.daemon(answer)

    def assert_fits(self, text, columns=80):
        self.assertLessEqual(max(map(len, text.splitlines()), default=0), columns, text)
