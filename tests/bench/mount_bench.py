#!/usr/bin/env python3
"""What reading a mounted archive costs, as root: of a whole disk against zstd -d, of the first file against extraction.

The ways take turns. The archive is in the page cache, and no mount keeps anything from the one before. Small reads are
of 4 KiB at random places that hold something, each in another region. Needs four times the disk's content in --dir.
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import statistics
import tempfile
import time

from bench_disk import MIB, add_disk_options, disk_image, generate_of, progress, run, size_bytes, vmactl_of
from rounds import Rounds

REGION, PAGE = 2 * MIB, 4096


class Mount:
    """An archive's disk as a file, and the program behind it."""
    def __init__(self, options, archive, directory):
        self.vmactl, self.archive, self.directory = vmactl_of(options.build), archive, directory
        self.environment = {"VMAD_MOUNT": os.path.join(os.path.abspath(options.build), "src/mount/vmad-mount")}
        os.environ.update(self.environment)
        self.disk = os.path.join(directory, "drive-scsi0.raw")

    def up(self):
        return f"{self.vmactl} mount {self.archive} {self.directory} >/dev/null"

    def down(self):
        return f"{{ ! mountpoint -q {self.directory} || {self.vmactl} umount {self.directory}; }}"

    def costs(self):
        """CPU seconds and the largest RSS in MiB of the program."""
        found = run(f"pgrep --full '^[^ ]*vmad-mount .* {self.directory}$'").output
        process = pathlib.Path("/proc") / found.decode().split()[0]
        ticks = (process / "stat").read_text().rsplit(")", 1)[1].split()[11:13]
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), int(status["VmHWM"].split()[0]) / 1024


def make_archives(options, directory):
    """A disk and its archive, and one of the disk enlarged. Those that the directory has already are taken."""
    os.makedirs(directory, exist_ok=True)
    image = options.image or os.path.join(directory, "disk.raw")
    if not os.path.exists(image):
        disk_image(options, directory)
    archives = [os.path.join(directory, f"{name}.vma.zst") for name in ("archive", "large")]
    if not all(map(os.path.exists, archives)):
        enlarged = os.path.join(directory, "large.raw")
        run(f"cp --sparse=always {image} {enlarged} && truncate -s '>{options.disk_size}' {enlarged}")
        for disk, archive in zip((image, enlarged), archives):
            progress(archive)
            run(f"{generate_of(options.build)} - --disk drive-scsi0=@{disk} | "
                f"{vmactl_of(options.build)} repack - {archive} >/dev/null")
        os.remove(enlarged)
    for archive in archives:
        print(f"{os.path.basename(archive)}: {os.path.getsize(archive) / MIB:.0f} MiB", flush=True)
    return image, *archives


def measure_sequential(options, mount, _):
    """The whole disk, holes as well; on all processors and on one."""
    warm = f"cat {mount.archive} >/dev/null"
    commands = {}
    for name, bound in (("", ""), (", one processor", "taskset --cpu-list 0 ")):
        again = f"{mount.down()} && {warm} && {bound}{mount.up()}"
        commands[f"mounted{name}"] = (again, f"{bound}dd if={mount.disk} of=/dev/null bs=1M status=none")
        commands[f"zstd -dc{name}"] = (warm, f"{bound}zstd -q -dc {mount.archive} >/dev/null")
    rounds = Rounds(commands, options.rounds)
    rounds.print_costs()
    for name in ("", ", one processor"):
        rounds.print_ratio(f"mounted{name}", f"zstd -dc{name}")
    rounds.write_json(options.json, "sequential")
    run(f"{mount.down()} && {mount.up()} && dd if={mount.disk} of=/dev/null bs=1M status=none")
    print("the program after such a read: %.2f s of CPU, at most %.0f MiB" % mount.costs())
    run(mount.down())


