#!/usr/bin/env python3
"""usage: summary.py LOG...: what meson's logs (.json) and those of the system tests (.log) say in the end.

One line for each suite, and one for each test that failed and each case that was skipped, with its reason.
"""
import collections
import json
import pathlib
import re
import sys

# unittest's line, maybe after that of a docstring, and maybe with a prefix.
SKIPPED = re.compile(r"^(?:.*: )?(test_\w+) \(.*\)(?:\n.*)?? \.\.\. skipped (['\"])(.*)\2$", re.M)
FAILED = re.compile(r"^(.*: )?(?:FAIL|ERROR): (.*)$", re.M)


def suites_of_meson(path):
    """{suite: (passed, failed names, skipped texts)}"""
    suites = collections.defaultdict(lambda: (collections.Counter(), [], []))
    for line in path.read_text().splitlines():
        test = json.loads(line)
        suite, _, name = test["name"].removeprefix("vmad:").rpartition(" / ")
        passed, failed, skipped = suites[suite or path.stem]
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            passed["tests"] += 1
        elif test["result"] == "SKIP":
            skipped.append(name)
        else:
            failed.append(f"{name}: {test['result']} after {test['duration']:.0f} s, see {path.with_suffix('.txt')}")
        output = test.get("stdout", "") + "\n" + test.get("stderr", "")
        skipped += [f"{name}: {match[1]}: {match[3]}" for match in SKIPPED.finditer(output)]
    return suites


def suite_of_log(path):
    text = path.read_text(errors="replace")
    passed = collections.Counter(cases=len(re.findall(r" \.\.\. ok$", text, re.M)))
    return {path.stem: (passed, [(match[1] or "") + match[2] for match in FAILED.finditer(text)],
                        [f"{match[1]}: {match[3]}" for match in SKIPPED.finditer(text)])}


def main():
    for log in map(pathlib.Path, sys.argv[1:]):
        if not log.exists():
            print(f"{log.stem:12} not run")
            continue
        read = suites_of_meson if log.suffix == ".json" else suite_of_log
        for suite, (passed, failed, skipped) in read(log).items():
            counts = [f"{count} {what} passed" for what, count in passed.items()]
            counts += [f"{len(failed)} FAILED"] if failed else []
            counts += [f"{len(skipped)} skipped"] if skipped else []
            print(f"{suite:12} {', '.join(counts)}")
            for text in failed:
                print(f"    FAILED  {text}")
            for text in skipped:
                print(f"    skipped {text}")


if __name__ == "__main__":
    main()
