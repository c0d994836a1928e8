#!/usr/bin/env python3
"""How fast vmactl repack is, as a ratio to cp in the same run.

usage: repack_bench.py BUILD [--dir DIR] [--size GIB] [--runs N] [--jitter N] [--threads N]

Makes an archive of two disks in DIR (needs three times its size there), then runs, in turn and with the source in
the page cache: cp and sync; repack --no-proof; cp, sync and a direct read; repack with its proof. Prints wall and
CPU seconds, the ratios of each round and their medians, peak RSS, and how many bytes were read twice.
"""
import argparse
import json
import os
import statistics
import tempfile

from bench_disk import run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--dir", default=None)
    parser.add_argument("--size", type=float, default=4, help="GiB of archive, about")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--jitter", type=int, default=16)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    vmactl = os.path.join(options.build, "src/ctl/vmactl")
    generate = os.path.join(options.build, "tests/support/vma-generate")
    threads = f"--threads {options.threads}" if options.threads else ""
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        source, copy = (os.path.join(directory, name) for name in ("source.vma", "copy.vma"))
        large, small = int(options.size * 800), int(options.size * 224)
        run(f"{generate} {source} --disk drive-scsi0={large}M --disk drive-scsi1={small}M --zero-fraction 0 "
            f"--jitter {options.jitter}")
        print(f"archive: {os.path.getsize(source) / 2**30:.2f} GiB, two disks, jitter {options.jitter}")
        cp = f"cp --reflink=never {source} {copy} && sync {copy}"
        repack = f"exec {vmactl} repack --json --force {threads} {source} {copy}"
        commands = {
            "cp + sync": cp,
            "repack --no-proof": f"{repack} --no-proof",
            "cp + sync + dd": f"{cp} && dd if={copy} of=/dev/null bs=8M iflag=direct status=none",
            "repack": repack,
        }
        results = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                run(f"rm -f {copy}; cat {source} >/dev/null; sync")
                results[name].append(run(command))
        for name, rows in results.items():
            print(f"{name:18} wall " + " ".join(f"{row.wall:6.2f}" for row in rows) + "  CPU " +
                  " ".join(f"{row.cpu:6.2f}" for row in rows))
        for name, base in (("repack --no-proof", "cp + sync"), ("repack", "cp + sync + dd")):
            for what, column in (("wall", 0), ("CPU", 1)):
                ratios = [a[column] / b[column] for a, b in zip(results[name], results[base])]
                print(f"{name} / {base}, {what}: median {statistics.median(ratios):.2f} of " +
                      " ".join(f"{ratio:.2f}" for ratio in ratios))
        print(f"peak RSS: {max(row.rss_mib for row in results['repack']):.0f} MiB")
        print(f"last result: {json.dumps(json.loads(results['repack'][-1].output))}")


main()
