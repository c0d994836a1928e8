"""The command line of vmactl as one table: what is typed, the exit code, the output, the message. All of it against one
daemon, whose queue is paused so that jobs stay as they are.

Run as: VMAD_BUILD=builddir python3 test_command_line.py
"""

import gzip
import json
import os
import re
import time
import unittest

from daemon_process import DaemonTest
from support import OFFICIAL, ProcessTest, make_old

ARCHIVE = OFFICIAL / "a-one-disk.vma"
NAME = "vzdump-qemu-{}-2026_01_01-02_00_00.vma"
NOTHING_QUEUED = "nothing was queued"


def named(what, word, meant):
    return f'unknown {what} "{word}"; did you mean "{meant}"?'


def write_a_duration(option, value, most, command):
    return (f"{option}: write a duration from 1s to {most}, for example 90s, 15min or 1h30min, not \"{value}\"; "
            f'see "vmactl {command} --help"')


# What needs no daemon: words, and the message, which comes with exit code 2.
MISTAKES = [
    ("statsu", named("command", "statsu", "status")),
    ("lsit", named("command", "lsit", "list")),
    ("Status", named("command", "Status", "status")),
    ("frob", 'unknown command "frob"; see "vmactl --help"'),
    ("--frob", 'unknown option "--frob"; see "vmactl --help"'),
    ("--jsno list", named("option", "--jsno", "--json")),
    ("list --vimd 104", named("option", "--vimd", "--vmid")),
    ("list --jsno", named("option", "--jsno", "--json")),
    ("wait --timout=5m", named("option", "--timout", "--timeout")),
    ("show --frob", 'unknown option "--frob"; see "vmactl show --help"'),
    ("hook stauts", named("command", "stauts", "status")),
    ("settings chekc", named("command", "chekc", "check")),
    ("help statsu", named("command", "statsu", "status")),
    ("help hook frob", 'unknown command "frob"; see "vmactl hook --help"'),
    ("help list status", 'unknown command "status"; see "vmactl list --help"'),
    ("info a b", 'unexpected operand "b"; see "vmactl info --help"'),
    ("show", 'JOB is required; see "vmactl show --help"'),
    ("list --state faild", '--state: write failed, not "faild"; see "vmactl list --help"'),
    ("list --vmid 0", '--vmid: write an integer from 1 to 999999999, not "0"; see "vmactl list --help"'),
    ("list --since soon", 'invalid time "soon": use 2026-01-31, "2026-01-31 12:00", or an age such as 7d'),
    ("list --since 7", 'invalid time "7": use 2026-01-31, "2026-01-31 12:00", or an age such as 7d'),
    ("scan --limit 0 .", '--limit: write an integer from 1, not "0"; see "vmactl scan --help"'),
    ("scan --limit x .", '--limit: write an integer from 1, not "x"; see "vmactl scan --help"'),
    ("verify --threads 65 a", '--threads: write an integer from 1 to 64, not "65"; see "vmactl verify --help"'),
    ("log -n 0", '--lines: write an integer from 1 to 1000000, not "0"; see "vmactl log --help"'),
    *((f"wait --timeout={value}", write_a_duration("--timeout", value, "366d", "wait"))
      for value in ("0", "0s", "-1", "1.5h", "5y", "367d", "9" * 300)),
    ("wait --timeout", '--timeout needs a value; see "vmactl wait --help"'),
    *((f"status --watch={value}", write_a_duration("--watch", value, "1d", "status")) for value in ("0", "x", "25h")),
    *((f"repack ARCHIVE DIR/y{ending}",
       f'y{ending}: "{of}" is not a format that can be written: end the name in .vma, .vma.zst, .vma.gz or .vma.lzo')
      for ending, of in ((".vma.bz2", ".bz2"), (".vma.xz", ".xz"), (".tar.zst", ".tar"), (".qcow2", ".qcow2"))),
    ("add local:iso/debian.iso",
     '"local:iso/debian.iso" is an ISO image, not a backup: a backup\'s volume ID is STORAGE:backup/NAME'),
    ("add local-lvm:vm-100-disk-0",
     '"local-lvm:vm-100-disk-0" is a disk of a guest, not a backup: a backup\'s volume ID is STORAGE:backup/NAME'),
    ("add DIR/none.vma", "no such file: DIR/none.vma"),
    ("add DIR/never/mounted/x.vma",
     "no such file: DIR/never/mounted/x.vma; the directory DIR/never/mounted is not there either: is its storage "
     "mounted?"),
    ("add DIR", 'DIR is a directory; "vmactl scan" finds the archives in it'),
    ("add DIR/fifo.vma", "DIR/fifo.vma is not a regular file"),
    ("add DIR/link.vma", "DIR/link.vma is a symbolic link: name the archive by its real path"),
    ("add DIR/empty.vma", "DIR/empty.vma is empty"),
    ("add DIR/vzdump-lxc-101-2026_01_01-02_00_00.tar.zst",
     "DIR/vzdump-lxc-101-2026_01_01-02_00_00.tar.zst is a container backup; only VM backups can be repacked"),
    ("add DIR/tar", "DIR/tar is a tar archive, as vzdump makes of containers, not a VM backup"),
    ("add DIR/tar.gz", "DIR/tar.gz is a tar archive, as vzdump makes of containers, not a VM backup"),
    ("add DIR/debian.iso", "DIR/debian.iso is an ISO image, not a VM backup"),
    ("add DIR/notes", "DIR/notes is not a VMA archive"),
]


