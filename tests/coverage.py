#!/usr/bin/env python3
"""usage: coverage.py BUILD: what the programs of a build directory, compiled with counters, have executed of src/.

A table by folder, and below it the lines that were not executed, with the reason where coverage.md gives one. Fails
when a folder of REQUIRED has less than it should.
"""
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


def measured(build):
    """gcovr's JSON, by file, without what the tests themselves instantiate. Branches that only an exception takes are
    not counted."""
    report = build / "coverage.json"
    subprocess.run(["gcovr", "--root", ROOT, "--filter", f"{ROOT}/src/", "--exclude-throw-branches",
                    "--exclude-unreachable-branches", "-j", "4", "--json", report, build / "src"],
                   check=True)
    return {pathlib.PurePath(file["file"]): file["lines"] for file in json.loads(report.read_text())["files"]}


def reasons():
    """{(file, text of the line): reason} of the table rows in coverage.md; without a text, of the whole file."""
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


def missing(files):
    """Prints the lines of the required folders that were not executed."""
    known = reasons()
    for path, lines in sorted(files.items()):
        if path.parts[1] not in REQUIRED:
            continue
        texts = (ROOT / path).read_text().splitlines()
        name = str(path.relative_to("src"))
        for line in counted(lines):
            if line["count"] == 0:
                text = texts[line["line_number"] - 1].strip()
                reason = next((reason for (file, part), reason in known.items() if file == name and part in text), "")
                print(f"{path}:{line['line_number']}: {text}" + (f"\n    {reason}" if reason else ""))


def main():
    files = measured(pathlib.Path(sys.argv[1]).resolve())
    few = table(files)
    print(f"\nAt least {LEAST_LINES:.0f} % of the lines and {LEAST_BRANCHES:.0f} % of the branches of "
          f"{', '.join(REQUIRED)} must be executed. Not executed:\n")
    missing(files)
    if few:
        sys.exit(f"\ntoo few: {', '.join(few)}")


if __name__ == "__main__":
    main()
