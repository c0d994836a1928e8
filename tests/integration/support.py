"""What the process tests share: where the programs are, how they are run, and archives to run them on.

VMAD_BUILD names the build directory. VMAD_INSTALLED, if set, is a directory with an unpacked package, whose programs
are tried instead. Only the standard library is used.
"""

import atexit
import hashlib
import json
import os
import pathlib
import pty
import shutil
import subprocess
import tempfile
import termios
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VMAD_BUILD", SOURCE / "build")).resolve()


def for_everybody(program):
    """The program, or a copy of it where plain users may run it: a checkout may lie in root's own directory."""
    if all(parent.stat().st_mode & 0o001 for parent in program.parents):
        return program
    directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-"))
    atexit.register(shutil.rmtree, directory)
    directory.chmod(0o755)
    return pathlib.Path(shutil.copy(program, directory))


def program(built, installed):
    """Where a program is that is to be tried."""
    root = os.environ.get("VMAD_INSTALLED")
    return pathlib.Path(root).resolve() / installed if root else BUILD / built


VMACTL = for_everybody(program("src/ctl/vmactl", "usr/bin/vmactl"))
VMAD = program("src/daemon/vmad", "usr/sbin/vmad")
VMAD_MOUNT = program("src/mount/vmad-mount", "usr/lib/vmad/vmad-mount")
VMA_GENERATE = BUILD / "tests/support/vma-generate"
OFFICIAL = SOURCE / "tests/data/official"
# A strict reader that shares no code with this project; not part of it, used where it is at hand.
VMACHECK = SOURCE / "tests/support/vmacheck.py"

# Far longer than anything takes: only a program that hangs meets it.
HANG_SECONDS = 120


def official_manifest():
    """What Proxmox's own tool restored from each sample, by file name."""
    return json.loads((OFFICIAL / "manifest.json").read_text())


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def generate(path, *arguments):
    """Writes an archive of a made-up guest; see vma-generate --help."""
    subprocess.run([VMA_GENERATE, path, *arguments], check=True, timeout=HANG_SECONDS)
    return pathlib.Path(path)


def damage_ids():
    listing = subprocess.run([VMA_GENERATE, "--list-damage"], check=True, stdout=subprocess.PIPE, text=True)
    return [line.split("\t")[0] for line in listing.stdout.splitlines()]


def make_old(path):
    """As if it had been written an hour ago."""
    then = time.time() - 3600
    os.utime(path, (then, then))


def wait_for(condition):
    """Polls until condition() is true, and returns what it returned."""
    end = time.monotonic() + HANG_SECONDS
    while time.monotonic() < end:
        if result := condition():
            return result
        time.sleep(0.005)
    raise AssertionError("it did not happen")


def unnamed_file_size(process):
    """The size of the unlinked file that the process has open; 0 when there is none."""
    for entry in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            status = entry.stat()
        except OSError:
            continue
        if status.st_nlink == 0 and status.st_size > 0:
            return status.st_size
    return 0


class ProcessTest(unittest.TestCase):
    """A test with a directory of its own, self.dir, and an environment that says nothing by chance."""

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.dir), "XDG_CACHE_HOME": str(self.dir / "cache"), "TZ": "UTC", "LC_ALL": "C.UTF-8",
                            "VMAD_MOUNT": str(VMAD_MOUNT)}
        # Sanitizers are told by the environment what to do.
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    def names(self, directory=None):
        """Names in a directory, hidden ones included."""
        return sorted(os.listdir(directory or self.dir))

    def vmactl(self, *arguments, **options):
        """Runs it to its end; stdout and stderr are text."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": self.environment, **options}
        return subprocess.run([VMACTL, *arguments], text=True, errors="surrogateescape",
                              stdin=subprocess.DEVNULL, timeout=HANG_SECONDS, **options)

    def start_vmactl(self, *arguments):
        process = subprocess.Popen([VMACTL, *arguments], text=True, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def succeed(self, *arguments, **options):
        """Runs it, demands that it succeeds without a message, and returns its output."""
        result = self.vmactl(*arguments, **options)
        self.assertEqual((result.returncode, result.stderr), (0, ""), result)
        return result.stdout

    def succeed_json(self, *arguments):
        """The same for --json: one value a line."""
        return [json.loads(line) for line in self.succeed("--json", *arguments).splitlines()]

    def refuse(self, code, *arguments, **options):
        """Runs it, demands this exit code and no output, and returns its message without the prefix."""
        result = self.vmactl(*arguments, **options)
        self.assertEqual((result.returncode, result.stdout), (code, ""), result)
        self.assertTrue(result.stderr.startswith("vmactl: ") and result.stderr.endswith("\n"), result)
        self.assertEqual(result.stderr.count("\n"), 1, result)
        return result.stderr[len("vmactl: "):-1]

    def vmactl_on_terminal(self, *arguments, columns=80):
        """Runs it on a terminal of this width; returns its exit code and all that the terminal got."""
        try:
            leader, follower = pty.openpty()
        except OSError as error:  # a chroot without /dev/pts
            self.skipTest(f"there are no terminals here: {error}")
        termios.tcsetwinsize(follower, (24, columns))
        environment = {"TERM": "xterm", **self.environment}
        with subprocess.Popen([VMACTL, *arguments], stdin=follower, stdout=follower, stderr=follower,
                              env=environment) as process:
            os.close(follower)
            output = b""
            while True:
                try:
                    block = os.read(leader, 65536)
                except OSError:  # EIO: the last one that had the terminal open is gone
                    break
                output += block
            os.close(leader)
            return process.wait(HANG_SECONDS), output.decode()


def run_as_nobody():
    """Options for a process without root's rights, when we have them ourselves."""
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
