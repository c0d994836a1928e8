#!/usr/bin/env python3
"""Cuts the power of real file systems while a daemon works on them.

    VMAD_BUILD=build python3 tests/fault/power_cut.py [--rounds N] [--fs ext4,xfs,btrfs] [--seed S]

In each round some backups are announced to a running daemon by the hook's command, with some other commands of the
queue between. At a random moment everything is stopped and the power of the disks is cut (power_disks.py says how);
they are mounted anew, and the daemon starts again. Every other round has the state directory on a disk of its own.

What must hold: after the cut each archive is the old one or the new one as a whole, and its attribute, the queue and
the catalogue say nothing of it that is not so; what was acknowledged is known to the next daemon, which brings each job
to a good end; and nothing is left beside the archives or in the queue. The seed of a round is printed when it fails;
--seed S --rounds 2 with the same --fs runs that one again, first of its kind, as far as the moment can be met. Needs
root, /dev/fuse and loop devices; what is missing is reported as a skip.
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from daemon_process import ENDS, Daemon, send, wait_until  # noqa: E402
from power_disks import MAKE, WAYS, PowerDisk, directory_of_disks, why_not, why_not_with  # noqa: E402
from support import VMACTL, generate  # noqa: E402

PATIENCE = 120
SKIPPED = 77
WELL = ("done", "unchanged")
FORMATS = {"vma": None, "vma.zst": ("zstd", "-q", "-1"), "vma.gz": ("gzip", "-1")}


class Backup:
    """A made-up backup in one format: its bytes as dumped, and as repacked."""

    def __init__(self, directory, suffix, seed):
        self.suffix = suffix
        path = generate(directory / f"{seed}.vma", "--disk", "drive-scsi0=1M", "--guest-seed", str(seed))
        if FORMATS[suffix]:
            subprocess.run([*FORMATS[suffix], path], check=True)
            path = next(directory.glob(f"{seed}.vma*"))
        path = path.rename(directory / f"{seed}.{suffix}")
        self.old = path.read_bytes()
        os.utime(path, (1e9, 1e9))
        subprocess.run([VMACTL, "repack", "--in-place", "--state-dir", directory / "state", path], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE)
        self.new = path.read_bytes()
        path.unlink()


class Site:
    """A daemon on two disks, or one, and the backups of a round."""

    def __init__(self, directory, file_system, way, apart):
        self.dir = directory
        self.socket = directory / "sock"
        self.config = directory / "etc/vmad/vmad.toml"
        self.title = f"{file_system}, {way}, state {'apart' if apart else 'beside'}"
        self.disks = [PowerDisk(directory, "storage", file_system, way)]
        if apart:
            self.disks.append(PowerDisk(directory, "system", file_system, way))
        self.dump = self.disks[0].point / "dump"
        self.state = self.disks[-1].point / "state"
        self.config.parent.mkdir(parents=True)
        self.config.write_text(f'socket = "{self.socket}"\nstate_dir = "{self.state}"\n'
                               f'directories = ["{self.dump}"]\nworkers = 2\n')
        self.daemon = None
        self.number = 0
        self.archives = {}

    def turn_on(self):
        for disk in self.disks:
            disk.turn_on()
        self.dump.mkdir(exist_ok=True)

    def turn_off(self):
        for disk in self.disks:
            disk.turn_off()

    def start(self):
        self.daemon = Daemon(self)

    def kill(self):
        if self.daemon is not None and self.daemon.is_running():
            self.daemon.kill()

    def place(self, backups):
        """Makes these all there is in the directory; durable, as if they had been there for long."""
        for path in self.dump.iterdir():
            path.unlink()
        self.archives = {}
        for backup in backups:
            self.number += 1
            moment = time.strftime("%Y_%m_%d-%H_%M_%S", time.gmtime(1e9 + self.number))
            path = self.dump / f"vzdump-qemu-{100 + self.number % 2}-{moment}.{backup.suffix}"
            path.write_bytes(backup.old)
            self.archives[str(path)] = backup
        os.sync()

    def cut(self, chance):
        """The power, of all disks, while nobody can see a difference in time between them."""
        send(self.daemon.process.pid, signal.SIGSTOP)
        workers = self.daemon.workers()
        for pid in workers:
            send(pid, signal.SIGSTOP)
        how = [disk.cut(chance) for disk in self.disks]
        # One that was stopped too early does not die with the daemon.
        for pid in workers:
            send(pid, signal.SIGKILL)
        self.daemon.kill()
        return "; ".join(how)


class Client(threading.Thread):
    """Sends the commands of a round, one after the other, until the power is cut."""

    def __init__(self, site, chance):
        super().__init__(daemon=True)
        self.site, self.random = site, chance
        self.acknowledged = set()
        self.problems = []
        self.process = None
        self.is_over = False

    def vmactl(self, *words):
        """True when it was acknowledged."""
        self.process = subprocess.Popen(
            [VMACTL, "--socket", self.site.socket, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={**os.environ, "VMAD_ROOT": str(self.site.dir)})
        try:
            return self.process.wait(PATIENCE) == 0 and not self.is_over
        except subprocess.TimeoutExpired:
            self.problems.append(f"vmactl {' '.join(words)} has not ended in {PATIENCE} s")
            self.process.kill()
            return False

    def run(self):
        for path in self.site.archives:
            if self.is_over:
                return
            if self.vmactl("add", "--announced", path):
                self.acknowledged.add(path)
            if self.random.random() < 0.2:
                self.vmactl(self.random.choice(("pause", "resume")))
            if self.random.random() < 0.2:
                self.vmactl("add", "--verify", path)
        self.vmactl("resume")

    def end(self):
        self.is_over = True

        def has_ended():
            if self.process is not None:
                self.process.kill()
            self.join(0.01)
            return not self.is_alive()
        wait_until(has_ended, "vmactl dies", PATIENCE)


def json_files(directory):
    if not directory.exists():
        return
    for path in directory.iterdir():
        if not path.name.startswith("."):
            yield path, json.loads(path.read_text())


def check_disk(site, problems):
    """What lies on the disks before anybody has looked at it."""
    kept = {}
    for path, backup in site.archives.items():
        try:
            content = pathlib.Path(path).read_bytes()
        except OSError as error:
            problems.append(f"{path}: {error}")
            continue
        kept[path] = "new" if content == backup.new else "old" if content == backup.old else "neither"
        if kept[path] == "neither":
            problems.append(f"{path} is neither old nor new")
        elif kept[path] == "old" and "user.vmad" in os.listxattr(path):
            problems.append(f"{path} is old, and has the attribute of a new one")
    try:
        list(json_files(site.state / "queue"))
        for path, record in json_files(site.state / "archives"):
            if record["path"] in kept and "repacked_at" in record and kept[record["path"]] != "new":
                problems.append(f"{path} says that {record['path']} was repacked, which is {kept[record['path']]}")
    except ValueError as error:
        problems.append(f"the state is damaged: {error}")
    return list(kept.values()).count("new")


def open_jobs(site):
    """What has not ended; but for those that wait until their archive is old enough to be verified."""
    return [job for job in site.daemon.jobs()
            if job["state"] not in ENDS and job.get("waiting_for") != "too_recent"]


def check_ends(site, client, problems):
    """What the next daemon makes of it."""
    try:
        with site.daemon.client() as varlink:
            varlink.call("org.vmad.Queue.Resume")
        wait_until(lambda: not open_jobs(site), "all jobs end", PATIENCE)
    except AssertionError as error:
        problems.append(f"{error}: {open_jobs(site)}")
        return
    known = {job["path"]: job for job in site.daemon.jobs() if job.get("kind") != "verify"}
    for path, backup in site.archives.items():
        if path in client.acknowledged and path not in known:
            problems.append(f"{path} was acknowledged, and is not known any more")
        if path in known and pathlib.Path(path).read_bytes() != backup.new:
            problems.append(f"{path} is not new after its job: {known[path]}")
    for job in site.daemon.jobs():
        is_open = job["state"] not in ENDS  # such as open_jobs() leaves out
        if job["path"] in site.archives and not is_open and (job["state"] not in WELL or job.get("warning")):
            problems.append(f"a job ends badly: {job}")
    left = [path.name for path in site.dump.iterdir() if str(path) not in site.archives]
    left += [str(path) for path in site.state.rglob("*") if path.name.startswith(".") and path.name.endswith(".tmp")]
    left += [str(path) for path in (site.state / "incoming").iterdir()]
    left += [str(path) for path in site.state.rglob("*.bad")]
    if left:
        problems.append(f"something is left: {left}")


def play(site, backups, seed, longest):
    """One round. Returns the problems, how many archives were new after the cut, and how the power was cut."""
    chance = random.Random(seed)
    site.place(chance.choices(backups, k=3))  # two of a guest may share blocks
    client = Client(site, chance)
    moment = chance.random() * longest
    client.start()
    try:
        time.sleep(moment)
        how = site.cut(random.Random(seed))
    finally:
        client.end()
    site.turn_off()
    site.turn_on()
    problems = client.problems
    new = check_disk(site, problems)
    site.start()
    check_ends(site, client, problems)
    return problems, new, f"after {moment:.3f} s; {how}; {len(client.acknowledged)} acknowledged"


def measure(site, backups):
    """How long an undisturbed round takes."""
    site.place(backups[:3])
    begin = time.monotonic()
    client = Client(site, random.Random(0))
    client.start()
    wait_until(lambda: not client.is_alive(), "the commands of a round end", 10 * PATIENCE)
    problems = client.problems
    check_ends(site, client, problems)
    if problems:
        raise AssertionError(f"undisturbed: {problems}")
    return time.monotonic() - begin


def run_rounds(file_system, way, apart, rounds, seed):
    """Returns how many failed."""
    failed = 0
    with contextlib.ExitStack() as cleanup:
        directory = cleanup.enter_context(directory_of_disks())
        made = directory / "made"
        made.mkdir()
        backups = [Backup(made, suffix, seed) for seed in (1, 2) for suffix in FORMATS]
        site = Site(directory, file_system, way, apart)
        cleanup.callback(site.kill)
        site.turn_on()
        site.start()
        longest = measure(site, backups) * 1.1
        new = 0
        for number in range(rounds):
            problems, now_new, how = play(site, backups, seed + number, longest)
            new += now_new
            if problems:
                failed += 1
                print(f"FAILED: {site.title}: --seed {seed + number}, {how}:", *problems, sep="\n    ", flush=True)
                break
        print(f"| {site.title} | {number + 1} | {3 * (number + 1)} | {new} | {failed} |", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4, help="for each way of each file system")
    parser.add_argument("--fs", default=",".join(MAKE), metavar="LIST")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if reason := why_not():
        print(f"SKIPPED: {reason}")
        return SKIPPED
    print("| file system, how its power is cut | cuts | archives | of these new after the cut | failed |")
    print("|---|---|---|---|---|")
    failed = 0
    was_tried = False
    for file_system in options.fs.split(","):
        for way in WAYS[file_system]:
            if reason := why_not_with(file_system, way):
                print(f"SKIPPED: {file_system}, {way}: {reason}", flush=True)
                continue
            was_tried = True
            for apart in (False, True):
                if rounds := (options.rounds + (not apart)) // 2:
                    failed += run_rounds(file_system, way, apart, rounds, options.seed)
    return 1 if failed else 0 if was_tried else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