class Mistakes(ProcessTest):
    def setUp(self):
        super().setUp()
        self.environment["VMAD_SOCKET"] = str(self.dir / "no-daemon")
        os.mkfifo(self.dir / "fifo.vma")
        (self.dir / "link.vma").symlink_to(ARCHIVE)
        (self.dir / "empty.vma").write_bytes(b"")
        (self.dir / "notes").write_text("before the upgrade\n")
        (self.dir / "vzdump-lxc-101-2026_01_01-02_00_00.tar.zst").write_bytes(b"x" * 600)
        tar = bytearray(10240)
        tar[257:262] = b"ustar"
        (self.dir / "tar").write_bytes(tar)
        (self.dir / "tar.gz").write_bytes(gzip.compress(tar))
        iso = bytearray(1 << 16)
        iso[0x8001:0x8006] = b"CD001"
        (self.dir / "debian.iso").write_bytes(iso)

    def test_each_is_named_with_what_to_write(self):
        names = self.names()
        for line, message in MISTAKES:
            words = [word.replace("ARCHIVE", str(ARCHIVE)).replace("DIR", str(self.dir)) for word in line.split()]
            message = message.replace("DIR", str(self.dir))
            with self.subTest(line[:80]):
                said = self.refuse(2, *words)
                self.assertEqual(said, message)
                # No number of any length is worth reading.
                self.assertIsNone(re.search(r"\d{20}", said.replace("9" * 300, "")))
                result = self.vmactl("--json", *words)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                [told] = result.stderr.splitlines()
                told = json.loads(told)
                self.assertEqual((told["error"], told["exit_code"]), (message, 2))
        self.assertEqual(self.names(), names)

    def test_bare_commands_and_help_print_help(self):
        for words, same in (((), ("--help",)), (("help",), ("--help",)), (("hook",), ("hook", "--help")),
                            (("settings",), ("settings", "--help")), (("help", "list"), ("list", "--help")),
                            (("help", "hook", "enable"), ("hook", "enable", "--help"))):
            with self.subTest(words):
                text = self.succeed(*words)
                self.assertIn(f"\nUsage: vmactl {' '.join(same[:-1])}".rstrip(), text)
                self.assertEqual(text, self.succeed(*same))

    def test_help_fits_a_terminal(self):
        commands = re.findall(r"^  (\w+)  ", self.succeed("--help").partition("\nCommands:\n")[2], re.M)
        self.assertIn("umount", commands)
        for command in commands:
            text = self.succeed("help", command)
            self.assertEqual([line for line in text.splitlines() if len(line) > 80], [], command)

    def test_other_errors_are_json_too(self):
        (self.dir / "damaged.vma").write_bytes(ARCHIVE.read_bytes()[:-1])
        for words, code, fields in (
                (("status",), 3, {}), (("info", self.dir / "none.vma"), 1, {"path": str(self.dir / "none.vma")}),
                (("extract", self.dir / "damaged.vma", self.dir / "out"), 6, {"rule": "extent-truncated"})):
            result = self.vmactl("--json", *words)
            told = json.loads(result.stderr)
            self.assertEqual((result.returncode, result.stdout, told["exit_code"]), (code, "", code))
            self.assertEqual({name: told[name] for name in fields}, fields)
            self.assertTrue(told["error"])
        warned = self.vmactl("--json", "scan", "--dry-run", self.dir / "none")
        self.assertEqual(list(json.loads(warned.stderr)), ["error"])

    def test_one_bad_word_of_several_queues_nothing(self):
        words = [str(ARCHIVE), f"{self.dir}/notes", f"{self.dir}/none.vma"]
        result = self.vmactl("add", *words)
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertEqual(result.stderr.splitlines(), [f"vmactl: {words[1]} is not a VMA archive",
                                                      f"vmactl: no such file: {words[2]}", "vmactl: nothing was queued"])

    def test_settings_check_warns_of_what_is_not_there(self):
        file = self.dir / "vmad.toml"
        (self.dir / "data").write_text("")
        lines = {"directories": f'["{self.dir}", "{self.dir}/gone"]', "spill_dir": f'"{self.dir}/spill"',
                 "metrics_file": f'"{self.dir}/metrics/vmad.prom"', "on_success": f'["{self.dir}/none", "x"]',
                 "on_failure": f'["{self.dir}/data"]', "notify": '"proxmox"'}
        file.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
        node = {**self.environment, "VMAD_ROOT": str(self.dir)}
        result = self.vmactl("settings", "check", file, env=node)
        self.assertEqual((result.returncode, result.stdout), (0, f"{file}: valid\n"))
        expected = [f"{file}:1: directories: there is no directory {self.dir}/gone",
                    f"{file}:2: spill_dir: there is no directory {self.dir}/spill",
                    f"{file}:3: metrics_file: there is no directory {self.dir}/metrics",
                    f"{file}:4: on_success: there is no program {self.dir}/none",
                    f"{file}:5: on_failure: {self.dir}/data is not executable",
                    f"{file}:6: notify: there is neither Proxmox VE's notification system nor sendmail"]
        self.assertEqual(result.stderr.splitlines(), [f"vmactl: {line}" for line in expected])
        [told] = [json.loads(line) for line in self.vmactl("--json", "settings", "check", file,
                                                                     env=node).stdout.splitlines()]
        self.assertEqual(told, {"valid": True, "warnings": expected})
        for way in ("usr/share/perl5/PVE/Notify.pm", "usr/sbin/sendmail"):
            path = self.dir / way
            path.parent.mkdir(parents=True)
            path.touch()
            self.assertNotIn("notify", self.vmactl("settings", "check", file, env=node).stderr)
            path.unlink()
        file.write_text('notify = "mail"\n')
        result = self.vmactl("settings", "check", file)
        self.assertEqual((result.returncode, result.stderr), (
            1, f'vmactl: {file}:1:10: notify is "mail"; write "off" or "proxmox"\n'))


