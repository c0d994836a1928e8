"""vmactl repair: a damaged archive becomes what it was out of other backups, whenever it is killed."""

import json
import os
import signal
import subprocess
import time
import unittest

from support import VMACTL, ProcessTest, make_old, sha256


def flip(path, at):
    """A bit goes bad: no time of the file tells."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


class RepairTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.dump = self.dir / "dump"
        self.dump.mkdir()
        image = self.dir / "disk.raw"
        image.write_bytes(os.urandom(12 << 20))
        config = self.dir / "conf"
        config.write_text("name: web\n#qmdump#map:scsi0:drive-scsi0:local:raw:\n")
        self.archives = []
        for day, ending in ((1, ".vma"), (2, ".vma.zst"), (3, ".vma.zst")):
            with open(image, "r+b") as file:  # another first region each day
                file.write(bytes([day]))
            path = self.dump / f"vzdump-qemu-100-2026_01_0{day}-02_00_00{ending}"
            self.succeed("create", path, "--disk", f"drive-scsi0={image}", "--config", f"qemu-server.conf={config}")
            make_old(path)
            self.archives.append(path)
        self.damaged = self.archives[2]
        self.whole = sha256(self.damaged)
        self.state = self.dir / "state"

    def repair(self, *arguments):
        return self.vmactl("--json", "repair", "--state-dir", self.state, *arguments, self.damaged)

    def test_damaged_regions_are_named_and_restored(self):
        for at in (5 << 20, 9 << 20):
            flip(self.damaged, at)
        [verified] = map(json.loads, self.vmactl("--json", "verify", self.damaged).stdout.splitlines())
        self.assertEqual({place["disk"] for place in verified["damage"]}, {"drive-scsi0"})
        self.assertEqual(len(verified["damage"]), 2)
        broken = sha256(self.damaged)
        result = self.repair("--dry-run")
        self.assertEqual((result.returncode, sha256(self.damaged)), (0, broken))
        plan = json.loads(result.stdout)
        self.assertEqual([{"disk": region["disk"], "offset": region["offset"], "bytes": region["bytes"]}
                          for region in plan["regions"]], verified["damage"])
        self.assertEqual({region["from"] for region in plan["regions"]}, {str(self.archives[1])})
        self.assertTrue(plan["dry_run"])
        result = self.repair("--from", self.archives[0])
        self.assertEqual(result.returncode, 0, result.stderr)
        done = json.loads(result.stdout)
        self.assertEqual({region["from"] for region in done["regions"]}, {str(self.archives[0])})
        self.assertEqual((done["outcome"], sha256(self.damaged)), ("done", self.whole))
        make_old(self.damaged)
        self.assertEqual(json.loads(self.repair().stdout)["outcome"], "unchanged")

    def test_what_no_backup_has_is_named_and_nothing_is_changed(self):
        flip(self.damaged, 1 << 20)
        broken = sha256(self.damaged)
        result = self.vmactl("repair", "--state-dir", self.state, self.damaged)
        self.assertEqual(result.returncode, 6)
        self.assertIn("scsi0: 2.0 MiB at 0 B", result.stdout)
        self.assertIn(": in no other backup\n", result.stdout)
        self.assertIn("a damaged region is in no other backup here; 0 could be restored: nothing was changed",
                      result.stderr)
        self.assertEqual(sha256(self.damaged), broken)

    def test_killed_at_any_time_the_archive_is_the_old_or_the_whole_one(self):
        for delay in (0.005, 0.02, 0.04, 0.06, 0.08, 0.1, 0.13, 0.17, 0.25):
            if sha256(self.damaged) == self.whole:
                flip(self.damaged, 5 << 20)
                make_old(self.damaged)
            broken = sha256(self.damaged)
            with subprocess.Popen([VMACTL, "repair", "--state-dir", self.state, self.damaged],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
            self.assertIn(sha256(self.damaged), (broken, self.whole))
        make_old(self.damaged)
        self.assertEqual(self.repair().returncode, 0)
        self.assertEqual(sha256(self.damaged), self.whole)
        self.assertEqual(self.names(self.dump), sorted(path.name for path in self.archives))


if __name__ == "__main__":
    unittest.main()
