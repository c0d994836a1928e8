"""README's recipes for hook.d, as text taken from there, run as vzdump runs them: without PATH and without HOME."""

import os
import re
import shutil
import subprocess
import textwrap
import unittest

import test_mount
from daemon_process import PATIENCE, DaemonTest
from support import SOURCE, VMACTL, VMAD_MOUNT

PHASES = (("job-init",), ("job-start",), ("backup-start", "stop", "100"), ("pre-stop", "stop", "100"),
          ("backup-end", "stop", "100"), ("log-end", "stop", "100"), ("backup-abort", "stop", "100"), ("job-abort",))
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def needs(program):
    return unittest.skipUnless(shutil.which(program, path=DEFAULT_PATH), f"{program} is not installed")


def recipes():
    """The scripts by the name of their program, and "view". The others replace the last lines of restic's."""
    section = re.search(r"^## Recipes\n(.*?)^## ", (SOURCE / "README.md").read_text(), re.M | re.S)[1]
    restic, borg, rsync, view = (textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n)+", section, re.M))
    assert "With borg, the last three lines are\n" in section and "and with rsync\n" in section, section
    assert "With restic, the last line above becomes\n" in section, section
    lines = restic.splitlines(keepends=True)
    beginning = "".join(lines[:-3])
    return {"restic": restic, "borg": beginning + borg, "rsync": beginning + rsync, "view": "".join(lines[:-1]) + view}


