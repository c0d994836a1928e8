"""Those who do something to an archive while a worker publishes it.

Each has act(), when the worker halts at a system call, and check(), when the job has ended or waits. What a rival
wrote, removed, moved or put there must be as he left it then; or he met the published archive, as a whole.
"""

import contextlib
import os
import pathlib
import subprocess
import threading
import time

from daemon_process import PATIENCE, wait_until
from support import VMACTL, VMAD
from traced_place import demand

TAIL = b"more"
WRITERS_CALLS = ("2", "76", "257")  # open, truncate, openat of x86_64


class Actor(threading.Thread):
    """Does something that may have to wait for the end of a lease: begin() returns when it is done, or waits."""

    def __init__(self, action):
        super().__init__(daemon=True)
        self.action = action
        self.result = self.error = None

    def run(self):
        try:
            self.result = self.action()
        except OSError as error:
            self.error = error

    def begin(self):
        self.start()
        wait_until(lambda: not self.is_alive() or self.sleeps_in_kernel(), "somebody has acted, or waits", PATIENCE)

    def sleeps_in_kernel(self):
        with contextlib.suppress(OSError):
            # Waiting for the interpreter's lock is a futex.
            task = pathlib.Path(f"/proc/self/task/{self.native_id}")
            where = (task / "wchan").read_text()
            if where != "0":
                return "lease" in where
            # It runs, or the kernel does not tell: then at least the call.
            return (task / "syscall").read_text().split()[0] in WRITERS_CALLS
        return False

    def end(self):
        """What it returned. Long before the kernel breaks a lease that is kept for too long."""
        self.join(PATIENCE)
        demand(not self.is_alive(), "a lease was not given up")
        if self.error is not None:
            raise self.error
        return self.result


class Rival:
    """`leaves`: whether the archive is still, or in the end, that of the job."""

    leaves = True
    ways = ("exchange", "rename", "named", "bare")

    @classmethod
    def why_not(cls, place):
        """Why it cannot be tried on the file system of the archive, or None."""

    def __init__(self, place):
        self.place = place
        self.path = place.path
        self.versions = (place.archive.old, place.archive.new)

    def act(self):
        raise NotImplementedError

    def check(self, job):
        pass

    def finish(self):
        """When the job is driven to its end."""

    def demand_content(self, contents, sentence):
        demand(self.place.content() in contents, sentence)

    @staticmethod
    def demand_state(job, *states):
        demand(job["state"] in states, f"{job['state']}: {job.get('reason')}")


class Prune(Rival):
    leaves = False

    def act(self):
        self.path.unlink()

    def check(self, job):
        demand(not self.path.exists(), "the archive came back")
        self.demand_state(job, "vanished", "done")


class MoveAway(Prune):
    def act(self):
        self.moved = self.path.with_name("moved.vma")
        self.path.rename(self.moved)

    def check(self, job):
        content = self.moved.read_bytes()
        self.moved.unlink()
        super().check(job)
        demand(content in self.versions, "what was moved away is neither the old nor the new archive")


class Replace(Rival):
    leaves = False

    def act(self):
        other = self.path.with_name("other.vma")
        other.write_bytes(self.place.other.old)
        other.rename(self.path)

    def check(self, job):
        self.demand_content((self.place.other.old,), "what somebody has put there is gone")
        self.demand_state(job, "waiting", "done")


class Writer(Rival):
    """Who may have to wait."""

    leaves = False

    def act(self):
        self.actor = Actor(self.write)
        self.actor.begin()

    def check(self, job):
        self.actor.end()
        self.demand_content(self.expected(), "what was written is lost")
        self.demand_state(job, "waiting", "done")

    def write(self):
        raise NotImplementedError

    def expected(self):
        return [content + TAIL for content in self.versions]


class Append(Writer):
    def write(self):
        with open(self.path, "ab") as file:
            file.write(TAIL)


