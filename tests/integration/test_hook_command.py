#!/usr/bin/env python3
"""vmactl hook: a node's files before and after, and what is said about them."""

import json
import os
import pathlib
import stat
import unittest

from made_up_daemon import QueueCommandTest, status
from support import ProcessTest, run_as_nobody

HOOK = "/etc/vmad/vzdump-hook"
LINK = "etc/vmad/hook.d/00-vzdump-script"
CONFIG = "tmpdir: /var/tmp\n# our script\nscript: /opt/offsite.sh\n"
HOOKED = CONFIG.replace("/opt/offsite.sh", HOOK)
JOBS = """\
vzdump: nightly
\tschedule 01:00
\tenabled 1

vzdump: own
\tschedule 02:00
\tscript /opt/own.sh

vzdump: disabled
\tenabled 0
\tscript /opt/own.sh

vzdump: elsewhere
\tnode another-node
\tscript /opt/own.sh
"""
OWN_SCRIPT = "/etc/pve/jobs.cfg has its own script, \"/opt/own.sh\", so its backups are not announced: " \
    f"remove that setting, or call {HOOK} \"$@\" from the script"


class NodeTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.dir.chmod(0o755)
        self.root = self.dir / "node"
        self.script("etc/vmad/vzdump-hook")
        self.script("opt/offsite.sh")

    def write(self, name, text, mode=0o644):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        path.chmod(mode)
        return path

    def script(self, name, text="#!/bin/sh\n"):
        return self.write(name, text, 0o755)

    def read(self, name="etc/vzdump.conf"):
        return (self.root / name).read_bytes().decode()

    def files(self):
        """{name: (mode, content or target)}, whatever is below the root."""
        found = {}
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(directory, name)
                what = os.readlink(path) if os.path.islink(path) else pathlib.Path(path).read_bytes()
                found[os.path.relpath(path, self.root)] = (os.lstat(path).st_mode, what)
        return found

    def hook(self, action, *arguments, code=0, warnings=(), **options):
        """Runs it, demands this exit code and these warnings, and returns its output."""
        result = self.vmactl("hook", "--root", self.root, action, *arguments, **options)
        messages = [(json.loads(line)["message"] if "--json" in arguments else line[len("vmactl: "):])
                    .replace(str(self.root), "") for line in result.stderr.splitlines()]
        self.assertEqual((result.returncode, messages), (code, list(warnings)), result)
        return result.stdout.replace(str(self.root), "")


