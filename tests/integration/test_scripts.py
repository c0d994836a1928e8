"""The two scripts that README begins with: demo.sh from outside, and what run.sh says in its last lines.

Run as: VMAD_BUILD=builddir python3 test_scripts.py
"""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import unittest

from support import BUILD, HANG_SECONDS, SOURCE, VMACTL, VMAD, ProcessTest

TESTS = SOURCE / "tests"
COLUMNS = 80


class UsageTest(ProcessTest):
    """Nothing is installed or built for it."""

    def run_script(self, name, *arguments):
        return subprocess.run([TESTS / name, *arguments], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.environment, timeout=HANG_SECONDS, check=False)

    def test_help(self):
        for name in ("demo.sh", "run.sh"):
            for option in ("-h", "--help"):
                result = self.run_script(name, option)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertTrue(result.stdout.startswith(f"usage: tests/{name}"), result.stdout)
                self.assertIn("in a container or VM", " ".join(result.stdout.split()))
                self.assertLessEqual(max(map(len, result.stdout.splitlines())), COLUMNS)

    def test_help_of_run_sh_names_every_option(self):
        options = re.findall(r"^    (--\w+)\) \w+=true ;;$", (TESTS / "run.sh").read_text(), re.M)
        self.assertEqual(len(options), 4)
        text = self.run_script("run.sh", "--help").stdout
        for option in options:
            self.assertIn(f"\n  {option} ", text)
            self.assertIn(f"[{option}]", text)

    def test_titles_of_steps_fit(self):
        """Those of the steps that no test runs, too; up to 99 minutes."""
        titles = [title for name in ("demo.sh", "run.sh")
                  for title in re.findall(r'next_step "(.*)"', (TESTS / name).read_text())]
        self.assertGreater(len(titles), 8)
        for title in titles:
            self.assertLessEqual(len(f"== 7 of 7, 99:59: {title}"), COLUMNS)

    def test_what_is_misspelt_is_named(self):
        for name in ("demo.sh", "run.sh"):
            result = self.run_script(name, "--frob")
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertIn("--frob; see --help", result.stderr)


class LastLinesTest(ProcessTest):
    def test_a_step_that_fails_is_named_and_what_was_not_asked_for(self):
        """No package can be installed."""
        apt_get = self.dir / "bin/apt-get"
        apt_get.parent.mkdir()
        apt_get.write_text("#!/bin/sh\necho no network\nexit 100\n")
        apt_get.chmod(0o755)
        environment = {**self.environment, "PATH": f"{apt_get.parent}:{os.environ['PATH']}",
                       "VMAD_BUILD_DIR": str(self.dir / "build")}
        result = subprocess.run([TESTS / "run.sh", "--style"], text=True, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
                                timeout=HANG_SECONDS, check=False)
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertEqual(result.stdout.splitlines()[-3:],
                         ["not run: the tests under sanitizers (--sanitize)",
                          "not run: the package on booted systems (--system)",
                          'FAILED: "Dependencies" was not completed; the reason stands above'])


def on_terminal(command, environment, until=None):
    """Runs it on a terminal. Returns its exit code and what the terminal got; until(text) may say when to stop it."""
    try:
        leader, follower = pty.openpty()
    except OSError as error:  # a chroot without /dev/pts
        raise unittest.SkipTest(f"there are no terminals here: {error}") from error
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env=environment,
                          start_new_session=True) as process:
        os.close(follower)
        text = b""
        try:
            while select.select([leader], [], [], HANG_SECONDS)[0]:
                try:
                    block = os.read(leader, 65536)
                except OSError:  # nobody has the other end any more
                    break
                text += block
                if until and until(text.decode(errors="replace")):
                    break
        finally:
            os.close(leader)
            if until:
                process.kill()
        return process.wait(HANG_SECONDS), text.decode(errors="replace")


