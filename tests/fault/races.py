#!/usr/bin/env python3
"""Lets others interfere with an archive at each system call of its publication.

    VMAD_BUILD=build python3 tests/fault/races.py [--sample N] [--seed S] [NAME…]
    VMAD_BUILD=build python3 tests/fault/races.py --case WAY RIVAL CALL

The worker halts at one of its calls, from the copying of metadata on; then a rival (tests/fault/rivals.py) prunes,
replaces, moves, writes to, reads or repacks the archive, and the worker goes on: in each way in which a file system may
let it publish. What the rival did stays as it is, or the new archive is published as a whole; the job ends as
documented, nothing is left over, and the daemon lives. Without --sample it takes every call, every rival and every way:
a quarter of an hour. With it, equally many for each rival and way. Prints for each way and rival how often it was tried, and survived. NAMEs select ways and rivals;
--case runs the one case that a message names. Needs root and tests/fault's call-tracer.
"""

import argparse
import collections
import errno
import os
import pathlib
import random
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "integration"))

from rivals import RIVALS, ChangeMode, ChangeOwner, Prune, Replace, SetAttribute, Writer  # noqa: E402
from traced_place import PATIENCE, Broken, Place, demand, skip_without_tracer  # noqa: E402
from varlink_client import VarlinkError  # noqa: E402

# How the file system under the archive lets a replacement be published, as rules of call-tracer.
NO_EXCHANGE = f"fail renameat2 0 {errno.EINVAL}"
NO_UNNAMED = f"fail tmpfile 0 {errno.EOPNOTSUPP}"
NO_LINKS = f"fail linkat 0 {errno.EPERM}"
WAYS = {
    "exchange": (),
    "rename": (NO_EXCHANGE,),
    "named": (NO_UNNAMED,),
    "bare": (NO_EXCHANGE, NO_UNNAMED, NO_LINKS),
}


class Course:
    """The calls of a publication that nobody disturbs: numbered from 1, but indices are from 0."""

    FROM = "flistxattr"

    def __init__(self, way, calls):
        self.is_rename = way in ("rename", "bare")
        self.has_spare = way != "bare"  # the original is beside the new file after the swap
        begin = calls.index(self.FROM)
        end = max(index for index, call in enumerate(calls) if call == "unlinkat")  # of the lock
        self.calls = calls[begin:end + 2]

    def last(self, call, before):
        return max(index for index in range(before) if self.calls[index] == call)

    def window(self, rival):
        """The numbers of the calls at which this rival cannot be noticed; see ReplaceFile::rename_over."""
        swap = self.calls.index("renameat" if self.is_rename else "renameat2")
        if rival is SetAttribute:  # which nobody compares
            return range(self.last("openat", self.calls.index("renameat2")) + 2, swap + 2)
        if self.is_rename and issubclass(rival, (Prune, Replace)):
            return range(self.last("openat", swap) + 2, swap + 2)
        if not self.has_spare and issubclass(rival, (ChangeMode, ChangeOwner)):
            return range(self.last("openat", swap) + 2, swap + 2)
        if not self.has_spare and issubclass(rival, Writer):
            asked = "fcntl" if "fcntl" in self.calls[:swap] else "openat"
            return range(self.last(asked, swap) + 2, swap + 2)
        return range(0)


