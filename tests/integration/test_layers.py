#!/usr/bin/env python3
"""An arrow between layers never points up or sideways, except as src/README.md lists them."""
import pathlib
import re
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src"


def allowed_layers():
    """{layer: the layers that it may include}, from the table in src/README.md."""
    result = {}
    for line in (SOURCE / "README.md").read_text().splitlines():
        row = re.fullmatch(r"\| `(\w+)/` \|[^|]*\| ([\w ]*) ?\|", line)
        if row:
            result[row[1]] = {row[1], *row[2].split()}
    return result


class Layers(unittest.TestCase):
    def test_every_folder_has_a_row(self):
        folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.iterdir())}
        self.assertEqual(set(allowed_layers()), folders)

    def test_includes_follow_the_table(self):
        allowed = allowed_layers()
        for path in sorted(SOURCE.rglob("*.?pp")):
            layer = path.relative_to(SOURCE).parts[0]
            for number, line in enumerate(path.read_text().splitlines(), 1):
                include = re.match(r'#include "(\w+)/', line)
                if include:
                    # The main file of the daemon is where the worker comes in.
                    extra = {"worker"} if path.name == "vmad.cpp" else set()
                    self.assertIn(include[1], allowed[layer] | extra, f"{path}:{number}")

    def test_names_are_unique(self):
        names = [path.stem for path in SOURCE.rglob("*.cpp")]
        self.assertEqual(sorted(names), sorted(set(names)))


if __name__ == "__main__":
    unittest.main()
