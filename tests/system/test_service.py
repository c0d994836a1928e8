"""The units under a booted systemd: start, stop, restart, reload, watchdog, sandbox, journal, reboot."""

import json
import pathlib
import re
import tempfile
import unittest

from system_test import DUMP, OTHER_SAMPLE, SAMPLE, SystemTest

UNITS = ("vmad.service", "vmad.socket", "vmad-scan.service", "vmad-scan.timer", "vmad-verify.service",
         "vmad-verify.timer")
# So that a job is still running when something is done to it.
SLOW = 'bwlimit = "64K"\n'


class ServiceTest(SystemTest):
    def tearDown(self):
        self.box.shell("rm -f /etc/vmad/vmad.toml.d/test.toml; rm -rf /run/systemd/system/vmad.service.d; "
                       "systemctl daemon-reload; systemctl reset-failed; systemctl stop vmad.socket vmad.service; "
                       f"rm -rf {DUMP}/* /var/lib/vmad/*; systemd-tmpfiles --create vmad.conf; "
                       "systemctl start vmad.socket vmad.service")

    def start_slow_job(self, vmid):
        self.settings(SLOW)
        path = self.archive(vmid)
        self.add(path)
        self.box.wait_until(lambda: (self.job_of(path).get("progress") or {}).get("done_bytes"), "it has begun")
        return path

    def test_ready(self):
        self.assertEqual([self.is_active(unit) for unit in UNITS], [True, True, False, False, False, True])
        self.assertEqual(self.box.show("vmad.service", "NRestarts"), "0")
        self.assertIn("0 queued, 0 running", self.box.show("vmad.service", "StatusText"))
        self.assertEqual(self.box.output("stat", "-c", "%a %U", "/run/vmad", "/run/vmad/vmad.sock",
                                         "/var/lib/vmad", "/var/lib/vmad/incoming"),
                         "700 root\n600 root\n700 root\n700 root\n")
        self.assertIn("is ready", self.box.output("journalctl", "--unit=vmad.service"))

    def test_first_hook_call_starts_it(self):
        self.box.output("systemctl", "stop", "vmad.service")
        self.assertTrue(self.is_active("vmad.socket"))
        path = self.archive(100)
        self.assertRegex(self.call_hook(path), r"^vmad: queued as job \d+\n$")
        self.assertTrue(self.is_active("vmad.service"))
        self.assertEqual(self.wait_for_job(path)["state"], "done")
        self.assert_canonical(path)

    def test_watchdog(self):
        self.box.put("/run/systemd/system/vmad.service.d/fast.conf", "[Service]\nWatchdogSec=1s\nRestartSec=100ms\n")
        self.box.shell("systemctl daemon-reload; systemctl restart vmad.service; vmactl pause")
        path = self.archive(100)
        number = self.add(path)
        before = self.box.show("vmad.service", "MainPID")
        self.box.output("systemctl", "kill", "--kill-whom=main", "--signal=STOP", "vmad.service")
        self.box.wait_until(lambda: self.box.show("vmad.service", "NRestarts") == "1" and
                            self.is_active("vmad.service"), "it is restarted")
        self.assertNotEqual(self.box.show("vmad.service", "MainPID"), before)
        self.assertIn("watchdog", self.box.output("journalctl", "--unit=vmad.service").lower())
        self.box.output("vmactl", "resume")
        job = self.wait_for_job(path)
        self.assertEqual((job["id"], job["state"]), (number, "done"))

    def test_reload(self):
        self.settings("workers = 2\n", reload=False)
        self.box.output("systemctl", "reload", "vmad.service")
        self.assertIn("2 workers", self.box.output("vmactl", "status"))
        self.settings("workers = 0\n", reload=False)
        result = self.box.run("systemctl", "reload", "vmad.service")
        self.assertNotEqual(result.returncode, 0)
        self.assertTrue(self.is_active("vmad.service"))
        self.assertIn("2 workers", self.box.output("vmactl", "status"))
        self.assertIn("test.toml:1", self.box.output("journalctl", "--unit=vmad.service"))

    def test_bad_settings_at_start(self):
        self.settings("workers = 0\n", reload=False)
        self.box.run("systemctl", "restart", "vmad.service")
        self.assertEqual(self.box.show("vmad.service", "ExecMainStatus"), "78")
        path = self.archive(100)
        # Whether or not the socket still takes it, it is not lost, and the backup does not fail.
        for _ in range(8):
            self.assertIn("request saved in /var/lib/vmad/incoming", self.call_hook(path))
        self.assertEqual(self.box.show("vmad.service", "NRestarts"), "0")
        # Each call has started it once at most, not for as long as the call was pending.
        self.assertLessEqual(self.box.output("journalctl", "--unit=vmad.service").count("status=78"), 9)
        self.settings("", reload=False)
        # At once, however often the calls have started it.
        self.box.output("systemctl", "start", "vmad.service")
        self.box.wait_until(self.jobs, "the request is taken")
        self.assertEqual(self.wait_for_job(path)["state"], "done")
        self.assertTrue(self.is_active("vmad.socket"))

    def test_stop_in_the_middle_of_a_job(self):
        path = self.start_slow_job(100)
        self.box.output("systemctl", "stop", "vmad.service")
        self.assertEqual(self.box.show("vmad.service", "Result"), "success")
        self.assertEqual(self.box.output("ls", "-A", DUMP).split(), [path.rpartition("/")[2]])
        self.box.put("/root/sample.vma", SAMPLE)
        self.box.output("cmp", path, "/root/sample.vma")
        self.settings("", reload=False)
        self.box.output("systemctl", "start", "vmad.service")
        self.assertEqual(self.wait_for_job(path)["state"], "done")
        self.assert_canonical(path)

    def test_restart_of_both(self):
        path = self.start_slow_job(100)
        self.settings("", reload=False)
        self.box.output("systemctl", "restart", "vmad.socket", "vmad.service")
        self.assertTrue(self.is_active("vmad.socket") and self.is_active("vmad.service"))
        self.assertEqual(self.wait_for_job(path)["state"], "done")
        # The socket alone takes the service with it, which the next call starts.
        self.box.output("systemctl", "restart", "vmad.socket")
        self.box.output("vmactl", "status")

    def test_storage_that_is_mounted_later(self):
        self.box.shell("mkdir -p /mnt/nas; mount -t tmpfs none /mnt/nas")
        self.addCleanup(self.box.shell, "umount /mnt/nas")
        for vmid in (100, 101):
            path = self.archive(vmid, directory="/mnt/nas/dump")
            self.add(path)
            self.assertEqual(self.wait_for_job(path)["state"], "done")
            self.assert_canonical(path)
            self.box.output("systemctl", "restart", "vmad.service")

    def test_what_cannot_be_written(self):
        self.box.shell("mkdir -p /boot /usr/local /mnt/nas")
        inside = ("nsenter", "--mount", "--target", self.box.show("vmad.service", "MainPID"), "touch")
        for directory in ("/usr", "/usr/local", "/boot", "/etc", "/etc/vmad"):
            with self.subTest(directory):
                result = self.box.run(*inside, f"{directory}/vmad-was-here")
                self.assertIn("Read-only file system", result.stdout)
        for directory in (DUMP, "/mnt/nas", "/srv", "/home", "/root", "/var/tmp", "/tmp"):
            with self.subTest(directory):
                self.box.output(*inside, f"{directory}/vmad-was-here")
                self.box.output("rm", f"{directory}/vmad-was-here")

    def test_on_failure_is_outside_of_the_sandbox(self):
        self.settings('on_failure = ["/bin/sh", "-c", "cat >/etc/vmad-told; echo $VMAD_JOB told; exit 3"]\n')
        path = self.archive(100)
        self.box.shell(f"truncate --size=-1 {path}; touch --date='-1 hour' {path}")
        number = self.add(path)
        self.assertEqual(self.wait_for_job(path)["state"], "failed")
        log = self.box.wait_until(
            lambda: "exit code 3" in (log := self.box.output("journalctl", f"VMAD_JOB={number}")) and log, "it has run")
        self.assertIn(f"{number} told", log)
        told = json.loads(self.box.read("/etc/vmad-told"))
        self.assertEqual((told["id"], told["path"], told["state"]), (number, path, "failed"))

    def test_a_partition_is_named_inside_the_sandbox(self):
        """By a child of the worker that becomes nobody."""
        disk = bytearray(16 << 20)
        disk[446 + 4] = 0x83
        disk[446 + 8:446 + 16] = (2048).to_bytes(4, "little") + (14 * 2048).to_bytes(4, "little")
        disk[510:512] = b"\x55\xaa"
        for day in (1, 2):
            disk[8 << 20] = day
            with tempfile.NamedTemporaryFile() as image:
                image.write(disk)
                image.flush()
                self.box.put("/root/disk.raw", pathlib.Path(image.name))
            path = f"{DUMP}/vzdump-qemu-100-2026_01_0{day}-02_00_00.vma.zst"
            # Compressed in one piece, as by vzdump.
            self.box.shell("vmactl create --force /root/disk.vma --disk scsi0=raw:/root/disk.raw; "
                           f"zstd -q /root/disk.vma -o {path}; touch --date='-1 hour' {path}")
            self.add(path)
            job = self.wait_for_job(path)
        self.assertEqual(job["state"], "done")
        [growth] = job["since"]["disks"]
        self.assertEqual((growth["largest"]["offset"], growth["largest"]["partition"]), (8 << 20, "1 (Linux)"))

    def test_notifications(self):
        self.settings('notify = "proxmox"\n')
        self.box.put("/usr/sbin/sendmail", "#!/bin/sh\ncat >/etc/vmad-mail.new; mv /etc/vmad-mail.new /etc/vmad-mail\n",
                     mode=0o755)
        path = self.archive(100)
        self.box.shell(f"truncate --size=-1 {path}; touch --date='-1 hour' {path}")
        number = self.add(path)
        self.assertEqual(self.wait_for_job(path)["state"], "failed")
        self.box.wait_until(lambda: self.box.run("test", "-e", "/etc/vmad-mail").returncode == 0, "the mail is sent")
        mail = self.box.read("/etc/vmad-mail")
        self.assertRegex(mail, r"(?m)^Subject: vmad \(.*\): the backup of VM 100.* is damaged$")
        self.assertIn(self.box.output("vmactl", "show", str(number)).split("\nQueued:")[0], mail)

    def test_journal(self):
        path = self.archive(300)
        number = self.add(path)
        self.wait_for_job(path)
        # Ids begin anew with each test.
        about_it = (f"VMAD_JOB={number}", f"VMAD_ARCHIVE={path}")
        # What only informs has no id.
        records = [record for line in self.box.output("journalctl", "--output=json", *about_it).splitlines()
                   if "MESSAGE_ID" in (record := json.loads(line))]
        self.assertEqual([record["VMAD_STATE"] for record in records], ["queued", "running", "done"])
        for record in records:
            self.assertEqual((record["VMAD_ARCHIVE"], record["VMAD_VMID"]), (path, "300"))
            self.assertEqual(record["_SYSTEMD_UNIT"], "vmad.service")
        self.assertEqual(len({record["MESSAGE_ID"] for record in records}), 3)
        explained = self.box.output("journalctl", "--catalog", *about_it)
        self.assertIn("Support: man:vmactl(1)", explained)
        self.assertEqual(explained.count("Defined-By: vmad"), 3)
        self.assertIn(path, self.box.output("vmactl", "log", str(number)))

    def test_reboot(self):
        self.box.output("vmactl", "pause")
        paths = [self.archive(vmid, sample) for vmid, sample in ((100, SAMPLE), (101, OTHER_SAMPLE))]
        numbers = [self.add(path) for path in paths]
        self.box.reboot()
        self.assertTrue(self.is_active("vmad.service"))
        self.assertEqual([self.job_of(path)["state"] for path in paths], ["queued", "queued"])
        self.assertIn("paused", self.box.output("vmactl", "status"))
        self.settings(SLOW)
        self.box.output("vmactl", "resume")
        self.box.wait_until(lambda: (self.job_of(paths[0]).get("progress") or {}).get("done_bytes"), "it has begun")
        self.settings("", reload=False)
        self.box.reboot()
        # No one connects: it has started by itself.
        self.assertTrue(self.is_active("vmad.service"))
        for path, number, sample in zip(paths, numbers, (SAMPLE, OTHER_SAMPLE)):
            job = self.wait_for_job(path)
            self.assertEqual((job["id"], job["state"]), (number, "done"))
            self.assert_canonical(path, sample)

    def test_scan(self):
        self.assertEqual(self.box.run("systemctl", "is-enabled", "vmad-scan.timer").stdout, "disabled\n")
        new, old = self.archive(100), self.archive(101)
        self.box.output("touch", "--date=-8 days", old)
        self.box.output("systemctl", "start", "vmad-scan.service")
        self.assertEqual(self.box.show("vmad-scan.service", "Result"), "success")
        self.assertEqual(self.wait_for_job(new)["state"], "done")
        self.assertNotIn(old, [job["path"] for job in self.jobs()])
        self.box.output("systemctl", "enable", "--now", "vmad-scan.timer")
        self.assertTrue(self.is_active("vmad-scan.timer"))
        self.box.output("systemctl", "disable", "--now", "vmad-scan.timer")

    def run_verification(self):
        """As its timer does."""
        self.assertEqual(self.box.show("vmad-verify.timer", "Triggers"), "vmad-verify.service")
        self.box.output("systemctl", "start", "vmad-verify.service")
        self.assertEqual(self.box.show("vmad-verify.service", "Result"), "success")

    def forget_that_it_was_verified(self):
        """As if that were long ago."""
        self.box.shell("systemctl stop vmad.socket vmad.service; "
                       "perl -pi -e 's/(\"(?:verified|looked)_at\":) *\\d+/${1}1700000000/g' /var/lib/vmad/archives/*; "
                       "systemctl start vmad.socket vmad.service")

    def test_verification_is_off_by_default(self):
        self.assertEqual(self.box.run("systemctl", "is-enabled", "vmad-verify.timer").stdout, "enabled\n")
        self.run_verification()
        # Nor does it start a daemon that was stopped.
        self.box.output("systemctl", "stop", "vmad.socket", "vmad.service")
        self.run_verification()
        self.assertFalse(self.is_active("vmad.socket") or self.is_active("vmad.service"))
        self.assertIn("nothing is due: verify_every is off", self.box.output("journalctl", "--unit=vmad-verify.service"))

    def test_a_bit_that_flips_is_told(self):
        self.settings('verify_every = "1d"\nmetrics_file = "/root/vmad.prom"\n'
                      'on_failure = ["/bin/sh", "-c", "echo $VMAD_KIND $VMAD_STATE $VMAD_ARCHIVE >/etc/vmad-told"]\n')
        paths = [self.archive(vmid, sample) for vmid, sample in ((100, SAMPLE), (101, OTHER_SAMPLE))]
        for path in paths:
            self.add(path)
            self.assertEqual(self.wait_for_job(path)["state"], "done")
        # Read when they were repacked, so not due.
        self.run_verification()
        self.assertEqual(len(self.jobs()), 2)
        self.box.shell(f"touch -r {paths[0]} /root/stamp; perl -e 'open F, q(+<), $ARGV[0] or die; binmode F; "
                       "seek F, -5000, 2; read F, $byte, 1; seek F, -1, 1; print F $byte ^ chr 1' "
                       f"{paths[0]}; touch -r /root/stamp {paths[0]}")
        self.forget_that_it_was_verified()
        self.run_verification()
        good = self.wait_for_job(paths[1])
        damaged = self.wait_for_job(paths[0])
        self.assertEqual([(job["kind"], job["state"]) for job in (good, damaged)],
                         [("verify", "done"), ("verify", "failed")])
        self.assertTrue(damaged["damaged"])
        self.assertIn("\nDamaged:", self.box.output("vmactl", "show", str(damaged["id"])))
        check = self.box.run("vmactl", "status", "--check")
        self.assertEqual(check.returncode, 2)
        self.assertTrue(check.stdout.startswith("VMAD CRITICAL - 1 damaged (see vmactl list --verified)"), check.stdout)
        row = self.box.output("vmactl", "list", "--verified").splitlines()[1]
        self.assertEqual((row.split()[0], row.split()[-1]), ("100", "damaged"))
        explained = self.box.output("journalctl", "--catalog", f"VMAD_JOB={damaged['id']}", "VMAD_STATE=failed",
                                    f"VMAD_ARCHIVE={paths[0]}")
        self.assertIn("a backup is damaged", explained)
        self.assertIn("vmactl repair", explained)
        told = self.box.wait_until(lambda: self.box.run("cat", "/etc/vmad-told").stdout, "on_failure has run")
        self.box.wait_until(lambda: self.box.read("/etc/vmad-told") == f"verify failed {paths[0]}\n", told)
        self.box.wait_until(lambda: re.search(r'(?m)^vmad_guest_damaged_archives{.*vmid="100".*} 1$',
                                              self.box.read("/root/vmad.prom")), "metrics tell")
        # And no longer, once it is gone.
        self.box.output("rm", paths[0])
        self.run_verification()
        self.box.output("vmactl", "cancel", str(damaged["id"]))
        self.assertEqual(self.box.run("vmactl", "status", "--check").returncode, 0)
        self.assertNotIn(paths[0], self.box.output("vmactl", "--json", "list", "--verified"))

    def test_compressed_archives(self):
        """lzop is a process of the worker's, inside the sandbox."""
        plain = self.archive(100)
        for ending in ("zst", "gz", "lzo"):
            with self.subTest(ending):
                path = f"{DUMP}/vzdump-qemu-101-2026_01_01-02_00_00.vma.{ending}"
                self.box.output("vmactl", "repack", plain, path)
                # As another program compressed it: a canonical archive would be left alone.
                if ending == "lzo":
                    self.box.shell(f"rm {path}; lzop -q -o {path} {plain}")
                self.box.output("touch", "--date=-1 hour", path)
                self.add(path)
                self.assertIn(self.wait_for_job(path)["state"], ("done", "unchanged"))
                self.assert_canonical_content(path)

    def assert_canonical_content(self, path):
        self.assertTrue(json.loads(self.box.output("vmactl", "--json", "verify", path))["canonical"])


class UnitFilesTest(SystemTest):
    def test_verify_finds_nothing(self):
        result = self.box.run("systemd-analyze", "verify", *UNITS)
        self.assertEqual((result.returncode, result.stdout), (0, ""))

    def test_exposure(self):
        for unit in ("vmad.service", "vmad-scan.service", "vmad-verify.service"):
            result = self.box.run("systemd-analyze", "security", "--threshold=23", unit)
            print(unit, result.stdout.strip().splitlines()[-1])
            self.assertEqual(result.returncode, 0, result.stdout)

    def test_tmpfiles(self):
        self.box.shell("systemctl stop vmad.service vmad.socket; rm -r /var/lib/vmad; "
                       "systemd-tmpfiles --create vmad.conf; test -d /var/lib/vmad/incoming; "
                       "systemctl start vmad.service")


if __name__ == "__main__":
    unittest.main()
