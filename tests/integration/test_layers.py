#!/usr/bin/env python3
"""The table in src/README.md says exactly what each room includes, and no include points down in it."""
import collections
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"


def table():
    """{layer: the layers that it uses}, in the order of the rows."""
    result = {}
    for line in (SOURCE / "README.md").read_text().splitlines():
        row = re.fullmatch(r"\| `(\w+)/` \|[^|]*\| ([\w ]*) ?\|", line)
        if row:
            result[row[1]] = set(row[2].split())
    return result


def includes():
    """(file, line number, path included) for each include of a file of ours."""
    for path in sorted(SOURCE.rglob("*.?pp")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = re.match(r'#include "([^"]+)"', line)
            if include:
                yield path.relative_to(SOURCE), number, pathlib.PurePath(include[1])


class Layers(unittest.TestCase):
    def test_every_folder_has_a_row(self):
        folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and any(path.rglob("*.?pp"))}
        self.assertEqual(set(table()), folders)

    def test_no_row_uses_one_below_it(self):
        above = set()
        for layer, uses in table().items():
            self.assertLessEqual(uses, above, layer)
            above.add(layer)

    def test_the_table_says_exactly_what_is_included(self):
        used = collections.defaultdict(dict)
        for path, number, include in includes():
            # The main file of the daemon is where the worker comes in.
            if path.name != "vmad.cpp" or include.parts[0] != "worker":
                used[path.parts[0]].setdefault(include.parts[0], f"{path}:{number}")
        for layer, uses in table().items():
            found = {name: place for name, place in used[layer].items() if name != layer}
            with self.subTest(layer):
                self.assertEqual({name: place for name, place in found.items() if name not in uses}, {},
                                 "not in the row")
                self.assertEqual(uses - set(found), set(), "in the row, but not included")

    def test_only_commands_use_commands(self):
        """Within ctl/, commands stand above text/ and operands/, and text/ knows no operands."""
        forbidden = {"text": {"commands", "operands"}, "operands": {"commands"}}
        for path, number, include in includes():
            if path.parts[0] == "ctl" and include.parts[0] == "ctl" and include.name != "command.hpp":
                self.assertNotIn(include.parts[1], forbidden.get(path.parts[1], ()), f"{path}:{number}")

    def test_names_are_unique(self):
        """Among the sources, and among the tests; a source and its header are one."""
        for folder in (SOURCE, ROOT / "tests"):
            places = collections.defaultdict(set)
            for path in folder.rglob("*"):
                if path.suffix in (".cpp", ".hpp", ".py"):
                    places[path.stem].add(str(path.relative_to(ROOT).with_suffix("")))
            self.assertEqual({name: paths for name, paths in places.items() if len(paths) > 1}, {})


if __name__ == "__main__":
    unittest.main()
