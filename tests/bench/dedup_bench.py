#!/usr/bin/env python3
"""What a second backup of a guest adds to a restic and to a borg repository, in each form of its archive.

usage: dedup_bench.py BUILD [--dir DIR] [--changes FACTOR] [--image RAW | [--from PATH]... [--size SIZE]]

Makes an ext4 image of real files in DIR (see zstd_bench.py; needs five times SIZE there), and a copy in which some
files were written, replaced, removed and touched: some tens of MiB, times FACTOR. Each form of the two dumps, of other seed and
time, goes under one name into a fresh repository of its own, without compression. Prints the MiB that the first and
the second backup added there, and the second as a ratio to what the same dump adds as vzdump leaves it.
"""
import argparse
import os
import random
import re
import shutil
import tempfile

from bench_disk import MIB, VZDUMP_ZSTD, add_disk_options, disk_image, run

BLOCK, CLUSTER = 4096, 65536
PLAIN_NAME = re.compile(r"[A-Za-z0-9._+-]+")


def regular_files(image, wanted):
    """Paths of regular files below 1 MiB, with their sizes: about so many, from directories all over the image."""
    found, directories = [], [""]
    while directories and len(found) < wanted:
        directory = directories.pop(0)
        names = 0
        for line in run(f"debugfs -R 'ls -p {directory or '/'}' {image} 2>/dev/null").output.decode().splitlines():
            fields = line.split("/")
            if len(fields) < 7 or not PLAIN_NAME.fullmatch(fields[5]) or fields[5] in (".", "..", "lost+found"):
                continue
            path = f"{directory}/{fields[5]}"
            if fields[2].startswith("04"):
                directories.append(path)
            elif fields[2].startswith("10") and 0 < int(fields[6]) < MIB and names < wanted // 20:
                found.append((path, int(fields[6])))
                names += 1
    return found


def change_image(image, directory, factor):
    """A day in the life of the guest."""
    rng = random.Random(1)
    commands = []
    local = os.path.join(directory, "new")
    os.mkdir(local)

    def write(path, size):
        name = os.path.join(local, str(len(commands)))
        with open(name, "w") as file:
            file.write(rng.randbytes(size // 2 + 1).hex()[:size])  # compresses to a half
        commands.extend([f"cd {os.path.dirname(path)}", f"write {name} {os.path.basename(path)}"])

    files = regular_files(image, 4000)
    rng.shuffle(files)
    few, many, new = (round(number * factor) for number in (100, 400, 24))
    removed, replaced, touched = files[:few], files[few:2 * few], files[2 * few:2 * few + many]
    commands.extend(f"rm {path}" for path, _ in removed + replaced)
    for path, size in replaced:
        write(path, size)
    for path, _ in touched:
        commands.extend(f"sif {path} {field} @1700080000" for field in ("atime", "mtime", "ctime"))
    commands.append("mkdir /new")
    for number in range(new):
        write(f"/new/{number}", MIB)
    script = os.path.join(directory, "commands")
    with open(script, "w") as file:
        file.write("\n".join(commands) + "\n")
    run(f"debugfs -w -f {script} {image} >/dev/null 2>&1; e2fsck -fn {image} >/dev/null 2>&1")
    shutil.rmtree(local)
    print(f"files removed: {len(removed)}, replaced: {len(replaced)}, touched: {len(touched)}, written: {new}")


def print_difference(first, second):
    """The floor: no deduplication adds less than the blocks that changed."""
    changed = {BLOCK: 0, CLUSTER: 0}
    with open(first, "rb") as one, open(second, "rb") as other:
        while a := one.read(MIB):
            b = other.read(MIB)
            if a != b:
                for unit in changed:
                    changed[unit] += unit * sum(a[at:at + unit] != b[at:at + unit] for at in range(0, len(a), unit))
    print(f"changed: {changed[BLOCK] / MIB:.1f} MiB in blocks of 4 KiB, {changed[CLUSTER] / MIB:.1f} in clusters")


def tree_mib(root):
    return sum(os.path.getsize(os.path.join(directory, name)) for directory, _, names in os.walk(root)
               for name in names) / MIB


def added(directory, commands, files):
    """MiB by which the repository grows with each of the files. Commands: to make it, and to back up standard input."""
    repository = os.path.join(directory, "repository")
    environment = {
        "RESTIC_REPOSITORY": repository, "RESTIC_PASSWORD": "bench", "TMPDIR": directory,
        "BORG_REPO": repository, "BORG_BASE_DIR": os.path.join(directory, "borg"),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }
    init, backup = commands
    run(init, environment)
    growth, before = [], tree_mib(repository)
    for day, file in enumerate(files):
        run(f"{backup.format(day=day)} <{file}", environment)
        after = tree_mib(repository)
        growth.append(after - before)
        before = after
    shutil.rmtree(repository)
    return growth


TOOLS = {
    "restic": ("restic -q --no-cache init",
               "restic -q --no-cache --compression off backup --stdin --stdin-filename disk"),
    "borg": ("borg init --encryption none", "borg create --compression none --stdin-name disk ::{day} -"),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--changes", type=float, default=1)
    add_disk_options(parser)
    options = parser.parse_args()
    repack = os.path.join(options.build, "src/ctl/vmactl") + " repack -"
    generate = os.path.join(options.build, "tests/support/vma-generate")
    # Name, what makes it of a dump on standard input, and the form that it is compared with.
    forms = (
        ("as dumped", "cat >{}", "as dumped"),
        ("canonical", f"{repack} {{}} >/dev/null", "as dumped"),
        ("bare disk", None, "as dumped"),
        ("as dumped, zst", f"{VZDUMP_ZSTD} --threads=2 >{{}}", "as dumped, zst"),
        ("the same, not rsyncable", "zstd -q --threads=2 >{}", "as dumped, zst"),
        ("canonical, zst", f"{VZDUMP_ZSTD} --threads=2 | {repack} {{}} >/dev/null", "as dumped, zst"),
    )
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        first, second = disk_image(options, directory), os.path.join(directory, "second.raw")
        run(f"cp --sparse=always {first} {second}")
        change_image(second, directory, options.changes)
        print_difference(first, second)
        print(f"{'MiB added':24}" + "".join(f"{tool:>10} first  second   ratio" for tool in TOOLS))
        reference = {}
        for name, command, base in forms:
            files = [first, second]
            for day, image in enumerate((first, second) if command else ()):
                files[day] = os.path.join(directory, f"file-{day}")
                run(f"{generate} - --disk drive-scsi0=@{image} --dump-seed {day + 1} "
                    f"--ctime {1700000000 + 86400 * day} | " + command.replace("{}", files[day]))
            line = f"{name:24}"
            for tool, commands in TOOLS.items():
                growth = added(directory, commands, files)
                reference[tool, name] = growth[1]
                line += f"{growth[0]:16.1f} {growth[1]:7.1f} {growth[1] / reference[tool, base]:7.3f}"
            print(line, flush=True)
            for file in files if command else ():
                os.remove(file)


main()
