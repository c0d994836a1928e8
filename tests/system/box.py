"""A Debian under a real systemd, in which the package is installed: box.sh as an object."""

import os
import pathlib
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]

# Only so that a test ends when something hangs: nothing is said about how fast things are.
PATIENCE = 120

ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
               "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0", "DEBIAN_FRONTEND=noninteractive")


class Box:
    """Boots at once. What is changed in it outlives reboot(), and goes with close()."""

    def __init__(self, suite, packages):
        environment = {**os.environ, "SUITE": suite, "PKGS": ",".join(packages)}
        # Not even a test that is killed leaves a container or a mount behind.
        self.driver = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "setpriv", "--pdeathsig", "KILL", "bash",
             HERE / "box.sh"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.boot()

    def _say(self, command, answer):
        self.driver.stdin.write(command + "\n")
        self.driver.stdin.flush()
        line = self.driver.stdout.readline()
        if not line.startswith(answer):
            raise AssertionError(f"{command}: {line}{self.driver.stdout.read()}")
        return line.split()

    def boot(self):
        self.leader = int(self._say("boot", "booted")[1])

    def reboot(self):
        self._say("stop", "stopped")
        self.boot()

    def close(self):
        self.driver.stdin.close()
        self.driver.stdout.read()
        self.driver.stdout.close()
        self.driver.wait(PATIENCE)

    def command(self, *words):
        return ["nsenter", f"--target={self.leader}", "--all", "env", "-i", *ENVIRONMENT, *map(str, words)]

    def run(self, *words, **options):
        """Runs a program in it to its end; what it writes, messages included, is text."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, **options}
        return subprocess.run(self.command(*words), text=True, errors="replace", timeout=PATIENCE, check=False,
                              **options)

    def output(self, *words):
        """Demands that the program succeeds, and returns what it wrote."""
        result = self.run(*words)
        if result.returncode != 0:
            raise AssertionError(f"{words}: exit code {result.returncode}\n{result.stdout}")
        return result.stdout

    def shell(self, script):
        return self.output("sh", "-euc", script)

    def put(self, path, content, mode=0o644):
        """A file in it, with what a host's file (pathlib.Path) or a text holds."""
        inside = pathlib.Path(f"/proc/{self.leader}/root{path}")
        self.output("mkdir", "-p", pathlib.PurePath(path).parent)
        inside.write_bytes(content.read_bytes() if isinstance(content, pathlib.Path) else content.encode())
        inside.chmod(mode)

    def read(self, path):
        return pathlib.Path(f"/proc/{self.leader}/root{path}").read_text()

    def show(self, unit, field):
        """A property of a unit."""
        return self.output("systemctl", "show", "--property", field, "--value", unit).strip()

    def wait_until(self, condition, what):
        """The first value of condition() that is true."""
        end = time.monotonic() + PATIENCE
        while True:
            if value := condition():
                return value
            if time.monotonic() > end:
                raise AssertionError(f"in {PATIENCE} s it did not happen: {what}\n" + self.run(
                    "journalctl", "--no-pager", "--lines=40").stdout)
            time.sleep(0.1)
