#!/usr/bin/env python3
"""What a daemon with a long queue and many known archives costs, and how long its callers wait.

usage: queue_bench.py BUILD [--dir DIR] [--archives N] [--jobs N] [--calls N] [--idle SECONDS]

The queue is paused, so that nothing but the daemon runs. The directory should lie on the disk that is asked about:
queueing includes the fsyncs of a job file.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))
from hostile_clients import HostileClients  # noqa: E402
from varlink_client import VarlinkClient  # noqa: E402

QUEUE = "org.vmad.Queue"


def report(name, calls, action):
    """Times action(0) to action(calls - 1)."""
    times = []
    for number in range(calls):
        start = time.monotonic()
        action(number)
        times.append(1000 * (time.monotonic() - start))
    times.sort()
    print(f"{name:46} median {statistics.median(times):7.2f} ms  p99 {times[len(times) * 99 // 100]:7.2f} ms  "
          f"largest {times[-1]:7.2f} ms  of {calls}", flush=True)


class Daemon:
    def __init__(self, build, directory):
        self.build = build
        self.directory = directory
        self.socket = directory / "vmad.sock"
        self.config = directory / "vmad.toml"
        self.config.write_text(f'socket = "{self.socket}"\nstate_dir = "{directory}/state"\n')
        self.process = None

    def start(self):
        """Returns the seconds from the start of the process to its first answer."""
        start = time.monotonic()
        self.process = subprocess.Popen([self.build / "src/daemon/vmad", "--config", self.config],
                                        stderr=subprocess.DEVNULL)
        while True:
            try:
                self.call("org.varlink.service.GetInfo")
                return time.monotonic() - start
            except OSError:
                time.sleep(0.001)

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def call(self, method, **parameters):
        with VarlinkClient(self.socket, timeout=60) as client:
            return client.call(method, **parameters)

    def vmactl(self, *arguments):
        subprocess.run([self.build / "src/ctl/vmactl", "--socket", self.socket, *arguments], check=True,
                       stdout=subprocess.DEVNULL)

    def proc(self, name):
        return pathlib.Path(f"/proc/{self.process.pid}/{name}").read_text()

    def report_memory(self, what):
        sizes = dict(re.findall(r"^(VmRSS|RssAnon|RssFile|VmHWM):\s+(\d+) kB$", self.proc("status"), re.M))
        print(f"memory, {what}: " + ", ".join(f"{name} {int(size) / 1024:.1f} MiB" for name, size in sizes.items()))

    def usage(self):
        fields = self.proc("stat").rpartition(")")[2].split()
        switches = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", self.proc("status"), re.M)[1])
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), switches

    def fill(self, count):
        """While it does not run: copies of its first job, which are jobs 2 to `count`."""
        queue = self.directory / "state/queue"
        job = json.loads((queue / "1.json").read_text())
        for number in range(2, count + 1):
            job.update(id=number, path=f"{self.directory}/missing/{number}.vma")
            (queue / f"{number}.json").write_text(json.dumps(job))


    def fill_archives(self, count):
        """While it does not run: `count` records of a hundred guests with two disks each, good ones."""
        digests = {f"drive-scsi{number}": f"{number:032x}" for number in range(2)}
        for number in range(1, count + 1):
            vmid, day = 100 + number % 100, number // 100
            record = {"path": f"/mnt/pve/nas/dump/vzdump-qemu-{vmid}-{2020 + day // 360}_{1 + day // 30 % 12:02}_"
                              f"{1 + day % 30:02}-02_00_00.vma.zst",
                      "storage": "nas", "vmid": vmid, "guest": f"guest-{vmid}.example.com", "digest": f"{number:032x}",
                      "device_digests": digests, "backup_at": 1577836800 + 86400 * day, "size_bytes": 10 ** 10,
                      "modified_ns": 10 ** 18, "new_bytes": 10 ** 8, "repacked_at": 1577836800, "verdict": "good",
                      "verified_at": 1577836800, "looked_at": 1577836800, "mount_point": "/mnt/pve/nas"}
            (self.directory / f"state/archives/{number}.json").write_text(json.dumps(record, indent=2))

    def call_more(self, method):
        with VarlinkClient(self.socket, timeout=60) as client:
            return client.call_more(f"{QUEUE}.{method}")


def report_archives(daemon, count):
    daemon.fill_archives(count)
    print(f"start-up, {count} archives: {1000 * daemon.start():.0f} ms")
    daemon.report_memory(f"{count} archives")
    assert len(daemon.call_more("Archives")) == count
    report("Archives", 10, lambda _: daemon.call_more("Archives"))
    report("Guests", 20, lambda _: daemon.call_more("Guests"))
    report("Status", 100, lambda _: daemon.call(f"{QUEUE}.Status"))
    daemon.report_memory("after them")
    daemon.stop()


def report_queueing(daemon, calls, where):
    missing = daemon.directory / "missing"
    report(f"Enqueue, a connection each{where}", calls,
           lambda number: daemon.call(f"{QUEUE}.Enqueue", path=f"{missing}/enqueue{where}-{number}.vma"))
    report(f"vmactl add --announced{where}", calls,
           lambda number: daemon.vmactl("add", "--announced", f"{missing}/add{where}-{number}.vma"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--dir", default=None)
    parser.add_argument("--archives", type=int, default=10000)
    parser.add_argument("--jobs", type=int, default=10000)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        daemon = Daemon(options.build.resolve(), pathlib.Path(directory))
        try:
            print(f"start-up, no jobs: {1000 * daemon.start():.0f} ms")
            daemon.report_memory("no jobs")
            daemon.call(f"{QUEUE}.Pause")
            daemon.call(f"{QUEUE}.Enqueue", path=f"{directory}/missing/1.vma")
            daemon.stop()
            report_archives(daemon, options.archives)
            daemon.fill(options.jobs)
            print(f"start-up, {options.jobs} jobs: {1000 * daemon.start():.0f} ms")
            daemon.report_memory(f"{options.jobs} jobs")
            time.sleep(2)  # the last client's tick
            before = daemon.usage()
            time.sleep(options.idle)
            cpu, switches = (after - start for after, start in zip(daemon.usage(), before))
            print(f"idle for {options.idle} s: {1000 * cpu:.0f} ms of CPU, {switches} times awake")
            report("Status", 100, lambda _: daemon.call(f"{QUEUE}.Status"))
            report("vmactl status", 20, lambda _: daemon.vmactl("status"))
            with VarlinkClient(daemon.socket, timeout=60) as client:
                report("Enqueue on one connection", options.calls, lambda number: client.call(
                    f"{QUEUE}.Enqueue", path=f"{directory}/missing/one-{number}.vma"))
            report_queueing(daemon, options.calls, "")
            # Nice, because the question is how the daemon shares itself, not how the kernel shares too few cores.
            with HostileClients(daemon.socket, niceness=19) as hostile:
                time.sleep(2)
                report_queueing(daemon, options.calls, " beside 64 hostile")
                assert hostile.are_alive()
            daemon.report_memory("after them")
        finally:
            daemon.stop()


main()
