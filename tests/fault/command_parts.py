"""Commands that are killed at their system calls, or whose calls fail."""

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess

from call_errors import failures
from daemon_parts import CRASHES, explains, kills
from daemon_process import ANNOUNCE, HOOK, wait_until
from sharing_volumes import Volume, make_backups, why_not
from support import VMACTL, make_old
from traced_place import PATIENCE, Part, demand

PATIENCE_WITH_REQUEST = 15
KILLED = 128 + signal.SIGKILL
CONNECTION = ("sendto", "sendmsg", "recvfrom", "recvmsg")


class Command(Part):
    """A command on the archive, in the directory `place.dir / "out"`, which is empty before."""

    has_daemon = False
    is_killed = False
    archive_is_new = False

    def arguments(self):
        raise NotImplementedError

    def command(self):
        return [VMACTL, *self.arguments()]

    def explains(self, message, rule):
        """Whether it was the daemon or the kernel that ended a connection, or lost a message, no client knows. A
        message that cannot be written is not there."""
        call = rule.split()[1]
        found = re.search("^vmactl: .+", message, re.M)
        if found is None:
            return call == "write"
        return call in CONNECTION or explains(found[0], rule)

    def check(self, result):
        """After a run that was interfered with, and ended with an exit code that says so."""

    def check_success(self, result):
        """After one that was interfered with, and says that all went well."""
        self.check_end(result)

    def check_end(self, result):
        """After one that nothing interfered with."""

    def prepare(self):
        place = self.place
        self.out = place.dir / "out"
        place.use()
        place.forget()
        if self.has_daemon:
            place.run_daemon()
        for _ in range(2):
            self.reset()
            report, result = self.run("")
            demand(result.returncode == 0, f"undisturbed: {result}")
            self.check_end(result)
        self.calls = report["calls"]
        return list((kills if self.is_killed else failures)(self.calls))

    def reset(self):
        place = self.place
        place.reset()
        if self.archive_is_new:
            place.path.write_bytes(place.archive.new)
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def run(self, rule):
        place = self.place
        self.rule = rule
        place.tracer.plan(rule)
        result = subprocess.run(
            [*place.tracer.wrapper("command"), *self.command()], pass_fds=place.tracer.ends, stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False, env=self.environment())
        return place.tracer.report(), result

    def environment(self):
        return {**os.environ, "VMAD_SOCKET": str(self.place.socket)}

    def round(self, rule):
        place = self.place
        if self.has_daemon and not place.daemon.is_running():
            place.run_daemon()
        self.reset()
        report, result = self.run(rule)
        demand(report["end"] not in CRASHES, f"it crashed ({report['end']}): {result.stderr}")
        demand(result.returncode in (0, KILLED) or self.explains(result.stderr, rule),
               f"exit code {result.returncode}: {result.stderr}")
        place.demand_whole()
        if self.has_daemon:
            demand(place.daemon.is_running(), "the daemon ended")
        if result.returncode != 0:
            self.check(result)
        else:
            self.check_success(result)
        _, result = self.run("")
        demand(result.returncode == 0, f"in the end: {result}")
        self.check_end(result)
        return bool(report["hit"])


class RepackInPlace(Command):
    def arguments(self):
        return ["repack", "--in-place", "--state-dir", self.place.state, self.place.path]

    def check_end(self, result):
        self.place.clean_state = self.place.clean_state or self.place.state_names()
        self.place.demand_clean(self.place.archive.new)

    def check_success(self, result):
        place = self.place
        demand(place.content() == place.archive.new, "the archive is not the new one")
        demand(not place.left_over(), f"left beside the archive: {place.left_over()}")
        extra = place.state_names() - place.clean_state - {"in-place/N.lock"}
        # The next run finishes it; without a word where another process has the archive locked.
        demand(not extra or "cannot recover" in result.stderr or " flock " in self.rule,
               f"left in the state directory: {sorted(extra)}")

    def prepare(self):
        self.place.clean_state = None
        return super().prepare()


class ToFiles(Command):
    """A command that makes files. What it made under a temporary name stays when it is killed."""

    content = None

    def found(self):
        return {entry.name: entry.read_bytes() for entry in self.out.iterdir()
                if not (self.is_killed and entry.name.startswith(".vmad-"))}

    def check(self, result):
        for name, content in self.found().items():
            demand(self.content.get(name) == content, f"{name} is not whole, or left over")

    def check_end(self, result):
        self.content = self.content or self.found()
        demand(self.found() == self.content, "what was made is something else")


class RepackToFile(ToFiles):
    def arguments(self):
        return ["repack", "--force", self.place.path, self.out / "new.vma"]

    def check_end(self, result):
        super().check_end(result)
        demand(self.content == {"new.vma": self.place.archive.new}, "the new archive is another one")


class Extract(ToFiles):
    def arguments(self):
        return ["extract", "--force", self.place.path, self.out]


class Verify(Command):
    archive_is_new = True

    def arguments(self):
        return ["verify", self.place.path]

    def check(self, result):
        demand(result.returncode != 6, f"a good archive is called bad: {result.stderr}")


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


def has_shared_extents(path):
    """By FIEMAP, after the data were written out."""
    most, header, extent = 100, 32, 56
    request = bytearray(struct.pack("=QQLLLL", 0, 2**64 - 1, 1, 0, most, 0) + bytes(most * extent))
    with open(path, "rb") as file:
        fcntl.ioctl(file, 0xC020660B, request)
    flags = [struct.unpack_from("=L", request, header + number * extent + 40)[0] for number in range(most)]
    return any(flag & 0x2000 for flag in flags)


class Share(Command):
    """Of two backups of a guest on btrfs: whatever happens, their contents stay."""

    def prepare(self):
        place = self.place
        reason = why_not("btrfs")
        if not hasattr(place, "volume") and not reason:
            try:
                place.volume = Volume("btrfs", place.dir, 128)
            except (OSError, subprocess.SubprocessError) as error:
                reason = error
            else:
                place.cleanup.callback(place.volume.close)
                make_backups(VMACTL, place.volume.point, 4, 2, [""])
        if reason:
            print(f"sharing is not tried: {reason}", flush=True)
            return []
        self.names = set(place.volume.point.iterdir())
        self.backups = sorted(place.volume.point.glob("*.vma"))
        self.contents = [path.read_bytes() for path in self.backups]
        return super().prepare()

    def reset(self):
        super().reset()
        for path, content in zip(self.backups, self.contents):
            path.write_bytes(content)  # in blocks of its own
            make_old(path)

    def arguments(self):
        return ["share", "--state-dir", self.place.state, self.place.volume.point]

    def check(self, result):
        demand([path.read_bytes() for path in self.backups] == self.contents, "sharing changed an archive")
        demand(set(self.place.volume.point.iterdir()) == self.names, "something is left beside the archives")

    check_success = check

    def check_end(self, result):
        self.check(result)
        demand(any(map(has_shared_extents, self.backups)), "nothing is shared")


def killed(part):
    return type(f"{part.__name__}Killed", (part,), {"is_killed": True})


COMMANDS = {
    "repack-in-place": RepackInPlace, "repack": RepackToFile, "extract": Extract, "verify": Verify, "add": Add,
    "add-unheard": AddUnheard, "status": Status, "list": List, "scan": Scan, "share": Share,
}
PARTS = {f"vmactl-{name}-calls": part for name, part in COMMANDS.items()}
PARTS |= {f"vmactl-{name}-killed": killed(COMMANDS[name])
          for name in ("repack-in-place", "repack", "extract", "add-unheard", "share")}
PARTS |= {"hook-calls": Hook, "hook-killed": killed(Hook)}
