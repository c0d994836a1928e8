"""A shell command with its costs, and the disk of real files that the benchmarks dump."""
import os
import shutil
import stat
import subprocess
import sys
import time
from typing import NamedTuple

MIB = 2**20
VZDUMP_ZSTD = "zstd -q --rsyncable"
STARTED = time.monotonic()


class Cost(NamedTuple):
    """CPU time and what was written are of all processes of a command, RSS of the largest."""
    wall: float
    cpu: float
    rss_mib: float
    written_mib: float
    output: bytes


def run(command, environment=None):
    start = time.monotonic()
    with subprocess.Popen(["bash", "-o", "pipefail", "-c", command], stdout=subprocess.PIPE,
                          env={**os.environ, **(environment or {})}) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if status != 0:
        raise SystemExit(f"failed: {command}")
    return Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024,
                usage.ru_oublock * 512 / MIB, output)


def progress(text):
    elapsed = int(time.monotonic() - STARTED)
    print(f"[{elapsed // 60:3}:{elapsed % 60:02}] {text}", file=sys.stderr, flush=True)


def size_bytes(text):
    units = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1:] in units else int(text)


def vmactl_of(build):
    return os.path.join(os.path.abspath(build), "src/ctl/vmactl")


def generate_of(build):
    return os.path.join(os.path.abspath(build), "tests/support/vma-generate")


def add_disk_options(parser, size="3G"):
    parser.add_argument("--dir", default=None, type=os.path.abspath, help="for everything temporary")
    parser.add_argument("--image", default=None, type=os.path.abspath, help="a raw disk, instead of a new one")
    parser.add_argument("--from", dest="sources", action="append", default=None, help="where the files come from")
    parser.add_argument("--size", type=size_bytes, default=size_bytes(size), help=f"of a new disk ({size})")


def copy_files(sources, target, wanted_bytes):
    """Copies files and symbolic links, in order of their names, until they fill so much of a file system."""
    copied = 0
    for source in sources:
        for directory, names, files in os.walk(source):
            names.sort()
            place = target + os.path.abspath(directory)
            os.makedirs(place, exist_ok=True)
            links = [name for name in names if os.path.islink(os.path.join(directory, name))]
            for name in sorted(files) + links:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                    continue
                if status.st_size > wanted_bytes // 16:  # the last file must not overfill the image
                    continue
                shutil.copy2(path, os.path.join(place, name), follow_symlinks=False)
                copied += -(-status.st_size // 4096) * 4096
                if copied >= wanted_bytes:
                    return
    raise SystemExit(f"{' '.join(sources)}: only {copied / 2**30:.2f} GiB of files; more are needed with --from, "
                     "or a smaller --size")


def disk_image(options, directory):
    """The image that was given, or a new one in the directory: ext4, three quarters of it files."""
    if options.image:
        return options.image
    image, files = os.path.join(directory, "disk.raw"), os.path.join(directory, "files")
    copy_files(options.sources or ["/usr/bin", "/usr/share", "/usr/lib"], files, options.size * 3 // 4)
    run(f"truncate -s {options.size} {image} && "
        f"mkfs.ext4 -q -F -i 8192 -U 00000000-0000-4000-8000-000000000001 "
        f"-E lazy_itable_init=0,hash_seed=00000000-0000-4000-8000-000000000002 -d {files} {image}")
    shutil.rmtree(files)
    return image
