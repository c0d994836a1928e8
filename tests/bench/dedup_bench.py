#!/usr/bin/env python3
"""What each day's backup of a guest adds to restic, borg, rdiff and a file system that shares blocks.

The guest's disk is an ext4 image of real files, or a copy of --image (a file system without partitions). On seven
days something happens to it: 80 files are replaced or removed, 160 touched and 10 MiB written; 60 ranges of 4 to 256
KiB are discarded; 400 pages of 4 KiB are written in 64 regions of 2 MiB; the disk grows; a disk is added that comes
first in the file; the configuration grows; a clone of the guest is backed up. Each day is dumped in another order and
stored as bare disks, as vzdump leaves it, and normalized, raw and compressed. Prints the MiB that each day added.

All choices are seeded, and all restic repositories cut chunks by one polynomial. Needs root for loop mounts, and up
to 20 GiB in --dir. Tools that are not installed are left out.
"""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time

from bench_disk import MIB, VZDUMP_ZSTD, add_disk_options, progress, run, vmactl_of
from guest_days import changed_mib, make_days
from repositories import REPOSITORIES

ZSTD = f"{VZDUMP_ZSTD} --threads=2"
NORMALIZE = "{vmactl} repack --force - {out} >/dev/null"
FORMS = {  # name -> what makes it of a dump on standard input
    "bare disk": None,
    "dumped.vma": "cat >{out}",
    "normalized.vma": NORMALIZE,
    "dumped.vma.zst": ZSTD + " >{out}",
    "normalized.vma.zst": f"{ZSTD} | {NORMALIZE}",
}
SIZES = FORMS | {"not rsyncable.vma.zst": "zstd -q --threads=2 >{out}"}
UNSHARED = ("dumped.vma", )  # eight days of it fill most of the room


def make_file(form, day, options, jitter, directory):
    out = os.path.join(directory, form.replace(" ", "-"))
    command = SIZES[form].format(out=out, vmactl=vmactl_of(options.build))
    run(f"{day.dump_command(options.build, jitter)} | {command}")
    return out


def measure_days(form, tools, days, options, directory, results):
    """Adds the form's files of each day to all the tools, and what they added to the results."""
    repositories = {}
    try:
        for tool in tools:
            place = os.path.join(directory, tool.replace(" ", "-"))
            os.mkdir(place)
            repositories[tool] = REPOSITORIES[tool][1](place)
            results.setdefault(tool, {})[form] = []
        for day in days:
            files = day.disks
            if FORMS[form]:
                files = {"guest": make_file(form, day, options, options.jitter, directory)}
            for tool, repository in repositories.items():
                start = time.monotonic()
                added = repository.add(files)
                results[tool][form].append(round(added, 2))
                progress(f"{form}, day {day.number} ({day.what}), {tool}: {added:.1f} MiB "
                         f"in {time.monotonic() - start:.1f} s")
            if FORMS[form]:
                os.remove(files["guest"])
    finally:
        for tool, repository in repositories.items():
            repository.close()
            shutil.rmtree(os.path.join(directory, tool.replace(" ", "-")), ignore_errors=True)


def measure_sizes(day, options, directory):
    sizes = {}
    for form in SIZES:
        for jitter in (16, 430):
            if SIZES[form]:
                file = make_file(form, day, options, jitter, directory)
                sizes.setdefault(form, {})[jitter] = round(os.path.getsize(file) / MIB, 2)
                progress(f"{form}, jitter {jitter}: {sizes[form][jitter]:.1f} MiB")
                os.remove(file)
    return sizes


def print_table(title, columns, rows, markdown):
    """Rows: a name and numbers."""
    print()
    if markdown:
        print(f"| {title} | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
        for name, numbers in rows:
            print(f"| {name} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
        return
    print(f"{title:32}" + "".join(f"{column:>16}" for column in columns))
    for name, numbers in rows:
        print(f"{name:32}" + "".join(f"{number:16.1f}" for number in numbers))


def print_results(results, markdown):
    guest = results["guest"]
    if "sizes" in results:
        print_table("size, MiB", ["jitter 16", "jitter 430"],
                    [(form, sizes.values()) for form, sizes in results["sizes"].items()], markdown)
    print_table("changed, MiB", guest["days"], [("blocks of 4 KiB", guest["changed_mib"])], markdown)
    for tool in REPOSITORIES:
        rows = results["added_mib"].get(tool, {})
        print_table(f"{tool}, MiB", guest["days"], [(form, rows[form]) for form in FORMS if form in rows], markdown)


def read_results(path, guest):
    """Those of an earlier run with this guest, to add to, or new ones."""
    results = {"guest": guest, "added_mib": {}}
    if path and os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
        if results["guest"] != guest:
            raise SystemExit(f"{path}: results of another guest; keep one with --guest, or name another file")
    return results


def write_results(path, results):
    if path:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


def measure(options, directory):
    days = make_days(options, options.guest or os.path.join(directory, "guest"))[:options.days]
    guest = {"jitter": options.jitter, "days": [day.what for day in days],
             "disk_mib": os.path.getsize(next(iter(days[0].disks.values()))) / MIB,
             "changed_mib": [0] + [changed_mib(*pair) for pair in zip(days, days[1:])]}
    results = read_results(options.json, guest)
    if options.sizes:
        results["sizes"] = measure_sizes(days[0], options, directory)
        write_results(options.json, results)
    tools = []
    for tool in options.tools:
        if shutil.which(REPOSITORIES[tool][0]):
            tools.append(tool)
        else:
            print(f"{tool}: {REPOSITORIES[tool][0]} is not installed, left out", file=sys.stderr)
    for form in options.forms:
        groups = [[tool] for tool in tools] if form in UNSHARED else [tools]
        for group in groups:
            measure_days(form, group, days, options, directory, results["added_mib"])
            write_results(options.json, results)
    return results


def names_of(table):
    def names(text):
        chosen = text.split(";")
        if unknown := [name for name in chosen if name not in table]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of: {'; '.join(table)}")
        return chosen
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with vmactl and vma-generate")
    add_disk_options(parser, "1.5G")
    parser.add_argument("--guest", type=os.path.abspath, help="keep the guest's disks there, or take those "
                        "that are there")
    parser.add_argument("--days", type=int, default=8, help="only so many")
    parser.add_argument("--jitter", type=int, default=16, help="clusters in flight while a day is dumped (16)")
    parser.add_argument("--forms", type=names_of(FORMS), default=list(FORMS), help="; ".join(FORMS))
    parser.add_argument("--tools", type=names_of(REPOSITORIES), default=list(REPOSITORIES),
                        help="; ".join(REPOSITORIES))
    parser.add_argument("--sizes", action="store_true", help="also the sizes of the first day's archive")
    parser.add_argument("--json", type=os.path.abspath, help="write the results there, beside those that it has")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing stays mounted
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        print_results(measure(options, directory), options.markdown)


main()