class WithDaemon(DaemonTest):
    """One daemon for all; `run` is a row of the table."""

    def run_row(self, words, code=0, output=None, message=""):
        with self.subTest(words):
            got = self.vmactl(*words)
            self.assertEqual((got[0], got[2]), (code, message and f"vmactl: {message}\n"), got)
            if output is not None:
                self.assertEqual(got[1], output)
            return got[1]

    def archive_of(self, vmid):
        path = self.dump / NAME.format(vmid)
        path.write_bytes(ARCHIVE.read_bytes())
        make_old(path)
        return str(path)

    def listed(self, *filters):
        return [json.loads(line)["id"] for line in self.run_row(["--json", "list", *filters]).splitlines()]

    def fake_journal(self):
        """Knows of job 1, which it says under both of its fields, and of nothing else."""
        programs = self.dir / "bin"
        programs.mkdir()
        program = programs / "journalctl"
        program.write_text('#!/bin/sh\nfor last; do :; done\n'
                           'case $last in VMAD_JOB=1|VMAD_VMID=104|SYSLOG*) echo "of $last";; esac\n')
        program.chmod(0o755)
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{programs}:{before}"
        self.addCleanup(os.environ.__setitem__, "PATH", before)

    def test_the_queue(self):
        daemon = self.start()
        self.vmactl("pause")
        a, b, c = (self.archive_of(vmid) for vmid in (104, 105, 104104))
        self.run_row(["add", a], output="vmad: queued as job 1\n")
        self.run_row(["add", a, b], output=f"vmad: already queued as job 1: {a}\nvmad: queued as job 2: {b}\n")
        self.run_row(["add", "--storage", "nas", c], output="vmad: queued as job 3\n")
        # Both at once: one is a job's number, and one a guest's.
        self.assertEqual(self.run_row(["show", "1"]), self.run_row(["show", "104"]))
        self.assertTrue(self.run_row(["show", "3"]).startswith("Job:         3\n"))
        self.run_row(["show", "77"], 4, "", "no job 77: it does not exist, or it finished long ago")
        # Only what changes nothing takes it.
        self.run_row(["cancel", "104"], 4, "", "no job 104: it does not exist, or it finished long ago")
        self.run_row(["cancel", "2"])
        for filters, ids in (((), [1, 3]), (("--vmid", "104"), [1]), (("--vmid", "105"), [2]), (("--vmid", "9999"), []),
                             (("--storage", "nas"), [3]), (("--storage", "other"), []), (("--since", "1h30min"), [1, 2, 3]),
                             (("--since", time.strftime("%Y-%m-%d", time.localtime(time.time() + 2 * 86400))), []),
                             (("--vmid", "105", "--state", "queued"), [])):
            self.assertEqual(self.listed(*filters), ids, filters)
        self.run_row(["wait", "--timeout", "1", "3"], 5, "",
                     f"job 3 has not finished: queued: {c}: the queue is paused\n"
                     "vmactl: 1 job has not finished within 1s")
        self.fake_journal()
        self.run_row(["log", "1"], output="of VMAD_JOB=1\n")
        self.run_row(["log", "104"], output="of VMAD_VMID=104\n")
        self.run_row(["log"], output="of SYSLOG_IDENTIFIER=vmad\n")
        self.run_row(["log", "77"], 4, "", "no log of 77: no such job, or its log was removed")
        self.run_row(["log", "/nowhere.vma"], 4, "", "no log of /nowhere.vma: no such job, or its log was removed")
        self.assertEqual(len(daemon.jobs()), 3)


if __name__ == "__main__":
    unittest.main()
