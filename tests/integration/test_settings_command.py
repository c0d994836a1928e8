#!/usr/bin/env python3
"""vmactl settings: the verdict on settings files, and where each value comes from."""

import pathlib
import unittest

from support import ProcessTest

DOCUMENTED = pathlib.Path(__file__).resolve().parents[2] / "config/vmad.toml"


class SettingsTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.environment["VMAD_ROOT"] = str(self.dir)
        self.node = self.write("etc/vmad/vmad.toml", "workers = 2\n")

    def write(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def shown(self, *arguments):
        """{key: (value, origin)}"""
        lines = self.succeed_json("settings", "show", *arguments)
        self.assertEqual([line["key"] for line in lines], sorted(line["key"] for line in lines))
        return {line["key"]: (line["value"], line["origin"]) for line in lines}


class Check(SettingsTest):
    def test_valid(self):
        self.assertEqual(self.succeed("settings", "check"), "settings: valid\n")
        self.assertEqual(self.succeed("settings", "check", self.node), f"{self.node}: valid\n")
        self.assertEqual(self.succeed("settings", "check", DOCUMENTED), f"{DOCUMENTED}: valid\n")
        self.assertEqual(self.succeed_json("settings", "check"), [{"valid": True, "warnings": []}])
        self.node.unlink()
        self.assertEqual(self.succeed("settings", "check"), "settings: valid\n")

    def test_invalid(self):
        for text in ("workers = 0\n", "worker = 1\n", "workers = \n", "\x00", "workers = 1\nworkers = 2\n"):
            self.node.write_text(text)
            for arguments in (["check"], ["check", self.node], ["show"], ["show", self.node]):
                with self.subTest(text=text, arguments=arguments):
                    message = self.refuse(1, "settings", *arguments)
                    self.assertTrue(message.startswith(f"{self.node}:"), message)
        self.refuse(1, "settings", "check", self.dir / "none.toml")

    def test_a_warning_is_a_message(self):
        shared = self.write("etc/pve/vmad.toml", "key_of_the_future = 1\n")
        result = self.vmactl("settings", "check")
        self.assertEqual((result.returncode, result.stdout), (0, "settings: valid\n"))
        self.assertTrue(result.stderr.startswith(f"vmactl: {shared}:1:"), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)

    def test_usage(self):
        for arguments in (["chek"], ["check", "a", "b"]):
            with self.subTest(arguments):
                self.refuse(2, "settings", *arguments)


class Show(SettingsTest):
    def test_each_value_says_where_it_comes_from(self):
        extra = self.write("etc/vmad/vmad.toml.d/10.toml", '\nzstd_level = 7\n')
        shown = self.shown()
        self.assertEqual(shown["workers"], ("2", f"{self.node}:1"))
        self.assertEqual(shown["zstd_level"], ("7", f"{extra}:2"))
        self.assertEqual(shown["socket"], ('"/run/vmad/vmad.sock"', "default"))
        self.assertEqual(self.shown(self.node)["zstd_level"], ("3", "default"))
        self.assertEqual(shown.keys(), self.shown(DOCUMENTED).keys())

    def test_the_table_fits_the_terminal(self):
        self.node.write_text(f'directories = ["/{"d" * 200}", "/x"]\n')
        lines = self.succeed("settings", "show").splitlines()
        self.assertEqual(lines[0].split(), ["KEY", "VALUE", "FROM"])
        self.assertEqual([line.split()[0] for line in lines[1:]], list(self.shown()))
        for line in lines:
            self.assertLessEqual(len(line), 80)


if __name__ == "__main__":
    unittest.main()
