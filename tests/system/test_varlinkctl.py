"""The socket as varlinkctl of systemd knows it: a client that we did not write. From systemd 255 on."""

import json
import unittest

from system_test import SUITE, SystemTest

SOCKET = "/run/vmad/vmad.sock"


@unittest.skipIf(SUITE == "bookworm", "its systemd has no varlinkctl")
class VarlinkctlTest(SystemTest):
    def varlinkctl(self, *arguments):
        return self.box.output("varlinkctl", *arguments)

    def test_info(self):
        info = self.varlinkctl("info", SOCKET)
        self.assertIn("Product: vmad", info)
        self.assertIn("org.vmad.Queue", info)
        self.assertIn("org.varlink.service", info)

    def test_introspect(self):
        text = self.varlinkctl("introspect", SOCKET, "org.vmad.Queue")
        for method in ("Enqueue", "List", "Show", "Status", "Wait", "Monitor", "Cancel", "Retry", "Pause", "Resume",
                       "Reload"):
            self.assertRegex(text, rf"(?m)^method {method} ?\(")

    def test_call(self):
        path = self.archive(100)
        number = self.add(path)
        self.assertEqual(self.wait_for_job(path)["state"], "done")
        self.assertEqual(json.loads(self.varlinkctl("call", "--json=short", SOCKET, "org.vmad.Queue.Show",
                                                    json.dumps({"id": number})))["job"]["path"], path)
        listed = self.varlinkctl("call", "--more", "--json=short", SOCKET, "org.vmad.Queue.List", "{}")
        replies = [json.loads(line.lstrip("\x1e")) for line in listed.splitlines() if line.strip("\x1e \n")]
        self.assertIn(number, [reply["job"]["id"] for reply in replies if "job" in reply])

    def test_error(self):
        result = self.box.run("varlinkctl", "call", SOCKET, "org.vmad.Queue.Show", '{"id": 4711}')
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("org.vmad.Queue.NoSuchJob", result.stdout)


if __name__ == "__main__":
    unittest.main()
