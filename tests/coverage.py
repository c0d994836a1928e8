#!/usr/bin/env python3
"""usage: coverage.py [--partly] BUILD: what the programs of a build directory, compiled with counters, have executed of
src/.

A table by folder, and below it the lines that were not executed, with the reason where coverage.md gives one. Fails
when a folder of REQUIRED has less than it should, when a line of REASONED has no reason, and when a reason has no line;
--partly, after some of the tests, tells the same and does not fail.
"""
import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys

TESTS = pathlib.Path(__file__).resolve().parent
ROOT = TESTS.parent
LEAST_LINES, LEAST_BRANCHES = 95.0, 80.0
REQUIRED = ("vma", "canon", "codec", "access", "engine", "repack", "publish", "io", "queue", "worker")
# There each line needs to be executed or to have a reason.
REASONED = tuple(folder for folder in REQUIRED if folder != "repack")
# Of a reason for what is executed in some runs and not in others: a race, or a signal at the right moment.
BY_CHANCE = "by chance: "
HEAD = """Executed of src/, by gcovr over all programs together. A branch is a way that a condition can go; the ways that only
an exception takes, which the compiler adds behind almost every call, and those that it knows to be impossible are not
counted (--exclude-throw-branches, --exclude-unreachable-branches).
"""


def measured(build):
    """gcovr's JSON, by file, without what the tests themselves instantiate."""
    report = build / "coverage.json"
    subprocess.run(["gcovr", "--root", ROOT, "--filter", f"{ROOT}/src/", "--exclude-throw-branches",
                    "--exclude-unreachable-branches", "-j", "4", "--json", report, build / "src"],
                   check=True)
    return {pathlib.PurePath(file["file"]): file["lines"] for file in json.loads(report.read_text())["files"]}


def reasons():
    """{(file, part of a line): reason} of the table rows in coverage.md; without a part, of the whole file."""
    result = {}
    for line in (TESTS / "coverage.md").read_text().splitlines():
        if row := re.fullmatch(r"\| `(\S+?)`(?: `(.+)`)? \| (.+) \|", line):
            result[row[1], row[2] or ""] = row[3]
    return result


def counted(lines):
    return [line for line in lines if not line.get("gcovr/noncode")]


def percent(part, whole):
    return 100.0 * part / whole if whole else 100.0


def table(files):
    """Prints it, and returns the folders that have too little."""
    folders = collections.defaultdict(lambda: [0, 0, 0, 0])
    for path, lines in files.items():
        sums = folders[path.parts[1]]
        for line in counted(lines):
            branches = line.get("branches", [])
            for i, number in enumerate((line["count"] > 0, 1, sum(b["count"] > 0 for b in branches), len(branches))):
                sums[i] += number
    print(f"{'folder':10} {'lines':>6} {'executed':>9} {'branches':>9} {'executed':>9}")
    few = []
    for folder, (lines, all_lines, branches, all_branches) in sorted(folders.items()):
        mark = ""
        if folder in REQUIRED and (percent(lines, all_lines) < LEAST_LINES or
                                   percent(branches, all_branches) < LEAST_BRANCHES):
            few.append(folder)
            mark = "  too few"
        print(f"{folder:10} {all_lines:6} {percent(lines, all_lines):7.1f} % {all_branches:9} "
              f"{percent(branches, all_branches):7.1f} %{mark}")
    return few


def blocks(lines, texts):
    """Runs of lines that were not executed, with nothing executed between them. Brackets alone are no code of ours: the
    compiler puts there what ends a scope after an exception."""
    block = []
    for line in sorted(counted(lines), key=lambda line: line["line_number"]):
        if line["count"] == 0 and not re.search(r"\w", texts[line["line_number"] - 1]):
            continue
        if line["count"] == 0:
            block.append(line["line_number"])
        elif block:
            yield block
            block = []
    if block:
        yield block


def missing(files):
    """Prints the lines of the required folders that were not executed. Returns how many have no reason, and the
    reasons that no line has."""
    known = reasons()
    used, without = set(), 0
    for path, lines in sorted(files.items()):
        if path.parts[1] not in REQUIRED:
            continue
        texts = (ROOT / path).read_text().splitlines()
        name = str(path.relative_to("src"))
        for block in blocks(lines, texts):
            rows = [row for row in known
                    if row[0] == name and any(row[1] in texts[number - 1] for number in block)]
            used.update(rows)
            for number in block:
                print(f"{path}:{number}: {texts[number - 1].strip()}")
            print(f"    {known[rows[0]] if rows else 'no reason'}")
            without += 0 if rows or path.parts[1] not in REASONED else len(block)
    return without, [row for row in known if row not in used and not known[row].startswith(BY_CHANCE)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition(": ")[2],
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--partly", action="store_true")
    arguments.add_argument("build", type=pathlib.Path)
    options = arguments.parse_args()
    files = measured(options.build.resolve())
    print(HEAD)
    few = table(files)
    print(f"\nAt least {LEAST_LINES:.0f} % of the lines and {LEAST_BRANCHES:.0f} % of the branches of "
          f"{', '.join(REQUIRED)} must be executed. Not executed:\n")
    without, stale = missing(files)
    faults = [f"too few: {', '.join(few)}"] if few else []
    faults += [f"{without} lines were not executed and have no reason in tests/coverage.md"] if without else []
    faults += [f"tests/coverage.md has a reason that no line needs: {' '.join(row)}" for row in stale]
    print("\n" + "\n".join(faults or ["Nothing is missing."]))
    if faults and not options.partly:
        sys.exit(1)


if __name__ == "__main__":
    main()
