#!/usr/bin/env python3
"""usage: precompile.py HEADER OUTPUT FOLDER [OPTION...]: compiles a header with the flags of the sources in a folder.

Run in the build directory. When the compiler cannot do it, or cannot read back what it wrote, OUTPUT is empty and is
not used. The OPTIONs are not looked at: ninja runs this again when they change.
"""
import json
import pathlib
import shlex
import subprocess
import sys

header, output = map(pathlib.Path, sys.argv[1:3])
folder = sys.argv[3]

entry = next(entry for entry in json.loads(pathlib.Path("compile_commands.json").read_text())
             if f"/{folder}/" in entry["file"] and "-include" in entry["command"])
command = shlex.split(entry["command"])
# Without what is compiled to what, which comes last, and without the header itself.
flags = command[:command.index("-MD")]
place = flags.index("-include")
del flags[place:place + 2]


def works(*arguments):
    return subprocess.run([*flags, *arguments], stderr=subprocess.DEVNULL, check=False).returncode == 0


made = works("-x", "c++-header", "-c", header, "-o", output)
if not made or not works("-Winvalid-pch", "-Werror", "-fsyntax-only", "-include", output.with_suffix(""),
                         "-x", "c++", "/dev/null"):
    print(f"{header} is not precompiled: the compiler cannot use it")
    output.write_bytes(b"")