class Truncate(Writer):
    def write(self):
        os.truncate(self.path, 4096)

    def expected(self):
        return [content[:4096] for content in self.versions]


class HoldOpen(Writer):
    """Opens the archive before the swap, and writes when all is over."""

    def write(self):
        return os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def check(self, job):
        file = self.actor.end()
        is_new = self.place.content() == self.place.archive.new
        os.write(file, TAIL)
        os.close(file)
        self.demand_content(self.expected(), "what was written is lost")
        if is_new:
            self.demand_state(job, "done")
        else:
            demand(job["state"] == "waiting" and job["waiting_for"] in ("locked", "retry"),
                   f"{job['state']}: {job.get('reason')}")


class ChangeMode(Rival):
    def act(self):
        self.path.chmod(0o640)

    def check(self, job):
        demand(self.path.stat().st_mode & 0o777 == 0o640, "the permissions of before")

    def finish(self):
        self.check(None)


class ChangeOwner(Rival):
    def act(self):
        os.chown(self.path, 33, 34)

    def check(self, job):
        found = self.path.stat()
        demand((found.st_uid, found.st_gid) == (33, 34), "the owner of before")

    def finish(self):
        self.check(None)


class SetAttribute(Rival):
    @classmethod
    def why_not(cls, place):
        try:
            cls(place).act()
        except OSError as error:  # memory file systems have none in older kernels
            return f"the file system has no attributes: {error.strerror}"
        return None

    def act(self):
        os.setxattr(self.path, "user.note", b"kept")

    def check(self, job):
        demand("user.note" in os.listxattr(self.path), "an attribute is gone")

    def finish(self):
        self.check(None)


class SecondDaemon(Rival):
    ways = ("exchange",)

    def act(self):
        result = subprocess.run([VMAD, "--config", self.place.config], stderr=subprocess.PIPE, text=True,
                                timeout=PATIENCE, check=False)
        demand(result.returncode == 1 and "another vmad is using" in result.stderr, f"a second daemon: {result}")

    def check(self, job):
        self.demand_state(job, "done")


class SecondRepack(Rival):
    """By vmactl, which keeps away from an archive that the worker has locked."""

    ways = ("exchange", "rename")

    def act(self):
        self.place.demand_whole()
        result = subprocess.run([VMACTL, "repack", "--in-place", "--state-dir", self.state_directory(), self.path],
                                capture_output=True, text=True, timeout=PATIENCE, check=False)
        demand(result.returncode in (0, 7) or " hard links, " in result.stderr, f"a second repack: {result}")

    def state_directory(self):
        return self.place.state

    def check(self, job):
        self.demand_content(self.versions, "neither the old nor the new archive")


class StrangeRepack(SecondRepack):
    """As another node would do it: it knows of no lock."""

    ways = Rival.ways

    def state_directory(self):
        return self.place.dir / "elsewhere"

    def check(self, job):
        self.demand_content((self.place.archive.new,), "not the new archive")


class Reader(Rival):
    """Opened before, read when all is over: one version."""

    def act(self):
        self.place.demand_whole()
        self.file = open(self.path, "rb")

    def check(self, job):
        with self.file:
            demand(self.file.read() in self.versions, "two versions in one")
        self.demand_state(job, "done")


class ReaderByName(Rival):
    """Opens the archive again and again, and always finds one, whole."""

    def act(self):
        self.is_over = False
        self.actor = Actor(self.read)
        self.actor.start()

    def read(self):
        times = 0
        while not self.is_over:
            if self.path.read_bytes() not in self.versions:
                return None
            times += 1
            time.sleep(0.001)
        return times

    def check(self, job):
        self.is_over = True
        demand(self.actor.end(), "neither the old nor the new archive")
        self.demand_state(job, "done")


RIVALS = (Prune, MoveAway, Replace, Append, Truncate, HoldOpen, ChangeMode, ChangeOwner, SetAttribute, SecondDaemon,
          SecondRepack, StrangeRepack, Reader, ReaderByName)
