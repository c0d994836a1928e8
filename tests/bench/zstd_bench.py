#!/usr/bin/env python3
"""How fast vmactl repack is with compressed archives, as a ratio to zstd alone in the same run.

usage: zstd_bench.py BUILD [--dir DIR] [--runs N] [--threads N] [--image RAW | [--from PATH]... [--size SIZE]]

Makes an ext4 image of real files in DIR (/usr/bin, /usr/share and /usr/lib until three quarters of SIZE, 3G, are
full; needs three times SIZE there), dumps and compresses it as vzdump does. Then runs, in turn and with the source in
the page cache: zstd twice, to decompress and to compress again; repack --no-proof; zstd twice and a test of the
result; repack with its proof. Everything ends with the result synced. N is for vmactl and the dump, not for zstd -T0.
"""
import argparse
import json
import os
import statistics
import tempfile

from bench_disk import MIB, VZDUMP_ZSTD, add_disk_options, disk_image, run


def print_ratios(results, name, base):
    for what in ("wall", "cpu", "written_mib"):
        ratios = [getattr(a, what) / getattr(b, what) for a, b in zip(results[name], results[base])]
        print(f"{name} / {base}, {what.removesuffix('_mib')}: median {statistics.median(ratios):.2f} of " +
              " ".join(f"{ratio:.2f}" for ratio in ratios) + f", {min(ratios):.2f} to {max(ratios):.2f}")


def print_size(what, size, base):
    print(f"{what:23} {size / MIB:7.1f} MiB, {100 * size / base - 100:+.2f} %")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    add_disk_options(parser)
    options = parser.parse_args()
    vmactl = os.path.join(options.build, "src/ctl/vmactl")
    generate = os.path.join(options.build, "tests/support/vma-generate")
    threads = f"--threads {options.threads}" if options.threads else ""
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        source, again, canonical = (os.path.join(directory, name) for name in ("a.vma.zst", "z.vma.zst", "b.vma.zst"))
        run(f"{generate} - --disk drive-scsi0=@{disk_image(options, directory)} | "
            f"{VZDUMP_ZSTD} --threads={options.threads or 1} >{source}")
        zstd = f"zstd -q -dc {source} | zstd -q -3 -T0 -f -o {again} && sync {again}"
        repack = f"exec {vmactl} repack --json --force {threads} {source} {canonical}"
        commands = {
            "zstd | zstd": zstd,
            "repack --no-proof": f"{repack} --no-proof",
            "zstd | zstd, zstd -t": f"{zstd} && zstd -q -t {again}",
            "repack": repack,
        }
        results = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                run(f"rm -f {again} {canonical}; cat {source} >/dev/null; sync")
                results[name].append(run(command))
                if name == "zstd | zstd":
                    again_size = os.path.getsize(again)
        last = json.loads(results["repack"][-1].output)
        print(f"archive: {last['archive_bytes'] / 2**30:.2f} GiB; {os.cpu_count()} CPUs; "
              f"vmactl {threads or 'by default'}")
        print("synced: by vmactl itself, with zstd by sync of its file before the test; "
              "the proof reads from the disk, zstd -t from the page cache")
        for name, rows in results.items():
            print(f"{name:20} wall " + " ".join(f"{row.wall:6.2f}" for row in rows) + "  CPU " +
                  " ".join(f"{row.cpu:6.2f}" for row in rows) + f"  wrote {rows[-1].written_mib:.0f} MiB")
        print_ratios(results, "repack --no-proof", "zstd | zstd")
        print_ratios(results, "repack", "zstd | zstd, zstd -t")
        for name in ("repack --no-proof", "repack"):
            print(f"peak RSS of {name}: {max(row.rss_mib for row in results[name]):.0f} MiB")
        source_size = os.path.getsize(source)
        print_size("as vzdump has it", source_size, source_size)
        print_size("zstd -3 -T0 of the same", again_size, source_size)
        print_size("canonical", os.path.getsize(canonical), source_size)
        print(f"last result: {json.dumps(last)}")


main()
