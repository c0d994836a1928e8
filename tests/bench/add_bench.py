#!/usr/bin/env python3
"""How long it takes to queue an archive, the fsyncs of its job file included.

usage: add_bench.py BUILD [--dir DIR] [--jobs N] [--idle]

Queues N paths, one after the other: over one connection, and by a vmactl process each. A job is running meanwhile, as
on a node; its worker is stopped, so that it takes neither the disk nor an end. With --idle there is none, and each job
is started and ends at once, because its directory is missing.
"""
import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time


def report(name, times):
    times.sort()
    print(f"{name:12} median {1000 * statistics.median(times):.2f} ms, p99 {1000 * times[len(times) * 99 // 100]:.2f} ms, "
          f"largest {1000 * times[-1]:.2f} ms, of {len(times)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--dir", default=None)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--idle", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        path = os.path.join(directory, "vmad.sock")
        config = os.path.join(directory, "vmad.toml")
        with open(config, "w") as file:
            file.write(f'socket = "{path}"\nstate_dir = "{directory}/state"\n')
        with subprocess.Popen([os.path.join(options.build, "src/daemon/vmad"), "--config", config],
                              stderr=subprocess.DEVNULL) as daemon:
            try:
                while not os.path.exists(path):
                    time.sleep(0.05)
                client = socket.socket(socket.AF_UNIX)
                client.connect(path)
                if not options.idle:
                    archive = os.path.join(directory, "archive.vma")
                    subprocess.run([os.path.join(options.build, "tests/support/vma-generate"), archive, "--disk",
                                    "drive-scsi0=512M"], check=True)
                    client.sendall(json.dumps({"method": "org.vmad.Queue.Enqueue",
                                               "parameters": {"path": archive, "announced": True}}).encode() + b"\0")
                    client.recv(65536)
                    children = f"/proc/{daemon.pid}/task/{daemon.pid}/children"
                    while not (worker := open(children).read().split()):
                        time.sleep(0.001)
                    os.kill(int(worker[0]), signal.SIGSTOP)
                times = []
                for number in range(options.jobs):
                    call = {"method": "org.vmad.Queue.Enqueue",
                            "parameters": {"path": f"{directory}/missing/{number}.vma"}}
                    start = time.monotonic()
                    client.sendall(json.dumps(call).encode() + b"\0")
                    reply = b""
                    while not reply.endswith(b"\0"):
                        reply += client.recv(65536)
                    times.append(time.monotonic() - start)
                    assert b'"error"' not in reply, reply
                report("Enqueue", times)
                times = []
                for number in range(options.jobs // 5):
                    start = time.monotonic()
                    subprocess.run([os.path.join(options.build, "src/ctl/vmactl"), "--socket", path, "add",
                                    f"{directory}/missing/process-{number}.vma"], check=True, stdout=subprocess.DEVNULL)
                    times.append(time.monotonic() - start)
                report("vmactl add", times)
            finally:
                daemon.terminate()


main()