class Enable(NodeTest):
    def test_the_earlier_script_is_linked(self):
        self.write("etc/vzdump.conf", CONFIG, 0o640)
        before = self.files()
        output = self.hook("enable")
        self.assertEqual(self.read(), HOOKED)
        self.assertEqual(os.readlink(self.root / LINK), "/opt/offsite.sh")
        self.assertEqual(self.read("etc/vzdump.conf.before-vmad"), CONFIG)
        for name in ("etc/vzdump.conf", "etc/vzdump.conf.before-vmad"):
            self.assertEqual(stat.S_IMODE((self.root / name).stat().st_mode), 0o640)
        self.assertIn("enabled\n", output)
        self.assertIn("previous /opt/offsite.sh\n         run from /etc/vmad/hook.d/00-vzdump-script\n", output)
        enabled = self.files()
        self.assertEqual(self.hook("enable").splitlines()[0], "hook     already enabled, nothing changed")
        self.assertEqual(self.files(), enabled)
        self.assertEqual(self.hook("disable").splitlines()[0], "hook     disabled")
        after = self.files()
        self.assertEqual(after.pop("etc/vzdump.conf.before-vmad")[1], CONFIG.encode())
        self.assertEqual(after, before)
        self.assertEqual(self.hook("disable").splitlines()[0], "hook     not enabled, nothing changed")

    def test_a_node_without_a_script(self):
        for config in ("", "tmpdir: /t\n", "tmpdir: /t", "tmpdir: /t\r\n", "#script: /opt/offsite.sh\n"):
            with self.subTest(config):
                self.write("etc/vzdump.conf", config)
                self.assertNotIn("previous", self.hook("enable"))
                self.assertEqual(self.read().replace("\n", ""), f"{config}script: {HOOK}".replace("\n", ""))
                self.assertEqual(self.names(self.root / "etc/vmad/hook.d"), [])
                self.hook("disable")
                self.assertEqual(self.read(), config)

    def test_a_node_without_the_file(self):
        before = self.files()
        # What umask says does not count.
        output = self.hook("enable", preexec_fn=lambda: os.umask(0o077))
        self.assertNotIn("backup", output)
        self.assertEqual(self.read(), f"script: {HOOK}\n")
        for name, mode in (("etc/vzdump.conf", 0o644), ("etc/vmad/hook.d", 0o755)):
            self.assertEqual(stat.S_IMODE((self.root / name).stat().st_mode), mode)
        self.assertIn("removed (created by vmad)", self.hook("disable"))
        self.assertEqual(self.files(), before)

    @unittest.skipUnless(os.geteuid() == 0, "only root can set this up")
    def test_the_owner_stays(self):
        path = self.write("etc/vzdump.conf", CONFIG)
        os.chown(path, 1234, 5678)
        for action in ("enable", "disable"):
            self.hook(action)
            self.assertEqual((path.stat().st_uid, path.stat().st_gid), (1234, 5678))

    def test_an_earlier_script_that_cannot_be_run_is_told(self):
        for prepare, why in ((lambda path: path.chmod(0o644), "is not executable"),
                             (lambda path: path.unlink(), "is missing")):
            prepare(self.root / "opt/offsite.sh")
            self.write("etc/vzdump.conf", CONFIG)
            self.hook("enable", warnings=[
                f"the previous script /opt/offsite.sh {why}: every backup fails until you fix that or remove its link"])
            self.hook("status", code=1, warnings=[
                f"the previous script /opt/offsite.sh {why}: every backup fails until you fix that or remove "
                "/etc/vmad/hook.d/00-vzdump-script"])
            self.assertEqual(os.readlink(self.root / LINK), "/opt/offsite.sh")
            self.hook("disable", warnings=[
                f"the script /opt/offsite.sh {why}: every backup fails until you fix that or remove the line"])
            self.assertEqual(self.read(), CONFIG)

    def test_refused(self):
        self.write("etc/vzdump.conf", "script: offsite.sh\n")
        before = self.files()
        self.assertEqual(self.hook("enable", code=2, warnings=[
            'the script "offsite.sh" in /etc/vzdump.conf is not an absolute path, so the hook cannot run it: '
            "correct the line or remove it"]), "")
        self.assertEqual(self.files(), before)
        (self.root / HOOK[1:]).unlink()
        self.assertEqual(self.hook("enable", code=1, warnings=[
            f"{HOOK} is missing: every backup would fail; reinstall vmad, or make the hook executable"]), "")
        self.assertEqual(self.refuse(1, "hook", "status", "--root", "/no/where"),
                         "open /no/where: No such file or directory")
        self.refuse(2, "hook", "enable", "x")

    @unittest.skipUnless(os.geteuid() == 0, "root may write anywhere")
    def test_without_permission(self):
        for script in (CONFIG, HOOKED):
            self.write("etc/vzdump.conf", script)
            action = "disable" if script == HOOKED else "enable"
            before = self.files()
            result = self.vmactl("hook", action, "--root", self.root, **run_as_nobody())
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertRegex(result.stderr, r"^vmactl: .*: Permission denied: run as root\n$")
            self.assertEqual(self.files(), before)
        self.hook("status", **run_as_nobody())
        self.write("etc/vzdump.conf", HOOKED, 0o600)
        self.hook("status", code=1, warnings=["open /etc/vzdump.conf: Permission denied: run as root"],
                  **run_as_nobody())


