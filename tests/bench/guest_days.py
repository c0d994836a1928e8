"""A guest on eight days: what its disks hold, how it is configured, and the dump that vzdump makes of it each day."""
import contextlib
import itertools
import os
import random
from typing import NamedTuple

from bench_disk import MIB, disk_image, generate_of, progress, run, size_bytes

PAGE, REGION = 4096, 2 * MIB
DISK, ADDED_DISK = "drive-scsi0", "drive-scsi1"  # the later name comes first in a dump


class Day(NamedTuple):
    number: int
    what: str
    disks: dict  # name -> image
    config: str  # path of it

    def dump_command(self, build, jitter):
        """Writes the archive to standard output: each day another order, uuid and time."""
        disks = " ".join(f"--disk {name}=@{image}" for name, image in self.disks.items())
        return (f"{generate_of(build)} - {disks} --config qemu-server.conf={self.config} "
                f"--dump-seed {self.number} --ctime {1700000000 + 86400 * self.number} --jitter {jitter}")


@contextlib.contextmanager
def mounted(image, directory, options="loop,noatime"):
    os.makedirs(directory, exist_ok=True)
    run(f"mount -o {options} {image} {directory}")
    try:
        yield directory
    finally:
        run(f"umount {directory}")
        os.rmdir(directory)


def half_random(rng, size):
    """Bytes that compress to a half."""
    return rng.randbytes(size // 2 + 1).hex()[:size].encode()


def write_file(path, content):
    with open(path, "wb") as file:
        file.write(content)


def change_files(image, rng):
    with mounted(image, image + ".mnt") as root:
        found = []
        for directory, names, files in os.walk(root):
            names.sort()
            paths = [os.path.join(directory, name) for name in sorted(files)]
            found.extend(path for path in paths if not os.path.islink(path) and 0 < os.path.getsize(path) < MIB)
        chosen = rng.sample(found, min(240, len(found)))
        for path in chosen[:40]:
            os.remove(path)
        for path in chosen[40:80]:
            write_file(path + ".new", half_random(rng, os.path.getsize(path)))
            os.replace(path + ".new", path)
        for path in chosen[80:]:
            os.utime(path, (1700080000, 1700080000))
        os.mkdir(os.path.join(root, "new"))
        for number in range(10):
            write_file(os.path.join(root, f"new/{number}"), half_random(rng, MIB))


def places_in_use(file, rng, unit):
    """Random multiples of the unit at which the disk holds something; none twice."""
    places = list(range(0, os.fstat(file).st_size // unit * unit, unit))
    rng.shuffle(places)
    return (place for place in places if any(os.pread(file, PAGE, place)))


@contextlib.contextmanager
def opened(image):
    file = os.open(image, os.O_RDWR)
    try:
        yield file
    finally:
        os.close(file)


def discard(image, rng):
    with opened(image) as file:
        places = places_in_use(file, rng, 64 * PAGE)
        holes = [(place, rng.randrange(1, 65) * PAGE) for place in itertools.islice(places, 60)]
    run(" && ".join(f"fallocate --punch-hole --offset {place} --length {size} {image}" for place, size in holes))


def write_database(image, rng):
    with opened(image) as file:
        places = places_in_use(file, rng, REGION)
        regions = list(itertools.islice(places, 64))
        for _ in range(400):
            os.pwrite(file, half_random(rng, PAGE), rng.choice(regions) + rng.randrange(REGION // PAGE) * PAGE)


def grow(image, rng):
    size = os.path.getsize(image)
    os.truncate(image, size + size_bytes("512M"))
    with opened(image) as file:
        os.pwrite(file, half_random(rng, 4 * MIB), size)


def make_added_disk(image, rng):
    write_file(image, half_random(rng, 16 * MIB))
    os.truncate(image, 64 * MIB)


CHANGES = (("files changed", change_files), ("discards", discard), ("database writes", write_database),
           ("disk grown", grow))


def images_of_days(options, directory):
    """The disk on days 1 to 5 and the disk that is added on day 6. Those that the directory has already are taken."""
    added = os.path.join(directory, "added.raw")
    images = [os.path.join(directory, f"day-{number}.raw") for number in range(1, len(CHANGES) + 2)]
    if os.path.exists(added):
        return images, added
    progress("day 1: the disk")
    first = disk_image(options, directory)
    run(f"cp --sparse=always {first} {images[0]}")
    if first != options.image:
        os.remove(first)
    for number, (what, change) in enumerate(CHANGES, 2):
        progress(f"day {number}: {what}")
        before, image = images[number - 2:number]
        run(f"cp --sparse=always {before} {image}")
        change(image, random.Random(what))
    make_added_disk(added, random.Random("added"))
    return images, added


def make_days(options, directory):
    os.makedirs(directory, exist_ok=True)
    images, added = images_of_days(options, directory)
    config = "boot: order=scsi0\ncores: 4\nmemory: 8192\nname: guest\nostype: l26\nscsi0: local:vm-100-disk-0\n"
    longer = config + "scsi1: local:vm-100-disk-1\n" + "".join(f"#note {line}\n" for line in range(300))
    clone = longer.replace("name: guest", "name: clone-of-guest").replace("vm-100", "vm-101")
    paths = {}
    for name, text in (("guest", config), ("longer", longer), ("clone", clone)):
        paths[name] = os.path.join(directory, f"{name}.conf")
        write_file(paths[name], text.encode())
    days = [Day(1, "first backup", {DISK: images[0]}, paths["guest"])]
    for (what, _), image in zip(CHANGES, images[1:]):
        days.append(Day(len(days) + 1, what, {DISK: image}, paths["guest"]))
    both = {DISK: images[-1], ADDED_DISK: added}
    for what, name in (("disk added", "guest"), ("longer config", "longer"), ("clone", "clone")):
        days.append(Day(len(days) + 1, what, both, paths[name]))
    return days


def changed_mib(before, after):
    """MiB of the blocks of 4 KiB that hold something new: no deduplication adds less than that."""
    changed = 0
    for name, image in after.disks.items():
        if image == before.disks.get(name):
            continue
        with open(image, "rb") as new, open(before.disks.get(name, os.devnull), "rb") as old:
            while b := new.read(MIB):
                a = old.read(MIB).ljust(len(b), b"\0")
                if a != b:
                    changed += sum(a[at:at + PAGE] != b[at:at + PAGE] and any(b[at:at + PAGE])
                                   for at in range(0, len(b), PAGE))
    return changed * PAGE / MIB
