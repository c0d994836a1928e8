"""A daemon of its own for each test: its directories, its life, and archives to feed it.

With `injections` the daemon and its workers run under strace, which stops or kills a process at a chosen system
call (strace(1), --inject): what names the archive or its directory is counted, and nothing else.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from support import SOURCE, VMACTL, VMAD, generate
from varlink_client import VarlinkClient

HOOK = SOURCE / "hook/vzdump-hook"
ANNOUNCE = SOURCE / "hook/vzdump-announce"

ENDS = ("done", "unchanged", "vanished", "failed", "cancelled")
NOBODY = 65534
# Wraps a command of root's: permissions hold for it as for everybody.
WITHOUT_OVERRIDE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
# Only so that a test ends when something hangs: nothing is said about how fast things are.
PATIENCE = 180

needs_root = unittest.skipUnless(os.geteuid() == 0, "only root can set this up")
needs_strace = unittest.skipUnless(shutil.which("strace"), "strace is not installed")


def wait_until(condition, what, seconds=PATIENCE):
    """The first value of condition() that is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds} s it did not happen: {what}")
        time.sleep(0.02)


def digest_of(path):
    """What the guest in a valid archive is; the archive must be canonical."""
    result = subprocess.run([VMACTL, "--json", "verify", path], stdout=subprocess.PIPE, timeout=PATIENCE)
    verdict = json.loads(result.stdout)
    assert verdict["result"] == "valid" and verdict["canonical"], verdict
    return verdict["digest"]


class Archive:
    """A made-up backup, with the bytes that it has and that it is to have."""

    def __init__(self, path, seed=1, disk="drive-scsi0=2M"):
        self.path = path
        reference = path.parent.parent / f"reference-{path.name}"
        generate(path, "--disk", disk, "--guest-seed", str(seed), "--reference", reference)
        self.old = path.read_bytes()
        self.new = reference.read_bytes()
        reference.unlink()
        assert self.old != self.new

    def content(self):
        return self.path.read_bytes()


class Daemon:
    """A running vmad. The caller ends it by stop() or kill()."""

    def __init__(self, sandbox, injections=(), watched=(), wrapper=(), environment=None, arguments=None, pass_fds=()):
        self.socket = sandbox.socket
        self.trace = sandbox.dir / "trace"
        self.log = sandbox.dir / "log"
        command = [*wrapper, VMAD, *(("--config", sandbox.config) if arguments is None else arguments)]
        if injections:
            calls = ",".join(sorted({text.split(":")[0] for text in injections}))
            command = ["strace", "-D", "-f", "-o", self.trace, "-e", f"trace={calls}",
                       *(f"--trace-path={path}" for path in watched),
                       *(f"--inject={text}" for text in injections), *command]
            self.trace.unlink(missing_ok=True)
        # Not even a test that is killed leaves a daemon behind.
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, **(environment or {})},
                                            pass_fds=pass_fds)
        try:
            wait_until(self.answers, "the daemon answers")
        except BaseException:
            self.kill()
            raise
        self.pid = self.process.pid

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended: {self.log.read_text()}")
        try:
            with self.client() as client:
                return client.call("org.varlink.service.GetInfo")
        except (OSError, EOFError):
            return None

    def client(self):
        return VarlinkClient(self.socket)

    def is_running(self):
        return self.process.poll() is None

    def kill(self):
        workers = self.workers()
        self.process.kill()
        self.process.wait(PATIENCE)
        for pid in workers:
            wait_until(lambda pid=pid: state_of(pid) in (None, "Z"), f"worker {pid} dies with the daemon")

    def stop(self):
        """The exit code after SIGTERM."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def workers(self):
        return [int(pid) for pid in os.listdir("/proc")
                if pid.isdigit() and parent_of(pid) == self.process.pid]

    def stopped_worker(self):
        """Waits for a worker that an injected SIGSTOP has stopped."""
        def find():
            stopped = re.findall(r"^(\d+) +--- stopped by SIGSTOP", self.trace.read_text(), re.M)
            return next((pid for pid in self.workers() if str(pid) in stopped), None)
        return wait_until(find, "a worker is stopped")

    def add(self, path, announced=True):
        with self.client() as client:
            return client.call("org.vmad.Queue.Enqueue", path=str(path), announced=announced)["job"]["id"]

    def job(self, job_id):
        with self.client() as client:
            return client.call("org.vmad.Queue.Show", id=job_id)["job"]

    def jobs(self):
        with self.client() as client:
            return [reply["job"] for reply in client.call_more("org.vmad.Queue.List") if "job" in reply]

    def wait(self, job_id, states=ENDS, go_on=False, seconds=PATIENCE):
        """The job when it is in one of `states`. `go_on`: stopped workers are continued all the time."""
        def reached():
            if go_on:
                for pid in self.workers():
                    send(pid, signal.SIGCONT)
            job = self.job(job_id)
            return job if job["state"] in states else None
        return wait_until(reached, f"job {job_id} is in one of {states}", seconds)


def stat_fields(pid):
    """What follows the name in /proc/PID/stat; nothing when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def parent_of(pid):
    fields = stat_fields(pid)
    return int(fields[1]) if fields else None


