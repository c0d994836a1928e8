"""The manual pages say all that there is: commands, options, exit codes, settings, methods, events.

Run as: VMAD_BUILD=builddir python3 test_manuals.py
"""

import os
import re
import shutil
import subprocess
import sys
import unittest

from support import BUILD, SOURCE, VMACTL, VMAD, ProcessTest

PAGES = ("vmactl.1", "vmad.toml.5", "vmad.8", "vmad-hook.8")
MAKER = SOURCE / "config/settings_manual.py"
SETTINGS = SOURCE / "config/vmad.toml"

needs_man = unittest.skipUnless(shutil.which("man"), "man is not installed")


def unescaped(roff):
    """The text without changes of font and escapes."""
    for escape, char in {r"\fB": "", r"\fI": "", r"\fR": "", r"\&": "", r"\(aq": "'", r"\*(Aq": "'", r"\(ti": "~",
                         r"\(ha": "^", r"\-": "-", r"\(ga": "`"}.items():
        roff = roff.replace(escape, char)
    return roff.replace(r"\e", "\\").replace("\\\\", "\\")


def plain(page):
    """The text of a page as one reads it, but not filled."""
    return unescaped(re.sub(r"^\.(\\\".*\n|[A-Za-z]+ ?)", "", (BUILD / page).read_text(), flags=re.M))


def examples(page):
    """What stands in a page in literal blocks."""
    blocks = re.findall(r"^\.nf\n\.RS 4\n(.*?)^\.fi$", (BUILD / page).read_text(), re.M | re.S)
    return [unescaped(block) for block in blocks]


def section(text, heading):
    """What stands below a heading, up to the next one like it."""
    level = "#" * (len(heading) - len(heading.lstrip("#")))
    return re.search(rf"^{re.escape(heading)}\n(.*?)(?=^{level} |\Z)", text, re.M | re.S)[1]


def help_of(program, *command):
    return subprocess.run([program, *command, "--help"], stdout=subprocess.PIPE, text=True, check=True).stdout


def part_of_help(text, heading):
    part = re.search(rf"^{heading}:\n((?:  .*\n)+)", text, re.M)
    return re.findall(r"^  (\S+)", part[1], re.M) if part else []