class Jobs(NodeTest):
    def test_a_job_with_its_own_script_is_warned_of(self):
        self.write("etc/pve/jobs.cfg", JOBS)
        warning = f'backup job "own" in {OWN_SCRIPT}'
        self.hook("enable", warnings=[warning])
        output = self.hook("status", warnings=[warning])
        self.assertIn("JOB  OWN SCRIPT\nown  /opt/own.sh\n", output)
        self.hook("disable")
        # Once it calls the hook, all is well.
        self.script("opt/own.sh", f'#!/bin/sh\nexec {HOOK} "$@"\n')
        self.hook("enable")
        self.hook("status")

    def test_a_job_that_runs_the_hook_itself_is_warned_of_when_that_goes(self):
        self.write("etc/pve/jobs.cfg", f"vzdump: a\n\tenabled 0\n\tscript {HOOK}\n\nvzdump: b\n\tscript /x\n")
        self.write("etc/vzdump.conf", HOOKED)
        self.hook("disable", warnings=[
            f'backup job "a" in /etc/pve/jobs.cfg sets {HOOK} as its own script, and fails once vmad is purged: '
            "remove that setting"])

    def test_a_damaged_file_of_jobs_stops_nothing(self):
        self.write("etc/pve/jobs.cfg", "vzdump: a\nscript /x\n")
        self.write("etc/vzdump.conf", CONFIG)
        warning = '/etc/pve/jobs.cfg:2: ignored "script /x", which is not indented; an empty line ends section "a"'
        self.hook("enable", warnings=[warning])
        self.assertEqual(self.read(), HOOKED)
        self.hook("status", warnings=[warning])
        self.hook("disable", warnings=[warning])
        self.assertEqual(self.read(), CONFIG)


class Status(NodeTest):
    def test_text(self):
        self.assertEqual(self.hook("status", code=1), """\
hook     not enabled: vzdump does not announce backups to vmad
script   none
config   /etc/vzdump.conf
""")
        self.write("etc/vzdump.conf", CONFIG)
        self.hook("enable")
        self.script("etc/vmad/hook.d/50-x")
        self.write("etc/vmad/hook.d/60-y", "")
        self.write("etc/vmad/hook.d/.hidden", "")
        (self.root / "etc/vmad/hook.d/70-z").symlink_to("/opt/none")
        self.assertEqual(self.hook("status"), f"""\
hook     enabled
script   {HOOK}
config   /etc/vzdump.conf

HOOK.D            RUN                    LINK TO
00-vzdump-script  yes                    /opt/offsite.sh
50-x              yes
60-y              no: is not executable
70-z              no: is missing         /opt/none
""")
        (self.root / HOOK[1:]).unlink()
        self.hook("status", warnings=[
            f'{HOOK} is missing: every backup fails; reinstall vmad or run "vmactl hook disable"'])

    def test_a_script_that_calls_the_hook_is_as_good(self):
        self.script("opt/offsite.sh", f'#!/bin/sh\n{HOOK} "$@"\n')
        self.write("etc/vzdump.conf", CONFIG)
        self.assertIn("script   /opt/offsite.sh\n", self.hook("status"))
        before = self.files()
        self.assertIn("already enabled", self.hook("enable"))
        self.assertEqual(self.files(), before)

    def test_json(self):
        def run(action, code=0, warnings=()):
            return json.loads(self.hook(action, "--json", code=code, warnings=warnings))
        state = {"enabled": False, "script": "/opt/offsite.sh", "config": "/etc/vzdump.conf", "scripts": [], "jobs": []}
        self.write("etc/vzdump.conf", CONFIG)
        self.assertEqual(run("status", 1), state)
        enabled = {**state, "enabled": True, "script": HOOK, "scripts": [
            {"name": "00-vzdump-script", "target": "/opt/offsite.sh", "obstacle": None}]}
        self.assertEqual(run("enable"), {**enabled, "changed": True})
        self.assertEqual(run("enable"), {**enabled, "changed": False})
        self.assertEqual(run("status"), enabled)
        self.assertEqual(run("disable"), {**state, "changed": True})
        self.assertEqual(run("disable"), {**state, "changed": False})
        self.write("etc/pve/jobs.cfg", JOBS)
        self.write("etc/vzdump.conf", "")
        warning = f'backup job "own" in {OWN_SCRIPT}'
        self.assertEqual(run("status", 1, [warning]),
                         {**state, "script": None, "jobs": [{"id": "own", "script": "/opt/own.sh"}]})

    def test_everything_fits_the_terminal(self):
        long = "/opt/" + "x" * 100
        self.script(long[1:])
        self.script("etc/vmad/hook.d/" + "y" * 100)
        self.write("etc/vzdump.conf", f"script: {long}\n")
        self.write("etc/pve/jobs.cfg", f"vzdump: {'j' * 100}\n\tscript {long}y\n")
        for columns in (60, 80):
            self.environment["COLUMNS"] = str(columns)
            for action in ("status", "enable", "enable", "status", "disable", "disable"):
                output = self.vmactl("hook", "--root", self.root, action).stdout
                for line in output.splitlines():
                    self.assertLessEqual(len(line), columns, line)

    def test_the_node_is_that_of_the_environment(self):
        self.write("etc/vzdump.conf", CONFIG)
        self.environment["VMAD_ROOT"] = str(self.root)
        self.succeed("hook", "enable")
        self.assertEqual(self.read(), HOOKED)


