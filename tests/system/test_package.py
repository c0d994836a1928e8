"""What dpkg does with the package: install, upgrade, remove, purge; and what lintian and man say of it."""

import pathlib
import re
import subprocess
import tempfile
import time
import unittest

from system_test import DUMP, OTHER_SAMPLE, PACKAGES, SAMPLE, SOURCE, STAND_IN, SUITE, SystemTest, field_of, the_package

OLDER = "/usr/local/bin/older-hook"
CONFIG = f"# mine\nscript: {OLDER}\nlockwait: 180\n"


def as_older_version(directory):
    """The same package as if it had come before."""
    root = pathlib.Path(directory) / "tree"
    subprocess.run(["dpkg-deb", "--raw-extract", the_package(), root], check=True)
    control = root / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", "Version: 0.0.9", control.read_text()))
    package = pathlib.Path(directory) / "vmad_0.0.9.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, package], check=True, stdout=subprocess.DEVNULL)
    return package


class LifeTest(SystemTest):
    """One life, in the order of the names of the tests."""

    @classmethod
    def prepare(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.box.put("/root/vzdump", STAND_IN, 0o755)
        cls.box.put("/root/guest.vma", SAMPLE)
        cls.box.put(OLDER, "#!/bin/sh\necho older: $1\n", 0o755)
        cls.box.put("/etc/vzdump.conf", CONFIG)

    def vzdump(self):
        return self.box.output("/root/vzdump", "--storage", "local", "--dumpdir", DUMP, "qemu/100=/root/guest.vma")

    def test_1_from_nothing_to_the_first_backup(self):
        package = as_older_version(self.directory.name)
        self.box.put("/root/old.deb", package)
        begin = time.monotonic()
        self.box.output("apt-get", "install", "--yes", "--quiet", "/root/old.deb")
        self.box.output("vmactl", "hook", "enable")
        log = self.vzdump()
        self.box.output("vmactl", "wait", "--timeout", "100")
        print(f"{SUITE}: from apt-get install to the first repacked backup in {time.monotonic() - begin:.1f} s")
        self.assertIn("older: backup-end", log)
        (job,) = self.jobs()
        self.assertEqual(job["state"], "done")
        self.assert_canonical(job["path"])
        self.assertTrue(self.is_active("vmad.service") and self.is_active("vmad.socket"))
        for unit, state in (("vmad.service", "enabled"), ("vmad.socket", "enabled"), ("vmad-scan.timer", "disabled"),
                            ("vmad-verify.timer", "enabled")):
            self.assertEqual(self.box.run("systemctl", "is-enabled", unit).stdout.strip(), state, unit)

    def test_2_upgrade_in_the_middle_of_a_job(self):
        self.settings('bwlimit = "64K"\n')
        paths = [self.archive(vmid, sample) for vmid, sample in ((200, SAMPLE), (201, OTHER_SAMPLE))]
        numbers = [self.add(path) for path in paths]
        self.box.wait_until(lambda: (self.job_of(paths[0]).get("progress") or {}).get("done_bytes"), "it has begun")
        before = self.box.show("vmad.service", "MainPID")
        self.settings("", reload=False)
        self.install(the_package())
        self.assertEqual(self.box.output("dpkg-query", "--show", "--showformat=${Version}", "vmad"),
                         field_of(the_package(), "Version"))
        self.assertNotEqual(self.box.show("vmad.service", "MainPID"), before)
        self.assertTrue(self.is_active("vmad.service") and self.is_active("vmad.socket"))
        for path, number, sample in zip(paths, numbers, (SAMPLE, OTHER_SAMPLE)):
            job = self.wait_for_job(path)
            self.assertEqual((job["id"], job["state"]), (number, "done"))
            self.assert_canonical(path, sample)
        self.assertIn("/etc/vmad/vzdump-hook", self.box.read("/etc/vzdump.conf"))
        self.assertIn("vmad: queued as job", self.vzdump())
        self.box.output("vmactl", "wait", "--timeout", "100")

    def test_3_remove(self):
        self.box.output("systemctl", "enable", "--now", "vmad-scan.timer")
        output = self.box.output("apt-get", "remove", "--yes", "--quiet", "vmad")
        self.assertNotIn("rror", output)
        self.assertEqual(self.box.read("/etc/vzdump.conf"), CONFIG)
        log = self.vzdump()
        self.assertIn("older: backup-end", log)
        self.assertNotIn("vmad", log)
        # The line put back by hand, or a job that names the hook itself: that passes, and runs what it ran.
        self.box.put("/etc/vzdump.conf", "script: /etc/vmad/vzdump-hook\n")
        self.box.shell(f"mkdir -p /etc/vmad/hook.d; ln -s {OLDER} /etc/vmad/hook.d/50-older")
        log = self.vzdump()
        self.assertIn("older: backup-end", log)
        self.assertIn("Backup job finished successfully", log)
        # State and settings stay.
        self.box.shell("test -d /var/lib/vmad/queue; test -e /etc/vmad/vmad.toml; "
                       "test -e /etc/vmad/vmad.toml.d/test.toml; test ! -e /usr/bin/vmactl")
        self.assertEqual(self.box.run("pgrep", "vmad").stdout, "")
        # Nothing of it is still active, or failed for want of its files.
        self.assertEqual(self.box.output("systemctl", "list-units", "--all", "--plain", "--no-legend",
                                         "--state=active,failed", "vmad*"), "")

    def test_4_reinstall_knows_its_jobs(self):
        self.install(the_package())
        self.assertTrue(self.is_active("vmad.service"))
        self.assertIn(f"{DUMP}/vzdump-qemu-200-2026_01_01-02_00_00.vma", [job["path"] for job in self.jobs()])
        # The link in hook.d is the administrator's own.
        self.box.output("vmactl", "hook", "status")

    def test_5_mount_is_a_package_of_its_own(self):
        self.box.shell("mkdir /root/mounted")
        mount = ("vmactl", "mount", "/root/guest.vma", "/root/mounted")
        self.assertIn("install the package vmad-fuse", self.box.run(*mount).stdout)
        self.assertNotIn("libfuse", self.box.shell("ldd /usr/bin/vmactl /usr/sbin/vmad"))
        self.install(the_package("vmad-fuse"))
        self.assertEqual(self.box.shell("dpkg -L vmad-fuse | grep -v /usr/share/doc | xargs -d '\\n' -I{} find {} "
                                        "-maxdepth 0 -not -type d"), "/usr/lib/vmad/vmad-mount\n")
        output = self.box.run(*mount).stdout
        if self.box.run("test", "-e", "/dev/fuse").returncode != 0:
            self.assertIn("cannot mount at /root/mounted", output)
            return
        self.assertIn("/root/mounted/qemu-server.conf\n", output)
        self.box.shell("cp /root/guest.vma /root/other.vma; mv /root/other.vma /root/guest.vma")
        journal = ("journalctl", "--identifier=vmad-mount", "--output=cat", "VMAD_ARCHIVE=/root/guest.vma")
        self.box.wait_until(lambda: "/root/guest.vma was replaced; " in self.box.run(*journal).stdout, "it is noticed")
        self.box.output("vmactl", "umount", "/root/mounted")

    def test_6_purge(self):
        self.box.put("/etc/pve/jobs.cfg", "vzdump: nightly\n\tscript /etc/vmad/vzdump-hook\n")
        output = self.box.output("apt-get", "purge", "--yes", "--quiet", "vmad", "vmad-fuse")
        self.assertIn("/etc/pve/jobs.cfg still names /etc/vmad/vzdump-hook", output)
        self.assertEqual(self.box.output("ls", "/etc/vmad/hook.d"), "50-older\n")
        self.assertNotIn("vzdump-hook", self.box.read("/etc/vzdump.conf"))
        self.box.shell("rm -r /etc/vmad")
        left = self.box.output("find", "/", "-xdev", "-name", "*vmad*", "-not", "-path", "/proc/*", "-not", "-path",
                               "/root/*", "-not", "-path", "/sys/*")
        self.assertEqual(left, "")


class CleanPackageTest(SystemTest):
    def test_lintian(self):
        self.box.shell("mkdir -p /root/lint; cp /root/*.deb /root/lint")
        for path in PACKAGES.iterdir():
            if path.is_file():
                self.box.put(f"/root/lint/{path.name}", path)
        result = self.box.run("sh", "-c", "cd /root/lint && lintian --allow-root --fail-on error,warning -i -I "
                              "--pedantic $(ls *.changes 2>/dev/null || ls *.deb)")
        tags = [line for line in result.stdout.splitlines() if re.match(r"[EWIPX]: ", line)]
        print(f"{SUITE}: lintian: {tags or 'nothing'}")
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_manual_pages(self):
        pages = self.box.shell("dpkg -L vmad | grep /man/").split()
        self.assertEqual(len([page for page in pages if page.endswith(".gz")]), 4)
        for page in ("vmactl.1", "vmad.8", "vmad.toml.5", "vmad-hook.8"):
            path = f"/usr/share/man/man{page[-1]}/{page}.gz"
            self.assertEqual(
                self.box.shell(f"MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z {path} >/dev/null"), "")

    def test_scripts(self):
        # The completions for the other shells call that for bash.
        self.box.shell("bash -n /usr/share/bash-completion/completions/vmactl; sh -n /etc/vmad/vzdump-hook; "
                       "grep -q ' engine=/usr/share/bash-completion/completions/vmactl$' "
                       "/usr/share/zsh/vendor-completions/_vmactl; "
                       "grep -q ' engine /usr/share/bash-completion/completions/vmactl$' "
                       "/usr/share/fish/vendor_completions.d/vmactl.fish; "
                       "sh -n /usr/lib/vmad/vzdump-announce; perl -c /usr/lib/vmad/notify 2>/dev/null")

    def test_files_for_other_programs(self):
        self.box.shell("cd /usr/share/pve-manager/templates/default; ls vmad-subject.txt.hbs vmad-body.txt.hbs "
                       "vmad-body.html.hbs; cd /usr/share/vmad; ls vmad.dashboard.json vmad.rules.yml")

    def test_completion(self):
        """It is found on demand, by the name of the program."""
        self.box.put("/root/complete", """
            . /usr/share/bash-completion/bash_completion
            _comp_load vmactl 2>/dev/null || _completion_loader vmactl
            function=$(complete -p vmactl | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
            COMP_WORDS=(vmactl hook en) COMP_CWORD=2 COMP_LINE='vmactl hook en' COMP_POINT=14
            $function vmactl en hook
            echo "${COMPREPLY[@]}"
            """)
        self.assertEqual(self.box.output("bash", "/root/complete").split(), ["enable"])

    def test_version(self):
        version = field_of(the_package(), "Version")
        self.install(the_package("vmad-fuse"))
        for program in ("vmactl", "vmad", "/usr/lib/vmad/vmad-mount"):
            name = pathlib.PurePath(program).name
            self.assertEqual(self.box.output(program, "--version"), f"{name} {version.split('+')[0]}\n")
        release = {"bookworm": "12", "trixie": "13"}[SUITE]
        self.assertTrue(version.endswith(f"+deb{release}"), version)

    def test_autopkgtest(self):
        self.box.shell("mkdir -p /root/source/debian")
        archive = subprocess.run(["tar", "-C", SOURCE, "-c", "debian", "tests/data/official"], check=True,
                                 stdout=subprocess.PIPE).stdout
        path = pathlib.Path(f"/proc/{self.box.leader}/root/root/source.tar")
        path.write_bytes(archive)
        self.box.shell("tar -C /root/source -xf /root/source.tar")
        fuse = the_package("vmad-fuse")
        self.box.put(f"/root/{fuse.name}", fuse)
        result = self.box.run("autopkgtest", "/root/" + the_package().name, "/root/" + fuse.name, "/root/source/", "--",
                              "null")
        # Without /dev/fuse, one is skipped.
        self.assertIn(result.returncode, (0, 2), result.stdout[-4000:])
        self.assertRegex(result.stdout, r"(?m)^normalize +PASS$")


if __name__ == "__main__":
    unittest.main()
