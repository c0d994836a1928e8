#!/usr/bin/env python3
"""restic's backup of raw archives that "vmactl mount --all" shows, against that of raw ones that are files.

Backups of the first day's archive take turns, each into a new repository, with nothing in the page cache: out of the
view of a normalized .vma.zst, of the same as a raw file, and of the .vma.zst itself. Then a repository for each of the
three gets a day more at a time, as a directory that holds all days so far, and the MiB that it grows by are printed. The
guest is that of dedup_bench.py. Needs root, restic, and up to 12 GiB in --dir.
"""
import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile

from bench_disk import add_disk_options, progress, run, vmactl_of
from guest_days import make_days
from repositories import RESTIC_TEMPLATE, tree_mib
from rounds import Rounds

FORMS = ("view", "raw", "zstd")
ENDINGS = {"raw": ".vma", "zstd": ".vma.zst"}


class Places:
    """Directories of raw and of compressed archives, and a view of the latter."""
    def __init__(self, options, directory):
        self.options = options
        self.at = {form: os.path.join(directory, form) for form in FORMS}
        for path in self.at.values():
            os.mkdir(path)

    def add(self, day):
        dump = day.dump_command(self.options.build, 16)
        vmactl = vmactl_of(self.options.build)
        paths = {form: f"{self.at[form]}/vzdump-qemu-100-2026_01_{day.number:02}-02_00_00{ending}"
                 for form, ending in ENDINGS.items()}
        run(f"{dump} | {vmactl} repack - {paths['raw']} >/dev/null && "
            f"{vmactl} repack {paths['raw']} {paths['zstd']} >/dev/null")

    @contextlib.contextmanager
    def mounted(self):
        vmactl = f"VMAD_MOUNT={os.path.abspath(self.options.build)}/src/mount/vmad-mount {vmactl_of(self.options.build)}"
        run(f"{vmactl} mount --all {self.at['zstd']} {self.at['view']}")
        try:
            yield
        finally:
            run(f"{vmactl} umount {self.at['view']}")


def new_repository(path):
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(RESTIC_TEMPLATE, path)
    for name in ("data", "index", "locks", "snapshots"):
        os.mkdir(os.path.join(path, name))


def backup_command(repository, path):
    return f"RESTIC_PASSWORD=bench restic -q --no-cache -r {repository} backup --host bench {path}"


def measure_speed(places, directory, rounds):
    template, repository = (os.path.join(directory, name) for name in ("template", "repository"))
    new_repository(template)
    fresh = f"rm -rf {repository} && cp -r {template} {repository} && sync && echo 3 >/proc/sys/vm/drop_caches"
    result = Rounds({form: (fresh, backup_command(repository, path)) for form, path in places.at.items()}, rounds)
    shutil.rmtree(repository)
    result.print_costs()
    result.print_ratio("view", "raw")
    return result


def measure_days(places, days, directory):
    added = {form: [] for form in FORMS}
    repositories = {form: os.path.join(directory, f"repository-{form}") for form in FORMS}
    for repository in repositories.values():
        new_repository(repository)
    for day in days:
        if day.number > days[0].number:
            places.add(day)
            run("sleep 1.5")  # until the view has looked
        for form, repository in repositories.items():
            before = tree_mib(repository)
            run(backup_command(repository, places.at[form]))
            added[form].append(tree_mib(repository) - before)
            progress(f"{form}, day {day.number} ({day.what}): {added[form][-1]:.1f} MiB")
    print(f"\n{'MiB added':12}" + "".join(f"{day.what:>17}" for day in days))
    for form, numbers in added.items():
        print(f"{form:12}" + "".join(f"{number:17.1f}" for number in numbers))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with vmactl, vmad-mount and vma-generate")
    add_disk_options(parser, "1.5G")
    parser.add_argument("--guest", type=os.path.abspath, help="keep the guest's disks there, or take those that are "
                        "there")
    parser.add_argument("--days", type=int, default=4, help="only so many (4)")
    parser.add_argument("--rounds", type=int, default=5, help="0 to measure the days alone (5)")
    parser.add_argument("--json", type=os.path.abspath, help="add the costs to this file")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays mounted
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        days = make_days(options, options.guest or os.path.join(directory, "guest"))[:options.days]
        places = Places(options, directory)
        places.add(days[0])
        with places.mounted():
            if options.rounds > 0:
                measure_speed(places, directory, options.rounds).write_json(options.json, "view")
            measure_days(places, days, directory)


main()
