"""Clients that a server can do without: they run into each of its limits, again and again.

Run by itself, `hostile_clients.py SOCKET KIND COUNT`, it is COUNT clients of one kind, until it is killed.
"""

import itertools
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time

QUEUE = "org.vmad.Queue"
MIB = 1 << 20
# For a client that holds on to its connection.
HOLD_SECONDS = 3


def call(method, more=False, oneway=False, **parameters):
    flags = {name: True for name, value in (("more", more), ("oneway", oneway)) if value}
    return json.dumps({"method": method, "parameters": parameters, **flags}).encode() + b"\0"


def until_closed(client):
    """Takes what is said."""
    while client.recv(65536):
        pass


def hold(client):
    """Reads nothing, and stays."""
    time.sleep(HOLD_SECONDS)
    client.getpeername()


def send_and_see(data):
    def kind(client):
        client.sendall(data)
        until_closed(client)
    return kind


def send_and_hold(data, end_sending=False):
    def kind(client):
        client.sendall(data)
        if end_sending:
            client.shutdown(socket.SHUT_WR)
        hold(client)
    return kind


def trickle(client):
    for byte in call(f"{QUEUE}.Status"):
        client.sendall(bytes([byte]))
        time.sleep(0.01)


def come_and_go(client):
    client.close()


STATUS = call(f"{QUEUE}.Status")
LONG_LIST = call(f"{QUEUE}.List", more=True)

# What a client does with a new connection, again and again.
KINDS = {
    "garbage": send_and_see(b"GET / HTTP/1.1\r\n\r\n\0"),
    "brackets": send_and_see(b"[" * MIB + b"\0"),
    "too-long": send_and_see(b" " * (2 * MIB)),
    "half": send_and_hold(STATUS[:20]),
    "half-a-mib": send_and_hold(b'{"' + b"x" * (MIB - 10)),
    "deaf-list": send_and_hold(LONG_LIST * 100),
    "deaf-wait": send_and_hold(call(f"{QUEUE}.Wait", more=True)),
    "deaf-monitor": send_and_hold(call(f"{QUEUE}.Monitor", more=True)),
    "half-closed": send_and_hold(LONG_LIST, end_sending=True),
    "trickle": trickle,
    "come-and-go": come_and_go,
}


def run(path, kind):
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
                KINDS[kind](client)
            except OSError:
                pass  # dropped: once more


class HostileClients:
    """`count` of them, of all kinds, while the context lasts. A process for each kind, with this niceness."""

    def __init__(self, path, count=64, niceness=0):
        kinds = list(itertools.islice(itertools.cycle(KINDS), count))
        self.commands = [["nice", "-n", str(niceness), sys.executable, pathlib.Path(__file__), path, kind,
                          str(kinds.count(kind))] for kind in KINDS if kind in kinds]

    def __enter__(self):
        # Not even a program that is killed leaves them behind.
        self.processes = [subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command])
                          for command in self.commands]
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    def are_alive(self):
        return all(process.poll() is None for process in self.processes)


def main():
    path, kind, count = sys.argv[1:]
    threads = [threading.Thread(target=run, args=(path, kind)) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
