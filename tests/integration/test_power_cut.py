"""The power is cut while the daemon works, on each file system: a few rounds of tests/fault/power_cut.py."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fault"))

import power_cut  # noqa: E402
from power_disks import WAYS, why_not, why_not_with  # noqa: E402

SEED = 1


@unittest.skipIf(why_not(), why_not())
class PowerCut(unittest.TestCase):
    def check(self, file_system):
        for way, apart in zip(WAYS[file_system], (True, False)):
            with self.subTest(way):
                if reason := why_not_with(file_system, way):
                    self.skipTest(reason)
                self.assertEqual(power_cut.run_rounds(file_system, way, apart, 2, SEED), 0, "see above")

    def test_ext4(self):
        self.check("ext4")

    def test_xfs(self):
        self.check("xfs")

    def test_btrfs(self):
        self.check("btrfs")


if __name__ == "__main__":
    unittest.main()
