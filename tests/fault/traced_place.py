"""An archive, and a daemon whose system calls, or those of its workers, meet faults: what tests by call-tracer share.

    with Place.temporary() as place:
        place.run_daemon("worker")            # or "command": the daemon itself
        place.reset()                         # the archive as it was dumped
        place.tracer.plan("pause renameat2 1")
        job = place.daemon.add(place.path)
        if "at" in place.tracer.report():     # the worker halts before the call; otherwise it has ended
            ...                               # act
            place.tracer.go_on()
        place.wait(job)

call_tracer.cpp describes the rules of a plan. A part of a test is a Part; process_calls.py runs them. A program that
needs the tracer begins with skip_without_tracer().
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import storages  # noqa: E402
from daemon_process import ENDS, Archive, Daemon, parent_of, state_of, wait_until  # noqa: E402
from support import BUILD, VMACHECK, make_old  # noqa: E402
from varlink_client import VarlinkError  # noqa: E402

TRACER = BUILD / "tests/fault/call-tracer"
PATIENCE = 120
SKIPPED = 77
GOOD = ("done", "unchanged")
# As vzdump runs them.
PACKERS = {".zst": ("zstd", "-q", "--threads=2"), ".gz": ("gzip", "--rsyncable"), ".lzo": ("lzop",)}


def why_not():
    """Why nobody can be traced here, or None."""
    if os.geteuid() != 0:
        return "only root can trace a daemon as it runs"
    try:
        found = subprocess.run([TRACER, "command", "/bin/true"], input=b"\n", capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "nobody can be traced: call-tracer hangs"
    with contextlib.suppress(ValueError, KeyError):
        if found.returncode == 0 and json.loads(found.stdout)["calls"]:
            return None
    said = found.stderr.decode(errors="replace").strip()
    return f"nobody can be traced: {said or 'the kernel tells of no system call'}"


def skip_without_tracer():
    reason = why_not()
    if reason is not None:
        print(reason, file=sys.stderr)
        sys.exit(SKIPPED)


class Broken(Exception):
    """What a round has shown that must not be."""


def demand(condition, sentence):
    if not condition:
        raise Broken(sentence)


@contextlib.contextmanager
def may_die():
    """Of the daemon: that it does, or reports an error. That it hangs is another matter."""
    try:
        yield
    except TimeoutError as error:
        raise Broken("the daemon does not answer") from error
    except (OSError, EOFError, VarlinkError):
        pass
    except AssertionError as error:
        if not str(error).startswith("the daemon ended"):
            raise


class Tracer:
    """The two pipes of a call-tracer; see there."""

    def __init__(self):
        self.plan_end, self.plans = os.pipe()
        self.reports, self.report_end = os.pipe()
        fcntl.fcntl(self.reports, fcntl.F_SETPIPE_SZ, 1 << 20)  # a report never waits for its reader
        os.set_blocking(self.plan_end, True)
        self.buffer = b""
        self.serial = 0

    def wrapper(self, watches):
        """To be put before a command; its pass_fds are `ends`."""
        return ("sh", "-c", f'exec "$0" "$@" </dev/fd/{self.plan_end} >/dev/fd/{self.report_end}', TRACER, watches)

    @property
    def ends(self):
        return self.plan_end, self.report_end

    def plan(self, *rules):
        """Rules for the next processes, one each. Earlier ones are taken back, and what they led to is forgotten."""
        self.take_back()
        self.serial += 1
        for rule in rules:
            os.write(self.plans, f"{rule};round - {self.serial}\n".encode())

    def go_on(self):
        os.write(self.plans, b"\n")

    def take_back(self):
        """How many plans nobody has taken."""
        if not select.select([self.plan_end], [], [], 0)[0]:
            return 0
        return os.read(self.plan_end, 65536).count(b"\n")

    def report(self, seconds=PATIENCE):
        """The next one of a process that had a plan."""
        end = time.monotonic() + seconds
        while True:
            while b"\n" not in self.buffer:
                if not select.select([self.reports], [], [], max(0.0, end - time.monotonic()))[0]:
                    raise Broken("nothing more is heard of the process")
                self.buffer += os.read(self.reports, 65536)
            line, self.buffer = self.buffer.split(b"\n", 1)
            report = json.loads(line)
            if report["plan"].endswith(f";round - {self.serial}"):
                return report


def descendants(pid):
    children = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and parent_of(entry) == pid]
    return [*children, *(below for child in children for below in descendants(child))]


def can_hold():
    """Whether /dev/shm takes a few archives."""
    with contextlib.suppress(OSError):
        found = os.statvfs("/dev/shm")
        return found.f_bavail * found.f_frsize > 256 << 20
    return False


class Place(storages.Site):
    """An archive, and a daemon that may be traced."""

    def __init__(self, directory):
        (directory / "storage").mkdir()
        super().__init__(directory, storages.Storage(directory / "storage"))
        self.state = directory / "state"
        self.tracer = Tracer()
        self.cleanup = contextlib.ExitStack()
        self.other = Archive(directory / "made/y.vma", seed=2, disk="drive-scsi0=4M")
        self.check_independently()
        self.raw = (self.path, self.archive.old)
        self.clean_state = None
        self.use()

    @classmethod
    @contextlib.contextmanager
    def temporary(cls):
        """In memory where that can be: workers are the last ones to get their turn at a disk."""
        with tempfile.TemporaryDirectory(prefix="vmad-test-", dir="/dev/shm" if can_hold() else None) as directory:
            place = cls(pathlib.Path(directory))
            with place.cleanup:
                place.cleanup.callback(place.kill)
                yield place

    def check_independently(self):
        """Both contents are one guest for a reader that shares no code with this project."""
        guests = []
        for content in (self.archive.old, self.archive.new):
            self.path.write_bytes(content)
            found = subprocess.run([sys.executable, VMACHECK, "--json", self.path], check=True, capture_output=True)
            archive = json.loads(found.stdout)
            guests.append((archive["configs"], {name: disk["digest"] for name, disk in archive["devices"].items()}))
        demand(guests[0] == guests[1], "the two contents are different guests")

    def use(self, ending=""):
        """An archive of this format: "", or one that vzdump compresses with a program. Looked at is what is in it:
        the compressed form need not be the same each time."""
        path, stored = self.raw
        self.path = path.with_name(path.name + ending)
        self.packer = PACKERS.get(ending)
        self.stored = stored
        if self.packer is not None:
            self.stored = subprocess.run(self.packer, input=stored, check=True, capture_output=True).stdout

    def run_daemon(self, watches=None, **settings):
        self.kill()
        if watches is None:
            self.daemon = Daemon(self, **settings)
        else:
            self.daemon = Daemon(self, wrapper=self.tracer.wrapper(watches), pass_fds=self.tracer.ends)

    def forget(self):
        """An empty state directory, and the archive as it was dumped."""
        self.kill()
        shutil.rmtree(self.state)
        self.state.mkdir()
        self.reset()

    def reset(self):
        super().reset()
        self.path.write_bytes(self.stored)
        make_old(self.path)  # for vmactl, to which nobody has announced it

    def kill(self):
        """The daemon, and its workers, which must not meet the next round."""
        pids = descendants(self.daemon.process.pid) if self.daemon is not None and self.daemon.is_running() else []
        super().kill()
        for pid in pids:
            wait_until(lambda pid=pid: state_of(pid) in (None, "Z"), f"process {pid} dies with the daemon")

    def content(self):
        """What is in the archive; nothing when it is not whole, or not there."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        if self.packer is None:
            return content
        found = subprocess.run([self.packer[0], "-d", "-c"], input=content, check=False, capture_output=True)
        return found.stdout if found.returncode == 0 else None

    def demand_whole(self):
        demand(self.content() in (self.archive.old, self.archive.new), "the archive is neither the old nor the new one")

    def state_names(self):
        """Those of all jobs alike, without what may stay: counters, empty locks, and what is removed a day later."""
        names = {re.sub(r"\b[0-9a-f]+\b", "N", str(entry.relative_to(self.state))) for entry in self.state.rglob("*")}
        return names - {"totals.json", "locks/N-N", "regions/.vmad-N.tmp"}

    def demand_clean(self, content):
        demand(self.content() == content, "the archive is not the new one")
        demand(not self.left_over(), f"left beside the archive: {self.left_over()}")
        extra = self.state_names() - self.clean_state
        demand(not extra, f"left in the state directory: {sorted(extra)}")

    def wait(self, job, states=ENDS):
        return self.daemon.wait(job, (*states, "waiting"), seconds=PATIENCE)

    def drive(self, job, states=GOOD):
        """What an administrator does in the end: he tries again."""
        found = self.wait(job)
        for _ in range(3):
            if found["state"] in states:
                return
            demand(found.get("reason"), f"{found['state']} without a reason")
            with self.daemon.client() as client:
                client.call("org.vmad.Queue.Retry", id=job)
            found = self.wait(job)
        demand(found["state"] in states, f"in the end {found['state']}: {found.get('reason')}")


class Part:
    """Rounds of one kind: prepare() returns the cases, made of the `calls` of an undisturbed run; round() does one, and
    returns whether its call was met."""

    def __init__(self, place):
        self.place = place
        self.calls = {}

    def prepare(self):
        raise NotImplementedError

    def round(self, case):
        raise NotImplementedError