class Races:
    def __init__(self, place):
        self.place = place

    def cases(self):
        """(way, rival, number of the call), all there are."""
        self.place.forget()
        self.place.run_daemon("worker")
        self.run_once("exchange")  # the next one finds what this one has left for it
        rivals = []
        for rival in RIVALS:
            reason = rival.why_not(self.place)
            if reason is None:
                rivals.append(rival)
            else:
                print(f"test_{rival.__name__} (Races) ... skipped {reason!r}", flush=True)  # as unittest says it
        cases = []
        for way in WAYS:
            course = Course(way, self.run_once(way))
            cases += [(way, rival, number) for number in range(1, len(course.calls) + 1) for rival in rivals
                      if number not in course.window(rival) and way in rival.ways]
        # What vmactl keeps there for its own runs.
        self.place.clean_state = self.place.state_names() | {"in-place"}
        return cases

    def run_once(self, way):
        """The calls of a job that nobody disturbs."""
        place = self.place
        place.reset()
        place.tracer.plan(self.rules("kill none 1", way))
        place.drive(place.daemon.add(place.path))
        return place.tracer.report()["order"]

    @staticmethod
    def rules(rule, way):
        return ";".join((rule, *WAYS[way]))

    def round(self, way, make, number):
        """Whether the call was met: it may be over before, for its threads vary."""
        place = self.place
        if not place.daemon.is_running():
            place.run_daemon("worker")
        place.reset()
        place.path.chmod(0o644)
        os.chown(place.path, 0, 0)
        place.tracer.plan(self.rules(f"pause any@{Course.FROM} {number}", way))
        job = place.daemon.add(place.path)
        if "at" not in place.tracer.report():
            return False
        rival = make(place)
        try:
            rival.act()
        finally:
            place.tracer.go_on()
        found = place.wait(job)
        rival.check(found)
        if rival.leaves:
            place.drive(job)
            demand(place.content() == place.archive.new, "the archive is not the new one")
        elif found["state"] == "waiting":
            demand(found.get("reason"), "it waits without a reason")
            with place.daemon.client() as client:
                client.call("org.vmad.Queue.Cancel", id=job)
            place.daemon.wait(job, seconds=PATIENCE)
        rival.finish()
        demand(not place.left_over(), f"left beside the archive: {place.left_over()}")
        extra = place.state_names() - place.clean_state
        demand(not extra, f"left in the state directory: {sorted(extra)}")
        return True


def select(cases, options):
    if options.case:
        way, rival, number = options.case
        return [case for case in cases if (case[0], case[1].__name__, str(case[2])) == (way, rival, number)]
    names = {*options.names}
    chosen = [case for case in cases if not names or {case[0], case[1].__name__} & names]
    if options.sample is None:
        return chosen
    pairs = collections.defaultdict(list)
    for case in chosen:
        pairs[case[:2]].append(case)
    each = -(-options.sample // max(1, len(pairs)))
    rng = random.Random(options.seed)
    return [case for pair in pairs.values() for case in rng.sample(pair, min(each, len(pair)))]


def run(place, options):
    """How many rounds broke a law."""
    races = Races(place)
    cases = races.cases()
    chosen = select(cases, options)
    begin = time.monotonic()
    tried, met, broken = (collections.Counter() for _ in range(3))
    for way, rival, number in chosen:
        key = (way, rival.__name__)
        tried[key] += 1
        try:
            met[key] += races.round(way, rival, number)
        except (Broken, AssertionError, OSError, EOFError, VarlinkError, subprocess.SubprocessError) as error:
            broken[key] += 1
            print(f"--case {way} {rival.__name__} {number}: {type(error).__name__}: {error}", flush=True)
            place.kill()
            place.forget()
    print_totals(tried, met)
    print(f"races: {len(chosen)} of {len(cases)} tried (seed {options.seed}), {sum(met.values())} survived, "
          f"{sum(broken.values())} broke a law, {time.monotonic() - begin:.0f} s", flush=True)
    if 2 * sum(met.values()) <= len(chosen):
        print("races: most calls were not met", flush=True)
        return sum(broken.values()) + 1
    return sum(broken.values())


def print_totals(tried, met):
    print(f"{'rival':16}" + "".join(f"{way:>14}" for way in WAYS))
    for rival in RIVALS:
        cells = ((tried[key], met[key]) for key in ((way, rival.__name__) for way in WAYS))
        print(f"{rival.__name__:16}" + "".join(f"{f'{survived}/{count}':>14}" for count, survived in cells))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sample", type=int, metavar="N", help="only about N rounds")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the sample")
    parser.add_argument("--case", nargs=3, metavar=("WAY", "RIVAL", "CALL"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    skip_without_tracer()
    with Place.temporary() as place:
        broken = run(place, options)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
