#!/usr/bin/env python3
"""What the comparison with the backup before costs of a job: the same jobs with that backup and without it.

Each archive is repacked by a daemon of its own, and then, as an unchanged one, looked at again; wall time and CPU of the
worker. The archives are in the page cache; each form needs some four times --size, less what is zero, in --dir.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from bench_disk import MIB, VZDUMP_ZSTD, generate_of, progress, run

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from varlink_client import VarlinkClient  # noqa: E402

QUEUE = "org.vmad.Queue"
FORMS = {"raw": (".vma", "cat"), "zst": (".vma.zst", VZDUMP_ZSTD), "gz": (".vma.gz", "gzip -1")}


class Daemon:
    def __init__(self, build, directory):
        self.socket = directory / "vmad.sock"
        config = directory / "vmad.toml"
        config.write_text(f'socket = "{self.socket}"\nstate_dir = "{directory}/state"\n'
                          f'directories = ["{directory}"]\nthreads = {os.cpu_count()}\nshare_blocks = "off"\n')
        self.process = subprocess.Popen([build / "src/daemon/vmad", "--config", config], stderr=subprocess.DEVNULL)
        while True:
            try:
                self.call("org.varlink.service.GetInfo")
                return
            except OSError:
                time.sleep(0.01)

    def call(self, method, **parameters):
        with VarlinkClient(self.socket) as client:
            return client.call(method, **parameters)

    def workers_cpu(self):
        """Seconds, of those that have ended."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def run(self, path):
        """The job, and its wall and CPU seconds."""
        cpu, start = self.workers_cpu(), time.monotonic()
        number = self.call(f"{QUEUE}.Enqueue", path=str(path), announced=True)["job"]["id"]
        with VarlinkClient(self.socket) as client:
            list(client.call_more(f"{QUEUE}.Wait", ids=[number]))
        wall = time.monotonic() - start
        job = self.call(f"{QUEUE}.Show", id=number)["job"]
        if job["state"] not in ("done", "unchanged"):
            raise SystemExit(f"failed: {job}")
        return job, wall, self.workers_cpu() - cpu


def name_of(day, ending):
    return f"vzdump-qemu-100-2026_01_{day:02}-02_00_00{ending}"


def bench(options, directory, form, daemon):
    ending, compress = FORMS[form]
    generate = f"{generate_of(options.build)} - --disk drive-scsi0={options.size} --zero-fraction {options.zeros}"
    before, path, hidden = (directory / name for name in (name_of(1, ending), name_of(2, ending), "hidden"))
    source = directory / "source"
    run(f"{generate} | {compress} >{before}")
    run(f"{generate} --change {options.changes} --dump-seed 2 | {compress} >{source}")
    daemon.run(before)
    costs, new = {}, 0
    for number in range(options.rounds):
        for name in ("compared", "alone"):
            if name == "alone":
                before.rename(hidden)
            run(f"cp {source} {path}; cat {path} >/dev/null; sync")
            for kind in ("done", "unchanged"):
                job, wall, cpu = daemon.run(path)
                assert (job["state"], "since" in job) == (kind, name == "compared"), job
                costs.setdefault((kind, name), []).append((wall, cpu))
                progress(f"{form}, round {number + 1} of {options.rounds}, {kind}, {name}: {wall:.3f} s")
                new = job.get("since", {}).get("new_bytes", 0) or new
            if name == "alone":
                hidden.rename(before)
    print(f"\n{form}: {os.path.getsize(path) / MIB:.0f} MiB, {new / MIB:.1f} MiB new")
    for kind in ("done", "unchanged"):
        for place, what in enumerate(("wall", "CPU")):
            ours, others = ([cost[place] for cost in costs[kind, name]] for name in ("compared", "alone"))
            print(f"  {kind:10}{what:5} compared {statistics.median(ours):7.3f} s ({min(ours):.3f} at best), "
                  f"alone {statistics.median(others):7.3f} s ({min(others):.3f})")
    for entry in (before, path, source):
        entry.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=os.path.abspath, help="a build directory with vmad, vmactl and vma-generate")
    parser.add_argument("form", nargs="*", help=f"{', '.join(FORMS)} (all of them)")
    parser.add_argument("--dir", default=None, type=os.path.abspath, help="for everything temporary")
    parser.add_argument("--size", default="4G", help="of the disk (4G)")
    parser.add_argument("--zeros", type=float, default=0.5, help="share of it that is zero (0.5)")
    parser.add_argument("--changes", type=int, default=200, help="blocks that differ (200)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_intermixed_args()
    options.build = pathlib.Path(options.build)
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        daemon = Daemon(options.build, pathlib.Path(directory))
        try:
            for form in options.form or FORMS:
                bench(options, pathlib.Path(directory), form, daemon)
        finally:
            daemon.process.terminate()
            daemon.process.wait()


main()
