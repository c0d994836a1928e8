"""The socket as any Varlink program sees it, and what broken or hostile clients can do to the others: nothing."""

import json
import unittest

from daemon_process import DaemonTest
from support import SOURCE
from varlink_client import VarlinkClient, VarlinkError

SERVICE = "org.varlink.service"
QUEUE = "org.vmad.Queue"


class ProtocolTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.daemon = self.start()
        self.client = self.daemon.client()
        self.addCleanup(self.client.socket.close)

    def assert_error(self, name, method, more=False, **parameters):
        with self.assertRaises(VarlinkError) as caught:
            if more:
                self.client.call_more(method, **parameters)
            else:
                self.client.call(method, **parameters)
        self.assertEqual(caught.exception.name, name)
        return caught.exception.parameters

    def test_introduction(self):
        info = self.client.call(f"{SERVICE}.GetInfo")
        self.assertEqual(info["product"], "vmad")
        self.assertEqual(sorted(info["interfaces"]), [SERVICE, QUEUE])
        description = self.client.call(f"{SERVICE}.GetInterfaceDescription", interface=QUEUE)["description"]
        self.assertEqual(description, (SOURCE / "src/api/org.vmad.Queue.varlink").read_text())

    def test_life_of_a_job(self):
        archive = self.archive()
        self.assertEqual(self.client.call_more(f"{QUEUE}.List"), [{}])
        self.assertEqual(self.client.call_more(f"{QUEUE}.Wait"), [{}])
        reply = self.client.call(f"{QUEUE}.Enqueue", path=str(archive.path), announced=True)
        self.assertTrue(reply["created"])
        job = reply["job"]
        self.assertEqual((job["id"], job["path"], job["announced"]), (1, str(archive.path), True))
        ended = self.client.call_more(f"{QUEUE}.Wait", ids=[1])
        self.assertEqual([reply["job"]["state"] for reply in ended], ["done"])
        ended = ended[0]["job"]
        self.assertEqual((ended["size_before"], ended["size_after"]), (len(archive.old), len(archive.new)))
        self.assertEqual(self.client.call(f"{QUEUE}.Show", id=1)["job"], ended)
        self.assertEqual(self.client.call_more(f"{QUEUE}.List", states=["done"]), [{"job": ended}])
        self.assertEqual(self.client.call_more(f"{QUEUE}.List", states=["queued"]), [{}])
        self.assertEqual(self.client.call_more(f"{QUEUE}.Wait", paths=[str(archive.path)]), [{"job": ended}])
        status = self.client.call(f"{QUEUE}.Status")["status"]
        self.assertEqual((status["pid"], status["counts"]["done"], status["recent"]),
                         (self.daemon.pid, 1, [ended]))

    def test_errors(self):
        self.assertEqual(self.assert_error(f"{SERVICE}.MethodNotFound", f"{QUEUE}.Explode"),
                         {"method": f"{QUEUE}.Explode"})
        self.assertEqual(self.assert_error(f"{SERVICE}.InterfaceNotFound", "org.example.Nothing.Do"),
                         {"interface": "org.example.Nothing"})
        self.assertEqual(self.assert_error(f"{QUEUE}.NoSuchJob", f"{QUEUE}.Show", id=7), {"id": 7})
        self.assertEqual(self.assert_error(f"{QUEUE}.NoSuchPath", f"{QUEUE}.Wait", more=True, paths=["/a"]),
                         {"path": "/a"})
        self.assert_error(f"{SERVICE}.ExpectedMore", f"{QUEUE}.List")
        for field, method, parameters in (("path", "Enqueue", {}),
                                          ("path", "Enqueue", {"path": 1}),
                                          ("announced", "Enqueue", {"path": "/a", "announced": "yes"}),
                                          ("surprise", "Enqueue", {"path": "/a", "surprise": 1}),
                                          ("id", "Show", {"id": "1"}),
                                          ("id", "Show", {"id": -1}),
                                          ("states", "List", {"states": ["flying"]})):
            with self.subTest(method=method, parameters=parameters):
                told = self.assert_error(f"{SERVICE}.InvalidParameter", f"{QUEUE}.{method}", method == "List",
                                         **parameters)
                self.assertEqual(told, {"parameter": field})
        for path in ("", "relative", "/etc/passwd", str(self.dump), f"{self.dump}2/a.vma", f"{self.dump}/\0",
                     f"{self.dump}/{'a' * 4096}", f"{self.dump}/.vmad-0123456789abcdef.tmp"):
            with self.subTest(path=path):
                told = self.assert_error(f"{QUEUE}.PathRefused", f"{QUEUE}.Enqueue", path=path)
                self.assertEqual(told["path"], path)
                self.assertTrue(told["reason"])
        self.assertEqual(self.daemon.jobs(), [])

    def test_path_that_is_not_utf_8(self):
        with self.daemon.client() as client:
            client.socket.sendall(b'{"method":"org.vmad.Queue.Enqueue","parameters":{"path":"/\xff"}}\0')
            self.assertTrue(client.is_closed())
        self.assert_serves()

    def test_broken_clients(self):
        deep = b"[" * 33 + b"]" * 33
        for name, data, last in (
                ("nothing", b"", True),
                ("empty message", b"\0", False),
                ("no JSON", b"GET / HTTP/1.1\r\n\r\n\0", False),
                ("no object", b"[]\0", False),
                ("no method", b"{}\0", False),
                ("method of a wrong type", b'{"method":1}\0', False),
                ("parameters of a wrong type", b'{"method":"org.vmad.Queue.Status","parameters":[]}\0', False),
                ("half a message", b'{"method":"org.vmad.Queue.Sta', True),
                ("a call, then garbage", b'{"method":"org.varlink.service.GetInfo"}\0\xff\0', False),
                ("too deep", b'{"method":"org.vmad.Queue.Status","parameters":{"a":' + deep + b"}}\0", False),
                ("a MiB of [", b"[" * (1 << 20) + b"\0", False),
                ("no end", b" " * ((1 << 20) + 1), False)):
            with self.subTest(name):
                with self.daemon.client() as client:
                    try:
                        client.socket.sendall(data)
                        if last:
                            client.socket.shutdown(1)
                    except (BrokenPipeError, ConnectionResetError):
                        pass  # dropped already
                    self.assertTrue(client.is_closed())
                self.assert_serves()

    def test_client_that_never_reads(self):
        client = VarlinkClient(self.socket, timeout=1)
        self.addCleanup(client.socket.close)
        call = json.dumps({"method": f"{SERVICE}.GetInterfaceDescription",
                           "parameters": {"interface": QUEUE}}).encode() + b"\0"
        try:
            for _ in range(10000):
                client.socket.sendall(call)
        except OSError:
            pass  # the daemon reads no more of it, or has dropped it
        self.assert_serves()

    def test_more_clients_than_there_may_be(self):
        clients = []
        try:
            for _ in range(200):
                clients.append(self.daemon.client())
            closed = 0
            for client in clients:
                client.socket.settimeout(60)
                try:
                    client.call(f"{SERVICE}.GetInfo")
                except (EOFError, OSError):
                    closed += 1
            self.assertEqual(closed, 200 - 127)  # the one of setUp is the 128th
        finally:
            for client in clients:
                client.socket.close()
        self.assert_serves()

    def assert_serves(self):
        """The client that was there before, and a new one."""
        self.client.call(f"{SERVICE}.GetInfo")
        code, _, messages = self.vmactl("status")
        self.assertEqual((code, messages), (0, ""))


if __name__ == "__main__":
    unittest.main()