class RecipeTest(DaemonTest):
    def make_directories(self):
        super().make_directories()
        self.repository = self.dir / "repository"
        self.secret = self.dir / "secret"
        self.secret.write_text("correct horse\n")
        self.restored = self.dir / "restored"

    def install(self, program, *replacements, end=""):
        """Saves the recipe as it says, with the places that it names replaced by those of the test."""
        text = recipes()[program]
        for old, new in (("vmactl wait", f"{VMACTL} wait"), ("/var/lib/vz/dump", self.dump), *replacements):
            self.assertEqual(text.count(old), 1, f"{old} in:\n{text}")
            text = text.replace(old, str(new))
        self.install_script(text.removesuffix("\n") + end + "\n")

    def install_script(self, text):
        script = self.dir / "hook.d/50-offsite"
        script.parent.mkdir(exist_ok=True)
        script.write_text(text)
        script.chmod(0o755)

    def install_restic(self, *replacements, **options):
        self.install("restic", ("/mnt/offsite/restic", self.repository), ("/etc/vmad/restic.password", self.secret),
                     *replacements, **options)

    def stand_in(self, text):
        """A restic that does this, at a path of its own, so that PATH stays unset."""
        program = self.dir / "restic"
        program.write_text("#!/bin/sh\n" + text)
        program.chmod(0o755)
        self.install_restic(("\nrestic backup", f"\n{program} backup"))

    def run_night(self, **environment):
        """A backup and the end of its job, beside temporary files. Returns the archive and what job-end said."""
        archive = self.archive()
        self.start()
        below = self.dump / "below"
        below.mkdir()
        self.assertEqual(self.run_hook(archive.path, **environment), (0, "vmad: queued as job 1\n"))
        self.daemons[-1].wait(1)
        for directory in (self.dump, below):
            (directory / ".vmad-0123456789abcdef.tmp").write_text("temporary")
        (below / "kept").write_text("kept")
        return archive, self.run_hook("", "job-end", **environment)

    def outside(self, *command, **options):
        """The same program by the administrator's hand."""
        subprocess.run(command, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       env={"PATH": DEFAULT_PATH, "HOME": str(self.dir), "RESTIC_REPOSITORY": str(self.repository),
                            "RESTIC_PASSWORD_FILE": str(self.secret), "BORG_REPO": str(self.repository),
                            "BORG_PASSCOMMAND": f"cat {self.secret}"}, **options)

    def assert_restored(self, archive, directory):
        """The archive as vmad repacked it, and nothing of vmad's own."""
        self.assert_content(archive, archive.new)
        subprocess.run(["cmp", archive.path, directory / archive.path.name], check=True, timeout=PATIENCE)
        self.assertEqual(sorted(str(path.relative_to(directory)) for path in directory.rglob("*")),
                         sorted([archive.path.name, "below", "below/kept"]))

    @needs("restic")
    def test_restic(self):
        self.outside("restic", "init")
        self.install_restic()
        # Only its cache goes there.
        archive, (code, output) = self.run_night(HOME=self.dir)
        self.assertEqual(code, 0, output)
        self.assertNotIn("not all backups are repacked", output)
        self.outside("restic", "restore", "latest", "--target", self.restored)
        self.assert_restored(archive, self.restored / self.dump.relative_to("/"))

    @unittest.skipIf(test_mount.why_not(), test_mount.why_not())
    @needs("restic")
    def test_restic_of_a_view(self):
        self.outside("restic", "init")
        text = recipes()["view"]
        view = self.dir / "view"
        for old, new in (("vmactl wait", f"{VMACTL} wait"), ("vmactl mount --all local", f"{VMACTL} mount --all {self.dump}"),
                         ("vmactl umount", f"{VMACTL} umount"), ("/run/vmad-raw", view),
                         ("/mnt/offsite/restic", self.repository), ("/etc/vmad/restic.password", self.secret)):
            self.assertIn(old, text)
            text = text.replace(old, str(new))
        self.install_script(text)
        archive, (code, output) = self.run_night(HOME=self.dir, VMAD_MOUNT=VMAD_MOUNT)
        self.assertEqual(code, 0, output)
        self.assertIn(f"{view}: 1 archive of {self.dump}\n", output)
        self.assertEqual(os.listdir(view), [])
        self.outside("restic", "restore", "latest", "--target", self.restored)
        self.assertEqual((self.restored / view.relative_to("/") / archive.path.name).read_bytes(), archive.new)

    @needs("borg")
    def test_borg(self):
        self.outside("borg", "init", "--encryption", "repokey")
        self.install("borg", ("/mnt/offsite/borg", self.repository), ("/etc/vmad/borg.passphrase", self.secret))
        # The key of the cache goes there.
        archive, (code, output) = self.run_night(HOME=self.dir)
        self.assertEqual(code, 0, output)
        self.restored.mkdir()
        listing = subprocess.run(["borg", "list", "--short", self.repository], check=True, text=True, timeout=PATIENCE,
                                 stdout=subprocess.PIPE, env={"PATH": DEFAULT_PATH, "HOME": str(self.dir),
                                                              "BORG_PASSCOMMAND": f"cat {self.secret}"})
        (name,) = listing.stdout.split()
        self.outside("borg", "extract", f"::{name}", cwd=self.restored)
        self.assert_restored(archive, self.restored / self.dump.relative_to("/"))

    @needs("rsync")
    def test_rsync(self):
        self.restored.mkdir()
        (self.restored / "expired").write_text("of last year")
        self.install("rsync", ("offsite:/backup/dump/", f"{self.restored}/"))
        archive, (code, output) = self.run_night()
        self.assertEqual((code, output.count("not all")), (0, 0), output)
        self.assert_restored(archive, self.restored)

    def test_programs_get_path_home_and_the_repository(self):
        self.stand_in(f'env >{self.dir}/environment; printf "%s\\n" "$@" >{self.dir}/arguments\n')
        _, (code, output) = self.run_night()
        self.assertEqual(code, 0, output)
        values = dict(line.split("=", 1) for line in (self.dir / "environment").read_text().splitlines())
        expected = {"PATH": DEFAULT_PATH, "HOME": "/root", "LC_ALL": "C", "STOREID": "local", "DUMPDIR": str(self.dump),
                    "RESTIC_REPOSITORY": str(self.repository), "RESTIC_PASSWORD_FILE": str(self.secret)}
        self.assertEqual({name: values.get(name) for name in expected}, expected)
        self.assertEqual((self.dir / "arguments").read_text().splitlines(),
                         ["backup", "--exclude", ".vmad-*", str(self.dump)])

    def test_they_act_at_the_end_of_the_job_only(self):
        self.stand_in("echo acted\n")
        for phase in PHASES:
            with self.subTest(phase):
                self.assertEqual(self.run_hook("", *phase), (0, ""))

    def test_a_failure_is_that_of_the_backup_job(self):
        self.stand_in("echo 'Fatal: no space' >&2; exit 3\n")
        _, (code, output) = self.run_night()
        self.assertEqual(code, 3)
        self.assertIn("Fatal: no space\n", output)
        # As README says, for those who do not want that.
        self.install_restic(("\nrestic backup", f"\n{self.dir}/restic backup"), end=" || true")
        self.assertEqual(self.run_hook("", "job-end")[0], 0)

    @needs("restic")
    def test_restic_without_its_repository(self):
        self.install_restic()
        _, (code, output) = self.run_night(HOME=self.dir)
        self.assertNotEqual(code, 0)
        self.assertIn("Fatal: ", output)

    def test_what_is_not_repacked_is_copied_as_it_is(self):
        archive = self.archive()
        self.start()
        self.vmactl("pause")
        self.run_hook(archive.path)
        self.stand_in("echo copied\n")
        script = self.dir / "hook.d/50-offsite"
        script.write_text(script.read_text().replace("--timeout 4h", "--timeout 1s"))
        code, output = self.run_hook("", "job-end")
        self.assertEqual(code, 0, output)
        self.assertTrue(output.endswith("not all backups are repacked\ncopied\n"), output)
        self.assert_content(archive, archive.old)


if __name__ == "__main__":
    unittest.main()
