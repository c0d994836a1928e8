"""What is new since the backup before, from outside: the socket, the commands, vzdump's task log, on_success."""

import json
import re
import struct
import subprocess
import unittest

from daemon_process import DaemonTest, wait_until
from support import VMACTL, generate

MIB = 1 << 20
ENDINGS = {".vma": "raw", ".vma.zst": "zstd", ".vma.gz": "gzip"}


def partitioned(path, size):
    """A disk with one partition, from 1 MiB on, that holds what libblkid takes for ext4."""
    data = bytearray(size)
    struct.pack_into("<B3xB3xII", data, 446, 0, 0x83, 2048, (size - MIB) // 512)
    data[510:512] = b"\x55\xaa"
    superblock = MIB + 1024
    struct.pack_into("<H", data, superblock + 0x38, 0xEF53)
    struct.pack_into("<III", data, superblock + 0x4C, 1, 0, 0)
    struct.pack_into("<II", data, superblock + 0x5C, 4, 0x40)
    for block in range(2, size // MIB):
        data[block * MIB:block * MIB + 4096] = struct.pack("<I", block) * 1024
    path.write_bytes(data)
    return path


class NewSinceTest(DaemonTest):
    def backup(self, day, ending=".vma", *changes):
        """A backup of that day of January."""
        path = self.dump / f"vzdump-qemu-100-2026_01_{day:02}-02_00_00{ending}"
        raw = generate(self.dir / "dump.vma", "--disk", f"drive-scsi0=@{self.disk}", "--disk", "drive-scsi1=6M",
                       "--dump-seed", str(day), *changes)
        if ending == ".vma":
            raw.rename(path)
        else:
            program = {".vma.zst": ["zstd", "-q"], ".vma.gz": ["gzip"]}[ending]
            with open(path, "wb") as out:
                subprocess.run([*program, "-c", raw], stdout=out, check=True)
        return path

    def setUp(self):
        super().setUp()
        self.disk = partitioned(self.dir / "disk", 24 * MIB)

    def repacked(self, daemon, path, state="done"):
        job = daemon.wait(daemon.add(path))
        self.assertEqual(job["state"], state, job)
        return job

    def change_disk(self, offset, data):
        with open(self.disk, "r+b") as disk:
            disk.seek(offset)
            disk.write(data)

    def test_the_socket_and_the_commands(self):
        daemon = self.start()
        first = self.repacked(daemon, self.backup(1, ".vma.zst"))
        self.assertNotIn("since", first)
        self.change_disk(9 * MIB, b"new" * 5000)
        path = self.backup(3, ".vma.zst")
        job = self.repacked(daemon, path)
        since = job["since"]
        self.assertEqual(since["archive"], "vzdump-qemu-100-2026_01_01-02_00_00.vma.zst")
        [scsi0, scsi1] = sorted(since["disks"], key=lambda disk: disk["disk"])
        self.assertEqual((scsi0["disk"], scsi0["bytes"], scsi1["new_bytes"]), ("drive-scsi0", 24 * MIB, 0))
        self.assertEqual((scsi0["largest"]["offset"], scsi0["largest"]["bytes"], scsi0["largest"]["partition"]),
                         (8 * MIB, 2 * MIB, "1 (ext4)"))
        code, output, _ = self.vmactl("--json", "diff", str(path).replace("_03-", "_01-"), path)
        self.assertEqual((code, json.loads(output)["new_stored_bytes"]), (0, since["new_bytes"]))

        size = since["new_bytes"]
        said = rf"{size / 1024:.1f} KiB new since 1 Jan \((< 1|\d+) %\)"
        shown = self.vmactl("show", "2")[1]
        self.assertRegex(shown, rf"\nCompared:    {said}\n             with vzdump-qemu-100-2026_01_01-02_00_00\.vma\.zst\n")
        self.assertRegex(shown, r"\n             scsi0: [\d.]+ KiB, in partition 1 \(ext4\), at 8\.0 MiB to 10 MiB\n"
                                r"             scsi1: nothing\n|"
                                r"\n             scsi1: nothing\n"
                                r"             scsi0: [\d.]+ KiB, in partition 1 \(ext4\), at 8\.0 MiB to 10 MiB\n")
        header, *rows = self.vmactl("list", "--all")[1].splitlines()
        self.assertIn("NEW", header.split())
        self.assertIn(f"{size / 1024:.1f} KiB", rows[1])
        self.assertRegex(self.vmactl("wait", "2")[1], rf"^job 2: done: \S+, [\d.]+ [KM]iB, {said}\n$")
        again = self.repacked(daemon, path, "unchanged")
        self.assertEqual(again["since"]["new_bytes"], size)

    def test_every_format_and_a_daemon_that_was_killed(self):
        """Raw and gzip archives have their checksums in the state directory."""
        for ending in ENDINGS:
            with self.subTest(ending):
                self.start_afresh()
                self.disk = partitioned(self.dir / "disk", 24 * MIB)
                daemon = self.start()
                self.repacked(daemon, self.backup(1, ending))
                daemon.kill()
                daemon = self.start()
                self.change_disk(21 * MIB, b"new")
                job = self.repacked(daemon, self.backup(2, ending))
                self.assertEqual([disk["new_bytes"] != 0 for disk in sorted(job["since"]["disks"],
                                                                             key=lambda disk: disk["disk"])],
                                 [True, False])
                self.assertEqual(job["since"]["archive"], f"vzdump-qemu-100-2026_01_01-02_00_00{ending}")
                kept = list((self.state / "regions").iterdir()) if ending != ".vma.zst" else []
                self.assertEqual([oct(entry.stat().st_mode & 0o7777) for entry in kept], ["0o600"] * len(kept))
                self.assertEqual(len(kept), 0 if ending == ".vma.zst" else 2)

    def test_the_task_log_of_vzdump(self):
        daemon = self.start()
        self.repacked(daemon, self.backup(1))
        self.change_disk(5 * MIB, b"new")
        path = self.backup(2)
        directory = self.dir / "hook.d"
        directory.mkdir()
        (directory / "1-wait").write_text(f'#!/bin/sh\nexport VMAD_SOCKET="$VMAD_ROOT/vmad.sock"\n'
                                          f'[ "$1" != backup-end ] || {VMACTL} wait "$TARGET"\n')
        (directory / "1-wait").chmod(0o755)
        code, output = self.run_hook(path)
        self.assertEqual(code, 0, output)
        self.assertRegex(output, r"^vmad: queued as job 2\n"
                                 rf"job 2: done: {re.escape(str(path))}, [\d.]+ MiB, "
                                 r"[\d.]+ KiB new since 1 Jan \(< 1 %\)\n$")

    def test_on_success_gets_it(self):
        self.write_settings(on_success=["/bin/sh", "-c", f"cat > {self.dir}/job.tmp; mv {self.dir}/job.tmp {self.dir}/job.$VMAD_JOB"])
        daemon = self.start()
        self.repacked(daemon, self.backup(1))
        job = self.repacked(daemon, self.backup(2))
        wait_until((self.dir / "job.2").exists, "the command runs")
        told = json.loads((self.dir / "job.2").read_text())
        self.assertEqual(told["since"], job["since"])
        self.assertEqual(told["since"]["new_bytes"], 0)
        self.assertIn(", nothing new since 1 Jan\n", self.vmactl("wait", "2")[1])


if __name__ == "__main__":
    unittest.main()
