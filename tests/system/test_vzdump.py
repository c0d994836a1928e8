"""The installed hook, called as vzdump calls it, beside the script that was there before."""

import re
import unittest

from system_test import DUMP, OTHER_SAMPLE, SAMPLE, STAND_IN, SystemTest

OLDER = "/usr/local/bin/older-hook"
OLDER_LOG = "/var/log/older-hook"
CONFIG = f"# vzdump default settings\n\n#tmpdir: DIR\n bwlimit: 0\nscript:   {OLDER}  \nlockwait: 180"
GUEST_PHASES = ["backup-start", "pre-stop", "pre-restart", "post-restart", "backup-end", "log-end"]


class VzdumpTest(SystemTest):
    @classmethod
    def prepare(cls):
        super().prepare()
        cls.box.put("/root/vzdump", STAND_IN, 0o755)
        cls.box.put("/root/guest.vma", SAMPLE)
        cls.box.put("/root/other.vma", OTHER_SAMPLE)
        cls.box.output("vmactl", "repack", "/root/other.vma", "/root/other.vma.zst")
        # One frame, as vzdump's zstd writes it.
        cls.box.shell("cd /root; rm other.vma.zst; zstd -q other.vma; echo container >/root/ct.tar")

    def setUp(self):
        self.older_hook(f'echo "$*|$VMTYPE|$TARGET|$STOREID|$DUMPDIR|$HOSTNAME|$LOGFILE" >>{OLDER_LOG}\n')
        self.box.put("/etc/vzdump.conf", CONFIG)
        self.box.shell(f"rm -rf {DUMP}/* {OLDER_LOG} /etc/vmad/hook.d/*")
        self.box.output("vmactl", "hook", "enable")

    def tearDown(self):
        self.box.output("vmactl", "hook", "disable")
        self.assertEqual(self.box.read("/etc/vzdump.conf"), CONFIG)
        self.assertEqual(self.box.output("ls", "/etc/vmad/hook.d"), "")

    def older_hook(self, script):
        self.box.put(OLDER, "#!/bin/sh\n" + script, 0o755)

    def vzdump(self, *guests, code=0, options=()):
        result = self.box.run("/root/vzdump", "--storage", "local", "--dumpdir", DUMP, *options, *guests)
        self.assertEqual(result.returncode, code, result.stdout)
        self.assertTrue(result.stdout.isascii(), result.stdout)
        return result.stdout

    def backups(self, ending=""):
        return sorted(name for name in self.box.output("ls", "-A", DUMP).split()
                      if re.search(r"\.(vma|tar)(\.zst)?$", name) and name.endswith(ending))

    def test_a_job_of_three_guests(self):
        log = self.vzdump("qemu/100=/root/guest.vma", "lxc/101=/root/ct.tar", "qemu/102=/root/other.vma.zst")
        self.assertEqual(len(re.findall(r"^INFO: vmad: queued as job \d+$", log, re.M)), 2, log)
        lines = self.box.read(OLDER_LOG).splitlines()
        expected = ["job-init", "job-start"]
        for vmid in (100, 101, 102):
            expected += [f"{phase} snapshot {vmid}" for phase in GUEST_PHASES]
        self.assertEqual([line.split("|")[0] for line in lines], [*expected, "job-end"])
        end = next(line for line in lines if line.startswith("backup-end snapshot 100")).split("|")
        self.assertEqual([end[1], end[3], end[4], end[5], end[6]],
                         ["qemu", "local", DUMP, "guest100", "/var/log/vzdump/qemu-100.log"])
        for path, sample in ((self.backups("vma")[0], SAMPLE), (self.backups("vma.zst")[0], OTHER_SAMPLE)):
            self.assertEqual(self.wait_for_job(f"{DUMP}/{path}")["state"], "done")
            self.assert_canonical(f"{DUMP}/{path}", sample)
        self.assertEqual(self.box.read(f"{DUMP}/{self.backups('tar')[0]}"), "container\n")
        # The line for the administrator is in the log beside the backup.
        self.assertIn("vmad: queued as job", self.box.shell(f"cat {DUMP}/vzdump-qemu-100-*.log"))

    def test_nothing_starts_while_vzdump_runs(self):
        self.older_hook('[ "$1" != job-end ] || { sleep 1; vmactl list; }\n')
        log = self.vzdump("qemu/100=/root/guest.vma")
        self.assertRegex(log, r"(?m)^INFO: +\d+ +100 .* queued ")
        self.assertEqual(self.wait_for_job(f"{DUMP}/{self.backups()[0]}")["state"], "done")

    def test_waiting_in_the_hook_is_no_deadlock(self):
        self.older_hook('[ "$1" != backup-end ] || vmactl wait --timeout 60 "$TARGET"\n'
                        '[ "$1" != job-end ] || vmactl wait --timeout 60\n')
        self.vzdump("qemu/100=/root/guest.vma", "qemu/101=/root/other.vma")
        for name, sample in zip(self.backups(), (SAMPLE, OTHER_SAMPLE)):
            self.assertEqual(self.job_of(f"{DUMP}/{name}")["state"], "done")
            self.assert_canonical(f"{DUMP}/{name}", sample)

    def test_failure_of_the_older_script_fails_the_backup(self):
        self.older_hook('[ "$1" != backup-end ] || { echo no room; exit 5; }\n')
        log = self.vzdump("qemu/100=/root/guest.vma", code=1)
        self.assertIn("INFO: no room", log)
        self.assertIn("ERROR: Backup of VM 100 failed", log)

    def test_prune(self):
        for _ in range(3):
            self.vzdump("qemu/100=/root/guest.vma", options=("--keep", "1"))
            self.box.shell("sleep 1")
        name = self.backups()
        self.assertEqual(len(name), 1)
        self.assertEqual(self.wait_for_job(f"{DUMP}/{name[0]}")["state"], "done")
        self.box.output("vmactl", "wait", "--timeout", "100")
        self.assertEqual(self.backups(), name)

    def test_daemon_is_down(self):
        self.box.output("systemctl", "stop", "vmad.socket", "vmad.service")
        log = self.vzdump("qemu/100=/root/guest.vma")
        self.assertIn("daemon not responding; request saved in /var/lib/vmad/incoming", log)
        self.box.output("systemctl", "start", "vmad.service")
        path = f"{DUMP}/{self.backups()[0]}"
        self.box.wait_until(lambda: [job for job in self.jobs() if job["path"] == path], "the request is taken")
        self.assertEqual(self.wait_for_job(path)["state"], "done")

    def test_a_script_of_the_job_itself(self):
        self.box.put("/etc/pve/jobs.cfg", f"vzdump: nightly\n\tschedule 21:00\n\tall 1\n\tscript {OLDER}\n")
        self.addCleanup(self.box.output, "rm", "/etc/pve/jobs.cfg")
        self.assertIn('"nightly"', self.box.output("vmactl", "hook", "status"))
        self.assertIn("nightly", self.box.output("vmactl", "status"))
        log = self.vzdump("qemu/100=/root/guest.vma", options=("--script", OLDER))
        self.assertNotIn("vmad", log)
        log = self.vzdump("qemu/101=/root/guest.vma", options=("--script", "/etc/vmad/vzdump-hook"))
        self.assertIn("vmad: queued", log)


if __name__ == "__main__":
    unittest.main()
