"""Commands that are for the daemon, and the hook: killed at their system calls, or their calls fail."""

import errno
import re
import shutil

from command_parts import Command, killed, parts_of
from daemon_parts import explains
from daemon_process import ANNOUNCE, ENDS, HOOK, wait_until
from support import VMACTL
from traced_place import PATIENCE, demand

PATIENCE_WITH_REQUEST = 15


class OfQueue(Command):
    """With the settings of the daemon: there the request is left when nobody hears it."""

    def environment(self):
        return {**super().environment(), "VMAD_ROOT": str(self.place.dir)}

    def prepare(self):
        settings = self.place.dir / "etc/vmad/vmad.toml"
        settings.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.place.config, settings)
        return super().prepare()


class Add(OfQueue):
    """At the end the daemon has the job."""

    has_daemon = True

    def arguments(self):
        return ["add", "--announced", self.place.path]

    def reset(self):
        super().reset()
        self.last_job = max((job["id"] for job in self.place.daemon.jobs()), default=0)

    def check_end(self, result):
        place = self.place
        added = wait_until(self.added, f"there is a job after '{result.stderr.strip()}'", PATIENCE_WITH_REQUEST)
        demand({job["path"] for job in added} == {str(place.path)}, f"something else was added: {added}")
        for job in added:
            place.drive(job["id"])
        self.reset()  # a scan passes over what it knows

    def added(self):
        return [job for job in self.place.daemon.jobs() if job["id"] > self.last_job]


class AddUnheard(OfQueue):
    """Without a daemon: the request is left for it, as a whole or not at all."""

    writes = True

    def arguments(self):
        return ["add", "--announced", self.place.path]

    def check_end(self, result):
        place = self.place
        place.run_daemon()
        jobs = place.daemon.jobs()
        demand([job["path"] for job in jobs] == [str(place.path)], f"the daemon knows {jobs}")
        place.drive(jobs[0]["id"])
        place.forget()


class Hook(AddUnheard):
    """The shell that vzdump starts."""

    def explains(self, message, rule):
        """The shell has messages of its own."""
        return explains(message, rule) or "Cannot fork" in message

    def check_success(self, result):
        """It never fails a backup, but says what became of it; not where the shell, which takes an error for the end of
        its script, cannot read that."""
        if "vmad: not queued: " not in result.stderr and not self.rule.startswith("fail read "):
            super().check_success(result)

    def command(self):
        return [HOOK, "backup-end", "snapshot", "100"]

    def environment(self):
        place = self.place
        return {"LC_ALL": "C", "STOREID": "local", "DUMPDIR": str(place.path.parent), "VMTYPE": "qemu",
                "HOSTNAME": "guest", "TARGET": str(place.path), "LOGFILE": str(place.dir / "vzdump.log"),
                "VMAD_ANNOUNCE": str(ANNOUNCE), "VMAD_VMACTL": str(VMACTL), "VMAD_ROOT": str(place.dir),
                "VMAD_HOOK_D": str(place.dir / "hook.d"), "VMAD_SOCKET": str(place.socket)}


class Status(Command):
    has_daemon = True

    def arguments(self):
        return ["status"]


class List(Status):
    def arguments(self):
        return ["list", "--all"]


class Scan(Add):
    def arguments(self):
        return ["scan", self.place.path.parent]


class Told(Command):
    """The daemon is told something: it is done when the command says so. It may be done all the same when it fails."""

    has_daemon = True

    def call(self, method, **parameters):
        with self.place.daemon.client() as client:
            return client.call(f"org.vmad.Queue.{method}", **parameters)

    def job(self):
        return self.place.daemon.job(self.id)

    def is_done(self):
        raise NotImplementedError

    def check(self, result):
        self.reset()

    def check_end(self, result):
        demand(self.is_done(), f"it was not done: {result.stderr}")
        self.reset()


class Wait(Told):
    def prepare(self):
        """A daemon that breaks the connection is heard of; one that only seems to, for ever not. One that does so each
        time is waited for without end, as if it were being started again."""
        lost = re.compile(rf"fail (sendto .* ({errno.EPIPE}|{errno.ECONNRESET})|recv\w+ \d+\+ {errno.ECONNRESET})")
        return [rule for rule in super().prepare() if not lost.fullmatch(rule)]

    def reset(self):
        super().reset()
        self.id = self.place.daemon.add(self.place.path)

    def arguments(self):
        return ["wait", str(self.id)]

    def is_done(self):
        return self.job()["state"] in ENDS

    def check(self, result):
        """The job goes on."""


class Pause(Told):
    def reset(self):
        super().reset()
        self.call("Resume")

    def arguments(self):
        return ["pause"]

    def is_done(self):
        return self.call("Status")["status"].get("hold") == "paused"


class Resume(Pause):
    def reset(self):
        super().reset()
        self.call("Pause")

    def arguments(self):
        return ["resume"]

    def is_done(self):
        return not super().is_done()


class Cancel(Told):
    def reset(self):
        super().reset()
        self.call("Pause")
        self.id = self.place.daemon.add(self.place.path)

    def arguments(self):
        return ["cancel", str(self.id)]

    def is_done(self):
        return self.job()["state"] == "cancelled"


class Retry(Told):
    """Of a job that fails each time."""

    def reset(self):
        super().reset()
        junk = self.place.path.with_name("vzdump-qemu-101-2026_01_01-02_00_00.vma")
        junk.write_bytes(b"junk")
        self.id = self.place.daemon.add(junk)
        self.last_end = self.place.daemon.wait(self.id, seconds=PATIENCE)["end_number"]

    def check(self, result):
        """It may have been queued all the same."""
        self.place.daemon.wait(self.id, seconds=PATIENCE)
        self.reset()

    def arguments(self):
        return ["retry", str(self.id)]

    def is_done(self):
        return wait_until(lambda: self.job().get("end_number", 0) > self.last_end, "the job ends again", PATIENCE)


class Reload(Told):
    workers = 1

    def reset(self):
        super().reset()
        self.workers = 3 - self.workers
        settings = re.sub("workers = .*\n", "", self.place.config.read_text())
        self.place.config.write_text(f"{settings}workers = {self.workers}\n")

    def arguments(self):
        return ["reload"]

    def is_done(self):
        return self.call("Status")["status"]["workers"] == self.workers


PARTS = parts_of({
    "add": Add, "add-unheard": AddUnheard, "scan": Scan, "status": Status, "list": List, "wait": Wait, "pause": Pause,
    "resume": Resume, "cancel": Cancel, "retry": Retry, "reload": Reload,
})
PARTS |= {"hook-calls": Hook, "hook-killed": killed(Hook)}
