#!/usr/bin/env python3
"""Volume ids of Proxmox VE wherever vmactl takes an archive, and what vmactl log hands to journalctl."""

import json
import os
import unittest

from daemon_process import DaemonTest
from support import ProcessTest, generate, make_old

NAME = "vzdump-qemu-100-2026_01_01-02_00_00.vma"
VOLUME = f"store:backup/{NAME}"


class VolumeIdTest(ProcessTest):
    """With a storage "store" that holds one archive."""

    def setUp(self):
        super().setUp()
        self.environment["VMAD_ROOT"] = str(self.dir / "root")
        self.config = self.dir / "root/etc/pve/storage.cfg"
        self.config.parent.mkdir(parents=True)
        dump = self.dir / "store/dump"
        dump.mkdir(parents=True)
        self.config.write_text(f"dir: store\n\tpath {self.dir}/store\n\tcontent backup\n\npbs: remote\n\tserver s\n")
        self.path = generate(dump / NAME, "--disk", "drive-scsi0=128K")
        make_old(self.path)


class Toolbox(VolumeIdTest):
    def test_info_and_verify(self):
        for command in ("info", "verify"):
            self.assertEqual(self.succeed_json(command, VOLUME), self.succeed_json(command, self.path))

    def test_extract(self):
        self.succeed("extract", VOLUME, self.dir / "by-volume")
        self.succeed("extract", self.path, self.dir / "by-path")
        self.assertEqual((self.dir / "by-volume/disk-drive-scsi0.raw").read_bytes(),
                         (self.dir / "by-path/disk-drive-scsi0.raw").read_bytes())

    def test_repack_to_a_file_and_in_place(self):
        [summary] = self.succeed_json("repack", VOLUME, self.dir / "out.vma")
        self.assertEqual(summary["source"], str(self.path))
        [result] = self.succeed_json("repack", "--in-place", "--state-dir", self.dir / "state", VOLUME)
        self.assertEqual((result["path"], result["outcome"]), (str(self.path), "done"))
        self.assertEqual(self.path.read_bytes(), (self.dir / "out.vma").read_bytes())

    def test_a_damaged_configuration_is_warned_of_once_and_stops_only_what_it_is_about(self):
        self.config.write_text("dir nas\n\ndir: broken\n\n" + self.config.read_text())
        ignored = f'vmactl: {self.config}:1: ignored "dir nas", which does not begin a section (TYPE: ID)\n'
        skipped = f'{self.config}:3: the storage "broken" has no path'
        result = self.vmactl("verify", VOLUME, VOLUME)
        self.assertEqual((result.returncode, result.stderr), (0, f"{ignored}vmactl: {skipped}, and is skipped\n"))
        result = self.vmactl("verify", "broken:backup/x.vma")
        self.assertEqual((result.returncode, result.stderr),
                         (1, f"{ignored}vmactl: {skipped}\n"))

    def test_scan_takes_one_archive(self):
        [found] = self.succeed_json("scan", "--dry-run", VOLUME)
        self.assertEqual((found["path"], found["canonical"]), (str(self.path), False))

    def test_a_file_of_that_name_comes_first(self):
        (self.dir / "store:backup").mkdir()
        generate(self.dir / VOLUME, "--disk", "drive-ide0=64K")
        before = os.getcwd()
        os.chdir(self.dir)
        self.addCleanup(os.chdir, before)
        [info] = self.succeed_json("info", VOLUME)
        self.assertEqual((info["path"], info["devices"][0]["name"]), (VOLUME, "drive-ide0"))
        os.chdir("/")
        [info] = self.succeed_json("info", VOLUME)
        self.assertEqual(info["path"], str(self.path))
        self.refuse(1, "info", f"./{VOLUME}")

    def test_what_is_no_file_of_a_storage_is_refused(self):
        out = self.dir / "out"
        for volume, code, message in (
                ("nas:backup/x.vma", 2, f'no storage "nas" in {self.config}'),
                ("remote:backup/vm/100/2026-01-01T00:00:00Z", 2,
                 'the storage "remote" is of type pbs, which does not store archives as files'),
                ("store:backup/../x.vma", 2,
                 '"store:backup/../x.vma" is not a backup: "../x.vma" is not a file name'),
                ("store:backup/gone.vma", 1, f"open {self.dir}/store/dump/gone.vma: No such file or directory")):
            for arguments in (["info", volume], ["verify", volume], ["extract", volume, out],
                              ["repack", volume, out]):
                with self.subTest(arguments):
                    self.assertEqual(self.refuse(code, *arguments), message)
                    self.assertFalse(out.exists())
        self.assertIn("no storage", self.refuse(2, "repack", "--in-place", "--state-dir",
                                                   self.dir / "state", "nas:backup/x.vma"))

    def test_without_proxmox(self):
        self.config.unlink()
        self.assertEqual(self.refuse(1, "info", VOLUME),
                         f"no such file: {VOLUME}; it cannot be a volume ID either, because there is no Proxmox VE storage "
                         f"configuration (open {self.config}: No such file or directory)")
        self.config.write_text("nonsense\n")
        result = self.vmactl("info", VOLUME)
        self.assertEqual((result.returncode, result.stderr),
                         (2, f'vmactl: {self.config}:1: ignored "nonsense", which does not begin a section (TYPE: ID)\n'
                             f'vmactl: no storage "store" in {self.config}\n'))

    def test_one_bad_word_does_not_stop_verify(self):
        result = self.vmactl("--json", "verify", "nas:backup/x.vma", VOLUME)
        self.assertEqual(result.returncode, 2)
        self.assertEqual([json.loads(line)["result"] for line in result.stdout.splitlines()], ["failed", "valid"])