def measure_first_file(options, mount, paths):
    """One file, from nothing mounted or extracted to nothing mounted."""
    guest, out = os.path.join(paths["directory"], "guest"), os.path.join(paths["directory"], "out")
    mount.archive, name = paths["large"], options.file
    os.makedirs(guest, exist_ok=True)
    os.makedirs(out, exist_ok=True)
    begin = f"{mount.down()} && rm -rf {out}/* && cat {mount.archive} >/dev/null && sync"
    commands = {
        "extract": (begin, f"{mount.vmactl} extract {mount.archive} {out} >/dev/null 2>&1"),
        "mount, loop, copy": (begin, f"{mount.up()} && mount -o ro,noload,loop {mount.disk} {guest} && "
                                     f"cp {guest}{name} {out} && umount {guest} && {mount.down()}"),
        "cp": (begin, f"{mount.vmactl} cp {mount.archive}:{name} {out} >/dev/null")}
    rounds = Rounds(commands, options.rounds)
    rounds.print_costs()
    for way in list(commands)[1:]:
        rounds.print_ratio("extract", way)
    rounds.write_json(options.json, "first file")


def places_with_content(disk, count):
    """Offsets of pages that hold something, each in another region."""
    rng = random.Random(1)
    file = os.open(disk, os.O_RDONLY)
    places = []
    try:
        for region in range(os.fstat(file).st_size // REGION):
            try:
                place = os.lseek(file, region * REGION, os.SEEK_DATA)
            except OSError:
                break
            if place < (region + 1) * REGION:
                places.append(place // PAGE * PAGE)
    finally:
        os.close(file)
    return rng.sample(places, min(count, len(places)))


def measure_random(options, mount, paths):
    places = places_with_content(paths["image"], options.reads)
    for readers in (1, 4):
        rates = {"cold": [], "again, in its memory": []}
        for _ in range(options.rounds):
            run(f"{mount.down()} && {mount.up()}")
            with concurrent.futures.ThreadPoolExecutor(readers) as pool:
                file = os.open(mount.disk, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
                begin = time.monotonic()
                list(pool.map(lambda place: os.pread(file, PAGE, place), places))
                rates["cold"].append(len(places) / (time.monotonic() - begin))
                kept = [place // REGION * REGION + page * PAGE for place in places[-16:] for page in range(0, 512, 2)]
                begin = time.monotonic()
                list(pool.map(lambda place: os.pread(file, PAGE, place), kept))
                rates["again, in its memory"].append(len(kept) / (time.monotonic() - begin))
                os.close(file)
            peak = mount.costs()[1]
        for what, numbers in rates.items():
            print(f"4 KiB at random, {readers} at once, {what}: {statistics.median(numbers):.0f} a second "
                  f"({min(numbers):.0f} to {max(numbers):.0f})")
        print(f"the program after that: at most {peak:.0f} MiB")
    run(mount.down())


MEASURES = {"sequential": measure_sequential, "random": measure_random, "first-file": measure_first_file}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with vmactl, vmad-mount and vma-generate")
    add_disk_options(parser, "4G")
    parser.add_argument("--disk-size", type=size_bytes, default=size_bytes("8G"),
                        help="what the disk is enlarged to, with zeros, for the first file (8G)")
    parser.add_argument("--archives", type=os.path.abspath, help="keep the archives here, and take those that are here")
    parser.add_argument("--file", default="/usr/bin/cat", help="on the disk (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reads", type=int, default=500, help="of 4 KiB, in a round")
    parser.add_argument("--only", choices=list(MEASURES), action="append")
    parser.add_argument("--json", type=os.path.abspath, help="add the costs to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        image, archive, large = make_archives(options, options.archives or directory)
        mount = Mount(options, archive, os.path.join(directory, "at"))
        os.mkdir(mount.directory)
        wanted = options.only or MEASURES
        try:
            for name in wanted:
                MEASURES[name](options, mount, {"image": image, "large": large, "directory": directory})
        finally:
            run(f"! mountpoint -q {directory}/guest || umount {directory}/guest; {mount.down()}")


main()
