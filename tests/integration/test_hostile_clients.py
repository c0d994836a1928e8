"""64 clients that run into the limits of the server at once, and the others are answered, and answered right."""

import json
import os
import pathlib
import re
import shutil
import socket
import unittest

from daemon_process import NOBODY, PATIENCE, DaemonTest, needs_root, wait_until
from hostile_clients import HostileClients

QUEUE = "org.vmad.Queue"
ROUNDS = 5
# A message each of all of them, several times over, and the daemon itself.
MOST_MEMORY_KIB = 128 << 10


def descriptors_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def most_memory_kib(pid):
    return int(re.search(r"^VmHWM:\s+(\d+) kB$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])


class HostileClientsTest(DaemonTest):
    def test_others_are_served(self):
        self.daemon = self.start()
        before = descriptors_of(self.daemon.pid)  # or one more: that of the first client may not be closed yet
        archive = self.archive()
        self.source = self.dir / "source.vma"
        self.source.write_bytes(archive.new)
        with HostileClients(self.socket) as hostile:
            wait_until(lambda: descriptors_of(self.daemon.pid) > before + 30, "the hostile clients are there")
            # Nothing lies there but the archives that vmactl has looked at: the others vanish as soon as they run.
            paths = [str(self.dump / f"{kind}-{number}.vma") for number in range(ROUNDS)
                     for kind in ("added", "enqueued")]
            paths.insert(ROUNDS, str(archive.path))
            ids = {path: self.queue(path) for path in paths}
            self.assertEqual(sorted(ids.values()), list(range(1, len(paths) + 1)))
            ended = {path: self.daemon.wait(job_id)["state"] for path, job_id in ids.items()}
            expected = {path: "vanished" if "enqueued" in path else "unchanged" for path in paths}
            expected[str(archive.path)] = "done"
            self.assertEqual(ended, expected)
            self.assert_status(done=1, unchanged=ROUNDS, vanished=ROUNDS)
            self.assertTrue(hostile.are_alive())
        wait_until(lambda: descriptors_of(self.daemon.pid) <= before, "no client is left")
        self.assertLess(most_memory_kib(self.daemon.pid), MOST_MEMORY_KIB)
        for path in paths:
            if "added" in path:
                os.remove(path)
        self.assert_canonical(archive)
        jobs = self.daemon.jobs()
        self.assertEqual([(job["path"], job["id"]) for job in jobs], list(ids.items()))
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(self.start().jobs(), jobs)

    def queue(self, path):
        """The new job's id, asked for in one of the ways."""
        if "added" in path:
            shutil.copyfile(self.source, path)
            code, output, messages = self.vmactl("--json", "add", path)
            self.assertEqual((code, messages), (0, ""))
            job = json.loads(output)["job"]
        else:
            with self.daemon.client() as client:
                client.socket.settimeout(PATIENCE)
                job = client.call(f"{QUEUE}.Enqueue", path=path, announced=True)["job"]
        self.assertEqual(job["path"], path)
        shown = self.daemon.job(job["id"])
        self.assertEqual((shown["id"], shown["path"]), (job["id"], path))
        return job["id"]

    def assert_status(self, **counts):
        code, output, messages = self.vmactl("--json", "status")
        self.assertEqual((code, messages), (0, ""))
        status = json.loads(output)
        self.assertEqual(status["pid"], self.daemon.pid)
        self.assertEqual({state: count for state, count in status["counts"].items() if count}, counts)

    @needs_root
    def test_another_user_is_refused_whatever_the_mode_of_the_socket(self):
        self.daemon = self.start()
        os.chmod(self.socket, 0o666)
        for _ in range(20):
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(self.socket))
                    os.write(writer, client.recv(65536) + client.recv(65536))
                os._exit(0)
            os.close(writer)
            with open(reader, "rb") as answer:
                self.assertEqual(answer.read(),
                                 b'{"error":"org.varlink.service.PermissionDenied","parameters":{}}\0')
            os.waitpid(child, 0)
        self.assertEqual(self.daemon.jobs(), [])


if __name__ == "__main__":
    unittest.main()
