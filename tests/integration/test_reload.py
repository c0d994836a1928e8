"""The daemon's settings while it runs, what it tells the service manager, and the socket that it is given."""

import signal
import socket
import unittest

from daemon_process import DaemonTest
from service_manager import ServiceManager
from varlink_client import VarlinkError


class ReloadTest(DaemonTest):
    def status(self, daemon):
        with daemon.client() as client:
            return client.call("org.vmad.Queue.Status")["status"]

    def reload(self, daemon):
        with daemon.client() as client:
            return client.call("org.vmad.Queue.Reload")

    def test_valid_settings_take_effect_and_the_manager_is_told(self):
        with ServiceManager(self.dir) as manager:
            daemon = self.start(environment=manager.environment)
            manager.hear("READY=1")
            for workers, reload in ((3, lambda: self.vmactl("reload")),
                                    (4, lambda: self.reload(daemon)),
                                    (5, lambda: daemon.process.send_signal(signal.SIGHUP))):
                self.write_settings(workers=workers)
                reload()
                manager.hear("RELOADING=1")
                manager.hear(lambda line: line.startswith("MONOTONIC_USEC="))
                manager.hear("READY=1")
                self.assertEqual(self.status(daemon)["workers"], workers)

    def test_invalid_settings_are_refused_whole(self):
        self.write_settings(workers=3)
        with ServiceManager(self.dir) as manager:
            daemon = self.start(environment=manager.environment)
            manager.hear("READY=1")
            self.config.write_text(f'socket = "{self.socket}"\nworkers = 9\nthreads = "many"\n')
            message = f'{self.config}:3:11: threads is a string; write an integer from 0 to 64'
            with self.assertRaises(VarlinkError) as raised:
                self.reload(daemon)
            self.assertEqual((raised.exception.name, raised.exception.parameters),
                             ("org.vmad.Queue.InvalidSettings", {"reason": message}))
            manager.hear("READY=1")
            code, output, error = self.vmactl("reload")
            self.assertEqual((code, output), (1, ""))
            self.assertIn(message, error)
            daemon.process.send_signal(signal.SIGHUP)
            manager.hear("READY=1")
            manager.hear("READY=1")
            self.assertEqual(self.status(daemon)["workers"], 3)
            self.assertEqual(daemon.log.read_text().count(message), 3)

    def test_what_needs_a_restart_is_told(self):
        daemon = self.start()
        self.write_settings(socket=str(self.dir / "other.sock"), workers=2)
        self.assertEqual(self.reload(daemon)["warnings"], ["socket takes effect only after a restart of vmad"])
        self.assertEqual(self.status(daemon)["workers"], 2)

    def test_all_the_files(self):
        root = self.dir / "root"
        for path, text in (("usr/lib/vmad/vmad.toml", "workers = 2\nthreads = 2\n"),
                           ("etc/pve/vmad.toml", f'workers = 3\nof_a_newer_version = 1\nstate_dir = "{self.state}"\n'),
                           ("etc/vmad/vmad.toml", f'socket = "{self.socket}"\nzstd_level = 5\n'),
                           ("etc/vmad/vmad.toml.d/10-a.toml", "workers = 4\n"),
                           ("etc/vmad/vmad.toml.d/20-b.toml", "workers = 5\n")):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        daemon = self.start(arguments=(), environment={"VMAD_ROOT": str(root)})
        self.assertEqual(self.status(daemon)["workers"], 5)
        self.assertIn("of_a_newer_version", daemon.log.read_text())
        (root / "etc/vmad/vmad.toml.d/20-b.toml").unlink()
        self.reload(daemon)
        self.assertEqual(self.status(daemon)["workers"], 4)

    def test_the_manager_s_socket_is_found_by_its_name(self):
        for name, path in (("varlink", self.dir / "passed.sock"), ("other", self.socket)):
            with self.subTest(name=name), socket.socket(socket.AF_UNIX) as listening:
                passed = self.dir / "passed.sock"
                listening.bind(str(passed))
                listening.listen()
                self.socket = path
                # The first descriptor that is passed has the number 3.
                script = f'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name}; exec "$@" 3<&{listening.fileno()}'
                daemon = self.start(wrapper=("sh", "-c", script, "sh"), pass_fds=(listening.fileno(),))
                self.assertEqual(self.status(daemon)["pid"], daemon.pid)
                self.assertEqual(daemon.stop(), 0)
                # The manager's own socket stays, for the next start.
                self.assertTrue(passed.exists())
                passed.unlink()

    def test_the_watchdog_is_fed(self):
        with ServiceManager(self.dir) as manager:
            daemon = self.start(environment={**manager.environment, "WATCHDOG_USEC": "400000"})
            manager.hear("READY=1")
            for _ in range(3):
                manager.hear("WATCHDOG=1")
            # Stopped, it feeds nothing.
            daemon.process.send_signal(signal.SIGSTOP)
            manager.socket.settimeout(1)
            with self.assertRaises(TimeoutError):
                for _ in range(5):
                    manager.hear("WATCHDOG=1")


if __name__ == "__main__":
    unittest.main()