class DaemonStatus(NodeTest, QueueCommandTest):
    """The line in `vmactl status`."""

    MISSING = 'hook    not enabled, backups are not announced; run "vmactl hook enable"'

    def setUp(self):
        super().setUp()
        self.environment["VMAD_ROOT"] = str(self.root)
        self.daemon_that_replies({"parameters": {"status": status()}})

    def lines(self):
        output = self.succeed("status")
        self.assert_fits(output)
        return [line for line in output.splitlines() if line.startswith("hook")]

    def test_where_there_is_no_proxmox(self):
        self.assertEqual(self.lines(), [])

    def test_a_hook_that_is_not_enabled(self):
        (self.root / "etc/pve").mkdir()
        self.assertEqual(self.lines(), [self.MISSING])
        self.write("etc/vzdump.conf", CONFIG)
        self.assertEqual(self.lines(), [self.MISSING])
        _, output = self.vmactl_on_terminal("status")
        self.assertIn("\x1b[33m" + self.MISSING[8:] + "\x1b[0m", output)
        self.assertEqual([set(reply) & {"hook"} for reply in self.succeed_json("status")], [set()])
        self.hook("enable")
        self.assertEqual(self.lines(), [])

    def test_jobs(self):
        self.write("etc/pve/jobs.cfg", JOBS)
        self.write("etc/vzdump.conf", HOOKED)
        self.assertEqual(self.lines(), ['hook    backup job "own" has its own script; see "vmactl hook status"'])
        self.write("etc/pve/jobs.cfg", "vzdump: " + "i" * 100 + "\n\tscript /x\n")
        self.assertEqual(len(self.lines()[0]), 80)
        self.write("etc/pve/jobs.cfg", "vzdump: a\n\tscript /x\n\nvzdump: b\n\tscript /y\n")
        self.assertEqual(self.lines(), ['hook    2 backup jobs have their own script; see "vmactl hook status"'])

    def test_what_cannot_be_read_is_passed_over(self):
        self.write("etc/pve/jobs.cfg", "damaged")
        self.assertEqual(self.lines(), [self.MISSING])
        (self.root / "etc/vzdump.conf").mkdir()
        self.assertEqual(self.lines(), [])
        self.environment["VMAD_ROOT"] = "/no/where"
        self.assertEqual(self.lines(), [])

    def test_without_permission(self):
        self.socket.chmod(0o777)
        self.write("etc/vzdump.conf", CONFIG, 0o600)
        output = self.succeed("status", **run_as_nobody())
        if os.geteuid() == 0:
            self.assertNotIn("hook", output)


if __name__ == "__main__":
    unittest.main()
