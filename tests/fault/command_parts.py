"""Commands that are killed at their system calls, or whose calls fail."""

import fcntl
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess

from call_errors import failures
from daemon_parts import CRASHES, explains, kills
from sharing_volumes import Volume, make_backups, why_not
from support import VMACTL, make_old
from traced_place import PATIENCE, Part, demand

KILLED = 128 + signal.SIGKILL
CONNECTION = ("sendto", "sendmsg", "recvfrom", "recvmsg")


class Command(Part):
    """A command on the archive, in the directory `place.dir / "out"`, which is empty before."""

    has_daemon = False
    writes = False
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
        found = re.findall("^vmactl: .+", message, re.M)
        if not found:
            return call == "write"
        return call in CONNECTION or any(explains(line, rule) for line in found)

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
    writes = True

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

    writes = True
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


class Create(ToFiles):
    def arguments(self):
        image, config = self.place.dir / "image", self.place.dir / "config"
        image.write_bytes(random.Random(1).randbytes(1 << 20))
        config.write_text("#qmdump#map:scsi0:drive-scsi0:local:raw:\n")
        return ["create", "--force", "--time", "1", "--config", f"qemu-server.conf={config}",
                "--disk", f"scsi0={image}", self.out / "new.vma"]


class Config(Command):
    """It goes to where the messages go."""

    def arguments(self):
        return ["config", self.place.path, "qemu-server.conf"]

    def check_end(self, result):
        self.config = self.config or result.stderr
        demand(self.config in result.stderr, f"the config is not whole: {result.stderr}")

    def prepare(self):
        self.config = None
        return super().prepare()


def tree_of(directory):
    """Content and permissions of the files, and where links lead."""
    return {str(entry.relative_to(directory)): os.readlink(entry) if entry.is_symlink()
            else (entry.stat().st_mode, entry.read_bytes())
            for entry in directory.rglob("*") if entry.is_symlink() or not entry.is_dir()}


class Edit(Command):
    """A command that changes files: each is as it was, or is to be. The next run removes what was in the making."""

    writes = True
    after = None

    def place_files(self):
        raise NotImplementedError

    def reset(self):
        super().reset()
        self.place_files()
        self.before = tree_of(self.out)

    def check(self, result):
        now = tree_of(self.out)
        for name in {*now, *self.before, *self.after}:
            is_temporary = pathlib.Path(name).name.startswith(".")
            demand(is_temporary or now.get(name) in (self.before.get(name), self.after.get(name)),
                   f"{name} is neither old nor new")

    def check_end(self, result):
        now = tree_of(self.out)
        demand(now != self.before, "nothing was changed")
        self.after = self.after or now
        names = [name for name in {*now, *self.after} if now.get(name) != self.after.get(name)]
        demand(not names, f"not as it is to be: {names}")


class ConfigSet(Edit):
    def place_files(self):
        shutil.copy2(self.place.path, self.out / "x.vma")
        (self.place.dir / "note").write_text("hello")

    def arguments(self):
        return ["config", "--state-dir", self.place.state, self.out / "x.vma", "--set",
                f"note={self.place.dir / 'note'}"]


class Repair(Edit):
    """In the middle of the archive a bit went bad, which the backup of the day before has."""

    content = None

    def place_files(self):
        if self.content is None:
            made = self.out / "x.vma.zst"
            subprocess.run([VMACTL, "repack", self.place.path, made], check=True, capture_output=True, timeout=PATIENCE)
            self.content = bytearray(made.read_bytes())
            made.unlink()
        names = [self.out / f"vzdump-qemu-100-2026_01_0{day}-02_00_00.vma.zst" for day in (1, 2)]
        for path in names:
            path.write_bytes(self.content)
            self.content[len(self.content) // 2] ^= 4
            make_old(path)
        self.damaged = names[1]

    def arguments(self):
        return ["repair", "--state-dir", self.place.state, self.damaged]

    def explains(self, message, rule):
        """What cannot be read is damage to it, and maybe more than it can repair. What it says before that stands there
        when its last message cannot be written."""
        is_damage = any(words in message for words in ("nothing was changed", "can be repaired", "went bad"))
        return (super().explains(message, rule) or rule.startswith("fail write ") or
                (rule.startswith(("fail preadv ", "fail newfstatat ")) and is_damage))


class HookEnable(Edit):
    """What it leaves in the making when it is killed, the next one removes a day later."""

    def check(self, result):
        super().check(result)
        for path in self.out.rglob(".*.tmp"):
            os.utime(path, (0, 0), follow_symlinks=False)

    def place_files(self):
        for name, text in (("etc/vmad/vzdump-hook", "#!/bin/sh\n"), ("opt/own.sh", "#!/bin/sh\n"),
                           ("etc/vzdump.conf", "tmpdir: /tmp\nscript: /opt/own.sh\n")):
            path = self.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def arguments(self):
        return ["hook", "--root", self.out, "enable"]


class HookDisable(HookEnable):
    def place_files(self):
        super().place_files()
        subprocess.run([VMACTL, *super().arguments()], check=True, capture_output=True, timeout=PATIENCE)

    def arguments(self):
        return ["hook", "--root", self.out, "disable"]


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

    writes = True

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
            print(f"test_share (Process) ... skipped {str(reason)!r}", flush=True)  # as unittest says it
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


def parts_of(commands):
    """That fail, and that are killed where they write."""
    parts = {f"vmactl-{name}-calls": part for name, part in commands.items()}
    return parts | {f"vmactl-{name}-killed": killed(part) for name, part in commands.items() if part.writes}


PARTS = parts_of({
    "repack-in-place": RepackInPlace, "repack": RepackToFile, "extract": Extract, "create": Create, "verify": Verify,
    "config": Config, "config-set": ConfigSet, "repair": Repair, "share": Share, "hook-enable": HookEnable,
    "hook-disable": HookDisable,
})
