#!/usr/bin/env python3
"""How fast vmactl repack is, as a ratio to cp (raw archives) and zstd (compressed ones) in the same run.

Raw, once with random content and once with files: cp and sync; repack --no-verify; cp, sync and a direct read back;
repack, which verifies. Compressed, once files and once a thin disk of some 80 MiB: zstd -dc into zstd -3 of as many
threads, and sync; repack --no-verify; the same zstd and sync, and zstd -t of the result; repack. Commands take turns,
with the source in the page cache, and each ends with its result on the disk. Needs three times the size of an archive
in --dir.
"""
import argparse
import json
import os
import tempfile

from bench_disk import MIB, VZDUMP_ZSTD, add_disk_options, disk_image, generate_of, run, size_bytes, vmactl_of
from rounds import Rounds


class Bench:
    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.generate = f"{generate_of(options.build)} - --jitter {options.jitter}"

    def path(self, name):
        return os.path.join(self.directory, name)

    def files_disk(self):
        if not self.options.image:
            self.options.image = disk_image(self.options, self.directory)
        return f"--disk drive-scsi0=@{self.options.image}"

    def compare(self, title, ending, disks, compress, rewrite, read_back, threads):
        """`rewrite` makes the copy of the source in another way, and `read_back` reads that again."""
        source, copy, ours = (self.path(name + ending) for name in ("source", "copy", "ours"))
        run(f"{self.generate} {disks} | {compress} >{source}")
        rewrite = rewrite.format(source=source, copy=copy) + f" && sync {copy}"
        repack = f"exec {vmactl_of(self.options.build)} repack --json --force {threads} {source} {ours}"
        plain = rewrite.split()[0] + ", sync"
        checked = plain + ", read back"
        prepare = f"cat {source} >/dev/null; sync; rm -f"
        rounds = Rounds({
            plain: (f"{prepare} {copy}", rewrite),
            "repack --no-verify": (f"{prepare} {ours}", f"{repack} --no-verify"),
            checked: (f"{prepare} {copy}", f"{rewrite} && {read_back}{copy}"),
            "repack": (f"{prepare} {ours}", repack),
        }, self.options.rounds)
        print(f"\n{title}: archive of {os.path.getsize(source) / MIB:.0f} MiB, jitter {self.options.jitter}, "
              f"{os.cpu_count()} CPUs, vmactl {threads or 'by default'}")
        rounds.print_costs()
        rounds.print_ratio("repack --no-verify", plain)
        rounds.print_ratio("repack", plain)
        rounds.print_ratio("repack", checked)
        rounds.write_json(self.options.json, title)
        print("result: " + json.dumps(json.loads(rounds.costs["repack"][-1].output)))
        base = os.path.getsize(source)
        for name, path in (("source", source), (plain, copy), ("normalized", ours)):
            print(f"{name:18}{os.path.getsize(path) / MIB:8.1f} MiB {100 * os.path.getsize(path) / base - 100:+.1f} %")
            os.remove(path)

    def raw(self, title, disks):
        threads = f"--threads {self.options.threads}" if self.options.threads else ""
        self.compare(title, ".vma", disks, "cat", "cp --reflink=never {source} {copy}",
                     "dd of=/dev/null bs=8M iflag=direct status=none if=", threads)

    def raw_random(self):
        large, small = self.options.random_size * 25 // 32, self.options.random_size * 7 // 32
        self.raw("raw, random content",
                 f"--disk drive-scsi0={large} --disk drive-scsi1={small} --zero-fraction 0")

    def raw_files(self):
        self.raw("raw, files", self.files_disk())

    def zst_files(self):
        self.zst("zst, files", self.files_disk())

    def zst_thin(self):
        self.zst("zst, thin disk",
                 f"--disk drive-scsi0={self.options.thin_size} --zero-fraction 1 --change 20000")

    def zst(self, title, disks):
        threads = self.options.threads or os.cpu_count()
        self.compare(title, ".vma.zst", disks, VZDUMP_ZSTD,
                     f"zstd -q -dc {{source}} | zstd -q -3 -T{threads} -f -o {{copy}}", "zstd -q -t ",
                     f"--threads {threads}")


MEASUREMENTS = {"raw-random": Bench.raw_random, "raw-files": Bench.raw_files, "zst-files": Bench.zst_files,
                "zst-thin": Bench.zst_thin}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory with vmactl and vma-generate")
    parser.add_argument("measurements", nargs="*", help=", ".join(MEASUREMENTS))
    add_disk_options(parser)
    parser.add_argument("--random-size", type=size_bytes, default=size_bytes("1G"), help="of random content (1G)")
    parser.add_argument("--thin-size", type=size_bytes, default=size_bytes("3T"), help="of a disk that holds next to "
                        "nothing (3T)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jitter", type=int, default=16, help="clusters in flight while the source was dumped (16)")
    parser.add_argument("--threads", type=int, help="of vmactl, and of zstd (all CPUs for zst, else vmactl's default)")
    parser.add_argument("--json", type=os.path.abspath, help="add the costs to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        bench = Bench(options, directory)
        for name in options.measurements or MEASUREMENTS:
            MEASUREMENTS[name](bench)


main()
