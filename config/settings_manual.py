#!/usr/bin/env python3
"""Writes the manual page of the settings, in scdoc: settings_manual.py FRAME SETTINGS

The line @SETTINGS@ of FRAME is replaced by what SETTINGS, vmad.toml, says of each key, so that it is said only
once. SETTINGS holds, parted by empty lines: "# ---- HEADING" before the keys of a section, and blocks of comment
lines that end with one or more lines "#KEY = DEFAULT". The blocks before the first heading are about the file
as a whole, and the frame's business.
"""

import re
import sys

PLACEHOLDER = "@SETTINGS@"

HEADING = re.compile(r"# ---- (\S.*)")
KEY = re.compile(r"#([a-z][a-z0-9_]*) = (\S.*)")
COMMENT = re.compile(r"# (\S.*)")


class UnknownForm(Exception):
    """The settings are not of the form that this program knows."""


def escaped(text):
    """The text as scdoc prints it unchanged, at the beginning of a line, too."""
    return re.sub(r"[\\*_#`\[\]|~<>-]|(?<=\+)\+|^[.;:]", lambda match: "\\" + match[0], text)


class Settings:
    """Gathers the text line by line."""

    def __init__(self, path):
        self.path = path
        self.number = 0
        self.seen_heading = False
        self.comment = []  # of the block so far
        self.keys = []  # that ended it
        self.output = []

    def add(self, number, line):
        self.number = number
        if not line:
            self.end_block()
        elif heading := HEADING.fullmatch(line):
            self.end_block()
            self.seen_heading = True
            self.output += [f"## {heading[1].upper()}", ""]
        elif key := KEY.fullmatch(line):
            self.keys.append((key[1], key[2]))
        elif (comment := COMMENT.fullmatch(line)) and not self.keys:
            self.comment.append(comment[1])
        elif not self.seen_heading and line.startswith("#") and not self.keys:
            self.comment.append(line)
        else:
            self.fail("this is neither a comment before a key nor \"#KEY = DEFAULT\"")

    def end_block(self):
        if self.keys and not self.seen_heading:
            self.fail("there is no heading \"# ---- …\" before this key")
        if self.keys and not self.comment:
            self.fail(f"nothing is said of {self.keys[0][0]}")
        if self.comment and not self.keys and self.seen_heading:
            self.fail("no key follows this comment")
        if self.keys:
            # Several keys that share their text stand in one line each.
            names = [f"*{escaped(key)}* = {escaped(default)}" for key, default in self.keys]
            self.output += ["++\n".join(names), *("\t" + escaped(line) for line in self.comment), ""]
        self.comment = []
        self.keys = []

    def fail(self, what):
        raise UnknownForm(f"{self.path}:{self.number}: {what}")


def settings_text(path):
    settings = Settings(path)
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            settings.add(number, line.rstrip("\n"))
    settings.end_block()
    if not settings.output:
        settings.fail("there are no settings")
    return "\n".join(settings.output).rstrip("\n")


def main(frame, settings):
    with open(frame, encoding="utf-8") as file:
        parts = file.read().split(f"\n{PLACEHOLDER}\n")
    if len(parts) != 2:
        raise UnknownForm(f"{frame}: there must be one line {PLACEHOLDER}")
    sys.stdout.reconfigure(encoding="utf-8")
    print(f"\n{settings_text(settings)}\n".join(parts), end="")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UnknownForm as error:
        sys.exit(f"{sys.argv[0]}: {error}")
