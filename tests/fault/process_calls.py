#!/usr/bin/env python3
"""Kills daemon, workers and commands at each of their system calls, and fails each of these calls.

    VMAD_BUILD=build python3 tests/fault/process_calls.py [--sample N] [--seed S] [PART…]
    VMAD_BUILD=build python3 tests/fault/process_calls.py PART --case RULE

What does not pass through io::FileSystem is met as well: processes, pipes, sockets, memory, threads. In each round the
process is killed at one call, or in three runs at the same one, or the call fails in a fitting way, once or from there
on. Then the archive is the old or the new one as a whole; nothing has crashed or hangs; a fresh process takes up the
job and completes it; nothing is left beside the archive or in the state directory. Without --sample it takes every
call, in some 20,000 rounds, of which two or three take a second. Prints for each call and error how often it was tried,
and survived, and which calls never fail. PARTs select parts by their beginnings; --case runs the one case that a
message names. Needs root and tests/fault's call-tracer.
"""

import argparse
import collections
import pathlib
import random
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

import call_errors  # noqa: E402
import command_parts  # noqa: E402
import daemon_parts  # noqa: E402
import queue_parts  # noqa: E402
from traced_place import Broken, Place, skip_without_tracer  # noqa: E402
from varlink_client import VarlinkError  # noqa: E402

PARTS = {**daemon_parts.PARTS, **command_parts.PARTS, **queue_parts.PARTS}
BREAKS = (Broken, AssertionError, OSError, EOFError, VarlinkError, subprocess.SubprocessError)


class Table:
    """Calls and errors: how often tried, how often survived."""

    def __init__(self):
        self.tried = collections.Counter()
        self.survived = collections.Counter()

    def add(self, rule, is_well):
        cell = call_errors.column(rule)
        self.tried[cell] += 1
        self.survived[cell] += is_well

    def __str__(self):
        rows = collections.defaultdict(list)
        for (call, error), tried in sorted(self.tried.items()):
            survived = self.survived[call, error]
            rows[call].append(f"{error} {tried}" if survived == tried else f"{error} {survived} OF {tried}")
        lines = [f"    {call:17} {'; '.join(cells)}" for call, cells in rows.items()]
        return "\n".join([*lines, f"    {self.tried.total()} tried, {self.survived.total()} survived"])


def sample_of(found, name, options):
    if options.sample is None or options.sample >= len(found):
        return found
    return random.Random(f"{options.seed} {name}").sample(found, options.sample)


def run_part(name, make, place, options):
    """How many rounds broke a law; one more if none met its call."""
    part = make(place)
    found = part.prepare()
    if options.case:
        found = options.case
    chosen = sample_of(found, name, options)
    table = Table()
    begin = time.monotonic()
    met, broken = 0, 0
    for rule in chosen:
        try:
            is_met, is_well = part.round(rule), True
        except BREAKS as error:
            is_met, is_well = True, False
            print(f"{name} --case '{rule}': {type(error).__name__}: {error}", flush=True)
            place.kill()
            part.prepare()
        met += is_met
        broken += not is_well
        if is_met and not rule.startswith("kill"):
            table.add(rule, is_well)
    print(f"{name}: {len(chosen)} of {len(found)} calls, {met} were met, {broken} broke a law, "
          f"{time.monotonic() - begin:.0f} s", flush=True)
    if table.tried:
        print(table, flush=True)
    if table.tried and call_errors.without_errors(part.calls):
        print(f"    never fail: {' '.join(call_errors.without_errors(part.calls))}", flush=True)
    if chosen and not met:
        print(f"{name}: nothing was interfered with", flush=True)
        broken += 1
    return broken


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, metavar="N", help="at most N rounds of each part")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the sample")
    parser.add_argument("--case", action="append", metavar="RULE", help="only this one")
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    for wanted in options.parts:
        if not any(name.startswith(wanted) for name in PARTS):
            parser.error(f"no part begins with '{wanted}'; there are {', '.join(PARTS)}")
    skip_without_tracer()
    if options.sample is not None:
        print(f"seed {options.seed}", flush=True)
    broken = 0
    with Place.temporary() as place:
        for name, make in PARTS.items():
            if not options.parts or name.startswith(tuple(options.parts)):
                broken += run_part(name, make, place, options)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
