"""What the tests on a booted Debian share. VMAD_SUITE says which one, VMAD_PACKAGES is the folder with its packages."""

import json
import os
import pathlib
import re
import subprocess
import unittest

from box import PATIENCE, SOURCE, Box

SUITE = os.environ["VMAD_SUITE"]
PACKAGES = pathlib.Path(os.environ["VMAD_PACKAGES"])

OFFICIAL = SOURCE / "tests/data/official"
SAMPLE = OFFICIAL / "c-three-disks-fw.vma"
OTHER_SAMPLE = OFFICIAL / "b-two-disks-odd.vma"
STAND_IN = SOURCE / "tests/support/vzdump_stand_in.pl"
DUMP = "/var/lib/vz/dump"

ENDS = ("done", "unchanged", "vanished", "failed", "cancelled")


def the_package(name="vmad"):
    (package,) = PACKAGES.glob(f"{name}_*.deb")
    return package


def field_of(package, name):
    return subprocess.run(["dpkg-deb", "--field", package, name], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.strip()


def tree_packages():
    """A bare system, what the packages depend on (the box has no network), and what the tests run."""
    depends = {re.split(r"[ |(]", entry.strip())[0] for package in (the_package(), the_package("vmad-fuse"))
               for entry in field_of(package, "Depends").split(",")}
    depends = sorted(depends - {"vmad"})
    return ["systemd", "systemd-sysv", "dbus", "usr-is-merged", *depends, "lzop", "zstd", "man-db", "lintian",
            "autopkgtest", "bash-completion"]


class SystemTest(unittest.TestCase):
    """Each class has a system of its own, with the package installed."""

    @classmethod
    def setUpClass(cls):
        cls.box = Box(SUITE, tree_packages())
        cls.addClassCleanup(cls.box.close)
        # As Proxmox VE has them on every node.
        cls.box.put("/etc/vzdump.conf", "# vzdump default settings\n\n#tmpdir: DIR\n#script: FILENAME\n")
        cls.box.put("/etc/pve/storage.cfg", "dir: local\n\tpath /var/lib/vz\n\tcontent backup,iso\n")
        cls.box.shell(f"mkdir -p {DUMP}")
        cls.prepare()

    @classmethod
    def prepare(cls):
        cls.install(the_package())

    @classmethod
    def install(cls, package):
        path = f"/root/{package.name}"
        cls.box.put(path, package)
        return cls.box.output("apt-get", "install", "--yes", "--quiet", path)

    @classmethod
    def settings(cls, text, reload=True):
        cls.box.put("/etc/vmad/vmad.toml.d/test.toml", text)
        if reload:
            cls.box.output("vmactl", "reload")

    def archive(self, vmid, sample=SAMPLE, directory=DUMP):
        """A backup as vzdump left it an hour ago."""
        path = f"{directory}/vzdump-qemu-{vmid}-2026_01_01-02_00_00.vma"
        self.box.put(path, sample)
        self.box.output("touch", "--date=-1 hour", path)
        return path

    def add(self, path):
        self.box.output("vmactl", "add", path)
        return self.job_of(path)["id"]

    def jobs(self):
        return [json.loads(line) for line in self.box.output("vmactl", "--json", "list", "--all").splitlines()]

    def job_of(self, path):
        return max((job for job in self.jobs() if job["path"] == path), key=lambda job: job["id"])

    def wait_for_job(self, path, states=ENDS):
        return self.box.wait_until(
            lambda: (job := self.job_of(path))["state"] in states and job, f"{path} is in one of {states}")

    def assert_canonical(self, path, sample=SAMPLE):
        """It is, and it holds the same guest as the sample."""
        self.box.put("/root/sample.vma", sample)
        verdicts = [json.loads(self.box.output("vmactl", "--json", "verify", name))
                    for name in (path, "/root/sample.vma")]
        self.assertTrue(verdicts[0]["canonical"], verdicts[0])
        self.assertEqual(verdicts[0]["digest"], verdicts[1]["digest"])
        directory = os.path.dirname(path)
        self.assertNotIn(".vmad-", self.box.output("ls", "-A", directory))

    def call_hook(self, target, phase="backup-end", **environment):
        """As vzdump calls it."""
        values = {"STOREID": "local", "DUMPDIR": DUMP, "VMTYPE": "qemu", "HOSTNAME": "guest", "TARGET": target,
                  "LOGFILE": "/var/log/vzdump.log", **environment}
        return self.box.output("env", "-i", *(f"{name}={value}" for name, value in values.items()),
                               "/etc/vmad/vzdump-hook", phase, "snapshot", "100")

    def is_active(self, unit):
        return self.box.run("systemctl", "is-active", unit).stdout.strip() == "active"