class ManualTest(ProcessTest):
    def assert_options(self, text, help_text, where):
        """Each option has a paragraph of its own."""
        terms = re.findall(r"^(\*-.*)$", text, re.M)
        for option in ",".join(part_of_help(help_text, "Options")).split(","):
            if option not in ("-h", "--help"):
                self.assertTrue(any(re.search(rf"\*{option}\*", term) for term in terms), f"{where} {option}")

    def test_commands_and_options(self):
        source = (SOURCE / "src/ctl/vmactl.1.scd").read_text()
        top = help_of(VMACTL)
        self.assert_options(section(source, "# OPTIONS"), top, "vmactl")
        commands = part_of_help(top, "Commands")
        self.assertGreater(len(commands), 10)
        for command in commands:
            text = section(source, f"## {command}")
            self.assertIn(f"*vmactl {command}", text)
            help_text = help_of(VMACTL, command)
            self.assert_options(text, help_text, command)
            for action in part_of_help(help_text, "Commands"):
                self.assertIn(f"*vmactl {command} {action}*", text)
                self.assert_options(text, help_of(VMACTL, command, action), f"{command} {action}")

    def test_no_command_or_option_that_is_none(self):
        source = (SOURCE / "src/ctl/vmactl.1.scd").read_text()
        commands = part_of_help(help_of(VMACTL), "Commands")
        for command in re.findall(r"^## ([a-z]\w*)$", source, re.M):
            self.assertIn(command, commands)
            texts = help_of(VMACTL, command)
            texts += "".join(help_of(VMACTL, command, action) for action in part_of_help(texts, "Commands"))
            for term in re.findall(r"^(\*-.*)$", section(source, f"## {command}"), re.M):
                for option in re.findall(r"\*(--?[a-z-]+)\*", term):
                    self.assertRegex(texts, rf"[ ,]{option}\b", f"{command} {option}")

    def test_exit_codes(self):
        source = section((SOURCE / "src/ctl/vmactl.1.scd").read_text(), "# EXIT STATUS")
        of_commands, of_check = source.split("*vmactl status --check* exits")
        declared = re.findall(r"^    \w+ = (\d+),", (SOURCE / "src/ctl/failure.hpp").read_text(), re.M)
        self.assertGreater(len(declared), 5)
        self.assertEqual(re.findall(r"^\*(\d+)\*$", of_commands, re.M), declared)
        results = re.search(r"enum class CheckResult \{(.*?)\}", (SOURCE / "src/ctl/text/status_check.hpp").read_text())[1]
        told = re.findall(r"^\*(\d+)\*\n\t(\w+)", of_check, re.M)
        self.assertEqual([(name.upper(), code) for name, code in re.findall(r"(\w+) = (\d+)", results)],
                         [(name, code) for code, name in told])
        of_daemon = section((SOURCE / "src/daemon/vmad.8.scd").read_text(), "# EXIT STATUS")
        declared = re.findall(r"constexpr int kExit\w+ = (\d+);", (SOURCE / "src/daemon/vmad.cpp").read_text())
        self.assertEqual(re.findall(r"^\*(\d+)\*$", of_daemon, re.M), ["0", *declared])

    def test_states(self):
        interface = (SOURCE / "src/api/org.vmad.Queue.varlink").read_text()
        states = re.findall(r"\w+", re.search(r"type JobState \(([^)]*)\)", interface)[1])
        source = section((SOURCE / "src/ctl/vmactl.1.scd").read_text(), "# DESCRIPTION")
        self.assertEqual(re.findall(r"^\*(\w+)\*$", source, re.M), states)

    def test_daemon(self):
        source = (SOURCE / "src/daemon/vmad.8.scd").read_text()
        self.assert_options(section(source, "# OPTIONS"), help_of(VMAD), "vmad")
        interface = (SOURCE / "src/api/org.vmad.Queue.varlink").read_text()
        methods = re.findall(r"^method (\w+)\(", interface, re.M)
        self.assertGreater(len(methods), 5)
        self.assertEqual(re.findall(r"^\*([A-Z][a-z]\w*)\*$", section(source, "# INTERFACE"), re.M), methods)
        text = plain("vmad.8")
        events = re.findall(r'constexpr Event \w+\{"([\w ]+)", [\w:]+,\s+"(\w{32})"\};',
                            (SOURCE / "src/daemon/job_log.cpp").read_text())
        for name, message_id in events:
            self.assertTrue(re.search(rf"^{name} +{message_id}$", text, re.M), name)
        catalog = re.findall(r"^-- (\w{32})$", (SOURCE / "systemd/vmad.catalog").read_text(), re.M)
        self.assertEqual(sorted(catalog), sorted(message_id for _, message_id in events))
        for metric in re.findall(r'"(vmad_[a-z_]+)"', (SOURCE / "src/daemon/metrics.cpp").read_text()):
            self.assertIn(f"*{metric}*", section(source, "# METRICS"))
        for field in re.findall(r'"(VMAD_[A-Z_]+)"', (SOURCE / "src/daemon/job_log.cpp").read_text()):
            self.assertIn(f"*{field}*", section(source, "# LOG"))

    def test_settings(self):
        text = plain("vmad.toml.5")
        lines = [line for line in text.splitlines() if " = " in line]
        known = {line.split()[0] for line in self.succeed("settings", "show", "/dev/null").splitlines()[1:]}
        defaults = dict(re.findall(r"^#([a-z_]+) = (.*)$", SETTINGS.read_text(), re.M))
        self.assertEqual(set(defaults), known)
        for key, default in defaults.items():
            self.assertIn(f"{key} = {default}", lines)
        # And what is said of them, whatever characters it has.
        words = re.sub(r"\s+", " ", text)
        comment = " ".join(re.findall(r"^# (?!----)(.*)", SETTINGS.read_text().partition("# ----")[2], re.M))
        for sentence in re.findall(r"[^.]+\. ", comment):
            self.assertTrue(sentence.strip() in words, sentence)

    def test_examples_of_settings(self):
        blocks = examples("vmad.toml.5")
        self.assertGreater(len(blocks), 2)
        for block in blocks:
            file = self.dir / "example.toml"
            file.write_text(block)
            result = self.vmactl("settings", "check", file)
            self.assertEqual((result.returncode, result.stdout), (0, f"{file}: valid\n"))
            # What they name is not there, which is all that there is to warn of.
            for line in result.stderr.splitlines():
                self.assertRegex(line, ": there is no (directory|program) /")

    def test_examples_of_scripts(self):
        """Shells read them, and commands and options in them are ours."""
        for page in ("vmactl.1", "vmad.8", "vmad-hook.8"):
            for block in examples(page):
                if re.match(r"command\[|queued ", block):  # no script
                    continue
                subprocess.run(["sh", "-n"], input=block, text=True, check=True)
                for words in re.findall(r"\bvmactl ((?:--json )?[a-z].*?)(?:[|;\\']|>|&&|$)", block, re.M):
                    command = words.removeprefix("--json ").split()[0]
                    for option in re.findall(r"(?<= )--[a-z-]+", words):
                        self.assertRegex(help_of(VMACTL) + help_of(VMACTL, command), rf"{option}[ ,]", block)

    def test_unknown_forms_of_settings(self):
        """Nothing gets lost without a word."""
        frame = self.dir / "frame"
        frame.write_text("a\n@SETTINGS@\nb\n")

        def run(text, frame=frame):
            (self.dir / "settings").write_text(text)
            return subprocess.run([sys.executable, MAKER, frame, self.dir / "settings"], text=True, capture_output=True)

        good = "# About.\n# More.\n\n# ---- One\n\n# What *it* is:\n# - a_b [c] \\d.\n#key = \"*\"\n"
        self.assertEqual(run(good).stdout,
                         "a\n## ONE\n\n*key* = \"\\*\"\n\tWhat \\*it\\* is:\n\t\\- a\\_b \\[c\\] \\\\d.\nb\n")
        for text, line, message in (
                (good + "key = 1\n", 9, "neither"), (good + "#Key = 1\n", 9, "neither"),
                (good + "# more\n", 9, "neither"),
                (good + "\n# lost\n", 10, "no key follows"), (good + "\n# lost\n\n# x\n#y = 1\n", 11, "no key follows"),
                (good + "\n#key = 1\n", 10, "nothing is said of key"), ("# x\n#key = 1\n", 2, "no heading"),
                ("# About.\n", 1, "no settings"), (good + "\n## x\n#y = 1\n", 10, "neither")):
            result = run(text)
            self.assertEqual(result.returncode, 1, text)
            self.assertRegex(result.stderr, rf"settings:{line}: .*{message}", text)
        bad_frame = self.dir / "bad"
        bad_frame.write_text("a\n")
        self.assertIn("there must be one line @SETTINGS@", run(good, bad_frame).stderr)

    def test_pages_name_each_other(self):
        for page in PAGES:
            text = plain(page).partition("SEE ALSO")[2]
            for other in PAGES:
                name, _, number = other.rpartition(".")
                if other != page:
                    self.assertIn(f"{name}({number})", text, page)

    @needs_man
    def test_man_has_nothing_to_complain_about(self):
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
        for page in PAGES:
            # As lintian does.
            result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", BUILD / page],
                                    env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.assertEqual((result.returncode, result.stderr), (0, ""), page)

    @needs_man
    def test_pages_fit_a_terminal(self):
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80", "MAN_KEEP_FORMATTING": ""}
        for page in PAGES:
            text = subprocess.run(["man", "-P", "cat", "-l", BUILD / page], env=environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True, check=True).stdout
            self.assertEqual([line for line in text.splitlines() if len(line) > 80], [], page)
            self.assertEqual(re.findall(r"\S*\\\S*|.*[*_]{2}.*", text.replace(" \\\n", "")), [], page)


if __name__ == "__main__":
    unittest.main()