def lines_on_screen(text):
    """Each state of each line, without escape sequences."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text))


class ProgressTest(ProcessTest):
    def watch(self, log, *command):
        script = f'. "{TESTS}/setup.sh"; watched "$@"'
        return ["bash", "-euo", "pipefail", "-c", script, "bash", log, *command]

    def test_a_silent_command_is_shown_again_and_again(self):
        """It ends when it was shown four times."""
        fifo = self.dir / "fifo"
        os.mkfifo(fifo)
        log = self.dir / "log"
        released = []

        def seen(text):
            if len(re.findall(r"\r  \d+:\d\d  working", text)) >= 4 and not released:
                released.append(os.open(fifo, os.O_WRONLY))
                os.write(released[0], b"\n")
                os.close(released[0])
            return False

        code, text = on_terminal(self.watch(log, "sh", "-c", f"echo working; read -r line <{fifo}"), self.environment,
                                 seen)
        self.assertTrue(released, text)
        self.assertTrue(text.endswith("\r\x1b[K"), text)

    def test_long_lines_fit(self):
        log = self.dir / "log"
        code, text = on_terminal(self.watch(log, "sh", "-c", "printf 'x%.0s' $(seq 300); sleep 1"), self.environment)
        self.assertEqual(code, 0)
        self.assertIn("xxx", text)
        self.assertLess(max(map(len, lines_on_screen(text))), COLUMNS)

    def test_a_failure_shows_the_log_and_ends_the_script(self):
        log = self.dir / "log"
        result = subprocess.run(["bash", "-euo", "pipefail", "-c", f'. "{TESTS}/setup.sh"; watched "$@"; echo behind',
                                 "demo.sh", log, "sh", "-c", "echo the reason; exit 3"], text=True, check=False,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment, timeout=HANG_SECONDS)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr, "the reason\ndemo.sh: failed: sh\n")
        self.assertNotIn("behind", result.stdout)


@unittest.skipUnless(shutil.which("restic") and shutil.which("debugfs"), "restic or e2fsprogs is not installed")
class DemoTest(ProcessTest):
    def setUp(self):
        super().setUp()
        # The programs that are to be tried, where demo.sh looks for them.
        for built, path in (("src/ctl/vmactl", VMACTL), ("src/daemon/vmad", VMAD),
                            ("tests/support/vma-generate", BUILD / "tests/support/vma-generate"),
                            ("tests/bench/plain-restore", BUILD / "tests/bench/plain-restore")):
            place = self.dir / "build" / built
            place.parent.mkdir(parents=True)
            place.symlink_to(path)
        (self.dir / "tmp").mkdir()
        self.environment |= {"VMAD_BUILD": str(self.dir / "build"), "VMAD_DEMO_MIB": "32",
                             "TMPDIR": str(self.dir / "tmp"), "TERM": "xterm"}

    def test_a_run(self):
        code, text = on_terminal([TESTS / "demo.sh"], self.environment)
        self.assertEqual(code, 0, text)
        lines = lines_on_screen(text)
        self.assertEqual([line for line in lines if len(line) > COLUMNS], [])
        steps = re.findall(r"^== (\d) of (\d), ", "\n".join(lines), re.M)
        self.assertEqual(steps, [(str(step), "7") for step in range(1, 8)])
        stored = {name: list(map(float, figures)) for name, *figures in
                  re.findall(r"^  (as vzdump wrote them|repacked by vmad) +([\d.]+) MiB +([\d.]+) MiB$",
                             "\n".join(lines), re.M)}
        # What vzdump wrote is stored again, whole. What vmad makes of it costs what is new, and what lies around that.
        first, second = stored["as vzdump wrote them"]
        self.assertGreater(second, first / 2)
        self.assertLess(stored["repacked by vmad"][1], second / 2)
        self.assertIn("The restored disk equals the guest's, byte for byte.", lines)
        self.assertIn("tests/run.sh", lines[-2])
        self.assertEqual(self.names(self.dir / "tmp"), [])


def meson_line(name, result, output="", errors=""):
    return json.dumps({"name": f"vmad:{name}", "result": result, "duration": 1.4, "stdout": output,
                       "stderr": errors}) + "\n"


class SummaryTest(ProcessTest):
    """Fixed logs, and the lines that they become."""

    def summary(self, *paths):
        return subprocess.run([sys.executable, TESTS / "summary.py", *paths], check=True, text=True, cwd=self.dir,
                              stdout=subprocess.PIPE, timeout=HANG_SECONDS).stdout

    def check(self, log, content, expected):
        (self.dir / log).write_text(content)
        self.assertEqual(self.summary(log), expected)

    def test_all_pass(self):
        self.check("tests.json", meson_line("unit / base", "OK") + meson_line("fault / crash", "EXPECTEDFAIL"),
                   "unit         1 tests passed\n"
                   "fault        1 tests passed\n")

    def test_failed_cases_are_named(self):
        python = ("FAIL: test_one (__main__.ATest.test_one) [a subtest]\nERROR: test_two (__main__.ATest.test_two)\n"
                  "FAIL: test_one (__main__.ATest.test_one) [another]\n"
                  "Traceback (most recent call last):\n  File …\n    raise ValueError(1)\nValueError: 1\n")
        doctest = "TEST CASE:  laws of nature\n\nbase_test.cpp:7: ERROR: CHECK( a == b ) is NOT correct!\n"
        self.check("tests.json", meson_line("integration / hook", "FAIL", python) +
                   meson_line("integration / soak", "TIMEOUT") + meson_line("unit / base", "FAIL", doctest),
                   "integration  0 tests passed, 2 FAILED\n"
                   "    FAILED   hook: FAIL after 1 s, see tests.txt\n"
                   "             test_one\n"
                   "             test_two\n"
                   "             ValueError: 1\n"
                   "    FAILED   soak: TIMEOUT after 1 s, see tests.txt\n"
                   "unit         0 tests passed, 1 FAILED\n"
                   "    FAILED   base: FAIL after 1 s, see tests.txt\n"
                   "             laws of nature\n"
                   "             base_test.cpp:7: ERROR: CHECK( a == b ) is NOT correct!\n")

    def test_skipped_cases_are_named_with_their_reason(self):
        """Whole classes and cases with a docstring, too; the same reason once."""
        no_root = "".join(f"test_{name} (__main__.ATest.test_{name}) ... skipped 'only root'\n" for name in "abcdef")
        others = ("setUpClass (__main__.MountTest) ... skipped 'no namespaces'\n"
                  "test_g (__main__.ATest.test_g)\nWhat it does. ... skipped \"it's not there\"\n")
        self.check("tests.json", meson_line("integration / hook", "OK", no_root + others) +
                   meson_line("integration / scan", "SKIP") +
                   meson_line("integration / races", "SKIP", errors="a warning\nonly root can\n"),
                   "integration  1 tests passed, 10 cases skipped\n"
                   "    skipped: only root: hook: test_a, hook: test_b, hook: test_c, hook: test_d and 2 more\n"
                   "    skipped: no namespaces: hook: MountTest\n"
                   "    skipped: it's not there: hook: test_g\n"
                   "    skipped: the test says so: scan\n"
                   "    skipped: only root can: races\n")

    def test_log_of_the_system_tests(self):
        self.check("system.log",
                   "trixie package: test_1 (__main__.PackageTest.test_1) ... ok\n"
                   "bookworm package: test_1 (__main__.PackageTest.test_1) ... FAIL\n"
                   "bookworm varlinkctl: setUpClass (__main__.VarlinkTest) ... skipped 'no varlinkctl'\n"
                   "bookworm package: FAIL: test_1 (__main__.PackageTest.test_1)\n",
                   "system       1 cases passed, 1 FAILED, 1 cases skipped\n"
                   "    FAILED   bookworm package: test_1\n"
                   "    skipped: no varlinkctl: bookworm varlinkctl: VarlinkTest\n")

    def test_what_did_not_run(self):
        self.assertEqual(self.summary("integration.json"),
                         "integration  NOT RUN: what was to come before it failed\n")


if __name__ == "__main__":
    unittest.main()