class Log(VolumeIdTest):
    """With a journalctl that tells how it was called."""

    def setUp(self):
        super().setUp()
        programs = self.dir / "bin"
        programs.mkdir()
        program = programs / "journalctl"
        program.write_text('#!/bin/sh\ncase $* in --quiet*) echo one; exit 0; esac\nprintf "%s\\n" "$@"\nexit 5\n')
        program.chmod(0o755)
        self.environment["PATH"] = f"{programs}:{self.environment['PATH']}"

    def log(self, *arguments):
        result = self.vmactl(*arguments)
        # It is journalctl that ends.
        self.assertEqual((result.returncode, result.stderr), (5, ""))
        return result.stdout.splitlines()

    def test_it_asks_the_journal_by_field(self):
        before = os.getcwd()
        os.chdir(self.path.parent)
        self.addCleanup(os.chdir, before)
        archive = f"VMAD_ARCHIVE={self.path}"
        for arguments, expected in (
                (["log"], ["SYSLOG_IDENTIFIER=vmad"]),
                (["log", "17"], ["VMAD_JOB=17"]),
                (["log", "007"], ["VMAD_JOB=7"]),
                (["log", self.path], [archive]),
                (["log", NAME], [archive]),
                (["log", VOLUME], [archive]),
                (["log", "./17"], [f"VMAD_ARCHIVE={self.path.parent}/17"]),
                (["log", "17x"], [f"VMAD_ARCHIVE={self.path.parent}/17x"]),
                (["log", "-f"], ["--follow", "SYSLOG_IDENTIFIER=vmad"]),
                (["log", "-n", "20", "-f", "17"], ["--follow", "--lines=20", "VMAD_JOB=17"]),
                (["--json", "log", "17"], ["--output=json", "VMAD_JOB=17"])):
            with self.subTest(arguments):
                self.assertEqual(self.log(*arguments), expected)

    def test_bad_words(self):
        for arguments in (["-n", "0"], ["-n", "x"], ["1", "2"], ["nas:backup/x"]):
            with self.subTest(arguments):
                self.refuse(2, "log", *arguments)

    def test_without_journalctl(self):
        self.environment["PATH"] = str(self.dir / "none")
        self.assertEqual(self.refuse(1, "log"), "run journalctl: No such file or directory")


class Queue(DaemonTest):
    def setUp(self):
        super().setUp()
        config = self.dir / "etc/pve/storage.cfg"
        config.parent.mkdir(parents=True)
        config.write_text(f"dir: store\n\tpath {self.dir}\n")
        os.environ["VMAD_ROOT"] = str(self.dir)
        self.addCleanup(os.environ.pop, "VMAD_ROOT")

    def succeed(self, *arguments):
        code, output, messages = self.vmactl("--json", *arguments)
        self.assertEqual((code, messages), (0, ""))
        return [json.loads(line) for line in output.splitlines()]

    def test_add_and_wait(self):
        archive = self.archive()
        volume = f"store:backup/{archive.path.name}"
        self.start()
        [reply] = self.succeed("add", "--announced", volume)
        self.assertEqual((reply["job"]["path"], reply["job"]["storage"]), (str(archive.path), "store"))
        [job] = self.succeed("wait", volume)
        self.assertEqual((job["id"], job["state"]), (reply["job"]["id"], "done"))
        self.assert_canonical(archive)

    def test_add_takes_the_name_of_the_storage(self):
        first, second = self.archive(100), self.archive(101)
        self.start()
        [reply] = self.succeed("add", "--announced", "--storage", "nas", str(first.path))
        self.assertEqual(reply["job"]["storage"], "nas")
        [reply] = self.succeed("add", "--announced", str(second.path))
        self.assertNotIn("storage", reply["job"])

    def test_a_bad_volume_id_stops_add_before_anything_is_queued(self):
        archive = self.archive()
        daemon = self.start()
        code, output, messages = self.vmactl("add", str(archive.path), "nas:backup/x.vma")
        self.assertEqual((code, output), (2, ""))
        self.assertIn('no storage "nas"', messages)
        self.assertEqual(daemon.jobs(), [])


if __name__ == "__main__":
    unittest.main()
