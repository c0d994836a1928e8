#!/usr/bin/env python3
"""usage: summary.py LOG...: what meson's logs (.json) and those of the system tests (.log) say in the end.

One line for each suite. Below it each test that failed with its cases and errors, and what was skipped, by the reason.
"""
import collections
import json
import pathlib
import re
import sys

# unittest's lines, maybe with a prefix: of a case or a whole class, maybe with its docstring on the next line.
CASE = r"^(?P<prefix>\w+ \w+: )?\s*(?P<case>test_\w+|\w+Class|\w+Module) \((?P<place>.*?)\)"
SKIPPED = re.compile(CASE + r"(?: \[.*\])?(?:\n.*?)? \.\.\. skipped (['\"])(?P<reason>.*)\4$", re.M)
FAILED = re.compile(r"^(?P<prefix>\w+ \w+: )?(?:FAIL|ERROR): (?P<case>\w+)(?P<place> \(.*?\))?", re.M)
# doctest's: the case stands above what failed in it.
FAILED_CHECK = re.compile(r"^TEST CASE:  (?P<case>.*)$", re.M)
# The errors of both: an exception, the last line of its traceback; a check and what it was for; a sanitizer's report.
ERROR = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Expired)(?:: .*)?$|^\S+:\d+: (?:FATAL )?ERROR: .*|^SUMMARY: .*|.*runtime error: .*",
                   re.M)

MOST_NAMES = 4
MOST_ERRORS = 4
MOST_CHARACTERS = 300


class Suite:
    def __init__(self):
        self.passed = 0
        self.failed = []  # (name, what is known)
        self.skipped = collections.defaultdict(list)  # reason -> names

    def read_cases(self, name, output):
        """Notes the skipped ones, and returns the failed ones."""
        for match in SKIPPED.finditer(output):
            case = match["place"].rpartition(".")[2] if match["case"].startswith("setUp") else match["case"]
            self.skipped[match["reason"]].append(f"{name or match['prefix'] or ''}{case}")
        failed = [(match["prefix"] or "", match["case"]) for match in FAILED.finditer(output)]
        failed += [("", match["case"]) for match in FAILED_CHECK.finditer(output)]
        return list(dict.fromkeys(failed))

    def lines(self, name, what):
        counts = [f"{self.passed} {what} passed"]
        counts += [f"{len(self.failed)} FAILED"] if self.failed else []
        count = sum(map(len, self.skipped.values()))
        counts += [f"{count} cases skipped"] if count else []
        yield f"{name:12} {', '.join(counts)}"
        for test, known in self.failed:
            yield f"    FAILED   {test}{known}"
        for reason, names in self.skipped.items():
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            yield f"    skipped: {reason}: {', '.join(names[:MOST_NAMES])}{more}"


def errors_of(output):
    """The first ones, a line each: CI may show nothing but this."""
    for error in ERROR.findall(output)[:MOST_ERRORS]:
        yield f"             {error if len(error) <= MOST_CHARACTERS else error[:MOST_CHARACTERS] + '…'}"


def last_line(text):
    return text.strip().rpartition("\n")[2]


def suites_of_meson(path):
    suites = collections.defaultdict(Suite)
    for line in path.read_text().splitlines():
        test = json.loads(line)
        name, _, test_name = test["name"].removeprefix("vmad:").rpartition(" / ")
        suite = suites[name or path.stem]
        output = test.get("stdout", "") + "\n" + test.get("stderr", "")
        failed = suite.read_cases(f"{test_name}: ", output)
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            suite.passed += 1
        elif test["result"] == "SKIP":
            suite.skipped[last_line(test.get("stderr", "")) or "the test says so"].append(test_name)
        else:
            known = [f": {test['result']} after {test['duration']:.0f} s, see {path.with_suffix('.txt')}",
                     *(f"             {case}" for _, case in failed), *errors_of(output)]
            suite.failed.append((test_name, "\n".join(known)))
    for name, suite in suites.items():
        yield from suite.lines(name, "tests")


def suite_of_log(path):
    text = path.read_text(errors="replace")
    suite = Suite()
    suite.passed = len(re.findall(r" \.\.\. ok$", text, re.M))
    suite.failed = suite.read_cases("", text)
    yield from suite.lines(path.stem, "cases")
    if suite.failed:
        yield from errors_of(text)


def main():
    for log in map(pathlib.Path, sys.argv[1:]):
        if not log.exists():
            print(f"{log.stem:12} NOT RUN: what was to come before it failed")
            continue
        for line in (suites_of_meson if log.suffix == ".json" else suite_of_log)(log):
            print(line)


if __name__ == "__main__":
    main()