def state_of(pid):
    fields = stat_fields(pid)
    return fields[0] if fields else None


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class DaemonTest(unittest.TestCase):
    """Gives each test, and each subtest that asks, empty directories, and ends what it started."""

    def setUp(self):
        self.daemons = []
        self.make_directories()

    def tearDown(self):
        self.clean_up()

    def start_afresh(self):
        """For the next row of a table."""
        self.clean_up()
        self.make_directories()

    def make_directories(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="vmad-test-"))
        self.dir.chmod(0o755)
        self.dump = self.dir / "dump"
        self.dump.mkdir()
        self.state = self.dir / "state"
        self.state.mkdir()
        self.socket = self.dir / "vmad.sock"
        # With VMAD_ROOT, where vmactl finds it.
        self.config = self.dir / "etc/vmad/vmad.toml"
        self.config.parent.mkdir(parents=True)
        self.write_settings()

    def clean_up(self):
        for daemon in self.daemons:
            if daemon.is_running():
                daemon.kill()
        self.daemons.clear()
        shutil.rmtree(self.dir)

    def write_settings(self, *directories, **settings):
        values = {"socket": str(self.socket), "state_dir": str(self.state),
                  "directories": [str(directory) for directory in directories or (self.dump,)], **settings}
        self.config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))

    def start(self, injections=(), watched=(), **options):
        self.daemons.append(Daemon(self, injections, watched, **options))
        return self.daemons[-1]

    def start_watched(self, archive, *injections):
        """Under strace, which counts the calls on the archive and its directory."""
        return self.start(injections, (archive.path, archive.path.parent))

    def archive(self, vmid=100, **options):
        return Archive(self.dump / f"vzdump-qemu-{vmid}-2026_01_01-02_00_00.vma", **options)

    def vmactl(self, *arguments):
        """The exit code, the output and the messages."""
        result = subprocess.run([VMACTL, "--socket", self.socket, *arguments], text=True,
                                capture_output=True, timeout=PATIENCE)
        return result.returncode, result.stdout, result.stderr

    def run_hook(self, target, *arguments, **environment):
        """The exit code and the output of the hook, called as vzdump calls it."""
        result = subprocess.run(self.hook_command(target, *arguments, **environment), env={},
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE)
        return result.returncode, result.stdout

    def hook_command(self, target, *arguments, **environment):
        values = {"LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1", "STOREID": "local", "DUMPDIR": self.dump, "VMTYPE": "qemu", "HOSTNAME": "guest",
                  "TARGET": target, "LOGFILE": self.dir / "vzdump.log", "VMAD_ANNOUNCE": ANNOUNCE,
                  "VMAD_VMACTL": VMACTL, "VMAD_ROOT": self.dir, "VMAD_HOOK_D": self.dir / "hook.d", **environment}
        return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in values.items()), HOOK,
                *(arguments or ("backup-end", "snapshot", "100"))]

    def job_on_disk(self, job_id):
        return json.loads((self.state / f"queue/{job_id}.json").read_text())

    def assert_only(self, *archives):
        """Nothing lies in the dump directory but these."""
        self.assertEqual(sorted(entry.name for entry in self.dump.iterdir()),
                         sorted(archive.path.name for archive in archives))

    def assert_content(self, archive, *allowed):
        """Compared as a whole, but never printed."""
        self.assertTrue(archive.content() in allowed, f"{archive.path} holds something else")

    def assert_canonical(self, archive):
        self.assert_content(archive, archive.new)
        self.assert_only(archive)

    @staticmethod
    def tmpfs_with(archive, mount_point, size):
        """Wraps a daemon: gives it a storage in a mount namespace of its own, which ends with it."""
        if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise unittest.SkipTest("there are no mount namespaces here, as in a plain chroot")
        script = 'mount -t tmpfs -o size="$1" none "$2" && cp -p "$3" "$2" && shift 3 && exec "$@"'
        return ("unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh", size, mount_point,
                archive.path)

    @staticmethod
    def run_beside(daemon, *command):
        subprocess.run(["nsenter", "--mount", f"--target={daemon.pid}", *command], check=True, timeout=60)
