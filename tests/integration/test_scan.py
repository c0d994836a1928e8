#!/usr/bin/env python3
"""vmactl scan: which archives it finds, which of them it queues, and what it says."""

import json
import os
import socket
import subprocess
import time
import unittest

import sentences
from daemon_process import ENDS, PATIENCE, DaemonTest
from support import VMACTL, ProcessTest, make_old

DAY = 86400


class ScanTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.config_dir = self.dir / "etc/pve"
        self.config_dir.mkdir(parents=True)
        for name, value in {"VMAD_ROOT": str(self.dir), "TZ": "UTC", "COLUMNS": "120"}.items():
            before = os.environ.get(name)
            os.environ[name] = value
            self.addCleanup(self.restore, name, before)

    @staticmethod
    def restore(name, value):
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value

    def old_archive(self, vmid, days=1):
        """An archive that was last modified so many days ago."""
        archive = self.archive(vmid, disk="drive-scsi0=64K")
        then = time.time() - days * DAY
        os.utime(archive.path, (then, then))
        return archive

    def make_canonical(self, archive):
        archive.path.write_bytes(archive.new)
        make_old(archive.path)
        return archive

    def scan(self, *arguments, code=0, messages=""):
        result = self.vmactl("scan", *map(str, arguments))
        self.assertEqual((result[0], result[2]), (code, messages), result)
        return result[1]

    def scan_json(self, *arguments, **expected):
        return [json.loads(line) for line in self.scan("--json", *arguments, **expected).splitlines()]

    def job_paths(self, daemon):
        return [job["path"] for job in daemon.jobs()]

    def storages(self, text):
        (self.config_dir / "storage.cfg").write_text("dir: local\n\tdisable\n\n" + text)


class Queueing(ScanTest):
    def test_what_is_not_canonical_is_queued_the_newest_first(self):
        ages = {100: 3, 101: 1, 102: 2}
        archives = {vmid: self.old_archive(vmid, days) for vmid, days in ages.items()}
        self.make_canonical(self.old_archive(103))
        daemon = self.start()
        output = self.scan(self.dump)
        lines = output.splitlines()
        self.assertEqual(lines[0].split(), ["SIZE", "AGE", "ARCHIVE"])
        self.assertEqual([line.split()[-1] for line in lines[1:4]],
                         [str(archives[vmid].path) for vmid in (101, 102, 100)])
        self.assertEqual(lines[4:], ["", "4 archives, 1 already canonical, 3 queued"])
        self.assertEqual(self.job_paths(daemon), [str(archives[vmid].path) for vmid in (101, 102, 100)])
        for job in daemon.jobs():
            self.assertEqual(daemon.wait(job["id"])["state"], "done")
            self.assertFalse(job.get("announced", False))
        for archive in archives.values():
            self.assert_content(archive, archive.new)
        self.assertEqual(self.scan(self.dump), "4 archives, 4 already canonical\n")
        self.assertEqual(len(daemon.jobs()), 3)

    def test_a_young_archive_waits_for_its_age(self):
        archive = self.archive()
        daemon = self.start()
        self.scan(self.dump)
        [job] = daemon.jobs()
        self.assertEqual(daemon.wait(job["id"], (*ENDS, "waiting"))["state"], "waiting")
        self.assert_content(archive, archive.old)

    def test_what_was_queued_before_is_told_apart(self):
        archive = self.archive()
        daemon = self.start()
        self.assertIn("1 archive, 1 queued\n", self.scan(self.dump))
        daemon.wait(1, ("waiting",))
        self.assertIn("1 archive, 1 already queued\n", self.scan(archive.path))
        self.assertEqual(len(daemon.jobs()), 1)

    def test_a_damaged_archive_fails_once_and_is_green_when_it_is_gone(self):
        damaged = self.old_archive(100, 2).path
        times = damaged.stat()
        os.truncate(damaged, 1000)
        os.utime(damaged, ns=(times.st_atime_ns, times.st_mtime_ns))
        daemon = self.start()
        self.scan(self.dump)
        self.assertEqual(daemon.wait(1)["state"], "failed")
        self.assertIn("1 archive, 1 failed before", self.scan(self.dump))
        self.assertEqual(len(daemon.jobs()), 1)
        self.assertEqual(self.vmactl("status", "--check")[0], 2)
        # Another version of it gets another verdict, which is the one that counts.
        damaged.chmod(0o600)
        self.assertIn("1 archive, 1 queued", self.scan(self.dump))
        self.assertEqual([daemon.wait(2)["state"], daemon.job(1)["state"]], ["failed", "cancelled"])
        damaged.unlink()
        daemon.wait(daemon.add(self.archive(101).path))
        self.assertEqual(daemon.job(2)["reason"], "the archive is gone")
        self.assertEqual(self.vmactl("status", "--check")[0], 0)

    def test_json_tells_of_each_archive(self):
        plain = self.old_archive(100, 2)
        canonical = self.make_canonical(self.old_archive(101))
        self.start()
        self.assertEqual(self.scan_json(self.dump), [
            {"path": str(archive.path), "size_bytes": archive.path.stat().st_size,
             "modified_at": int(archive.path.stat().st_mtime), "canonical": archive is canonical,
             "job": None if archive is canonical else 1} for archive in (canonical, plain)])

    def test_an_archive_below_two_places_is_looked_at_once(self):
        self.old_archive(100)
        daemon = self.start()
        self.assertIn("\n1 archive, 1 queued\n", self.scan(self.dump, self.dir, f"{self.dump}/../dump/."))
        self.assertEqual(len(daemon.jobs()), 1)

    def test_the_daemon_is_missed_before_anything_is_searched(self):
        self.old_archive(100)
        code, output, messages = self.vmactl("scan", str(self.dump))
        self.assertEqual((code, output), (3, ""))
        self.assertIn(sentences.UNREACHABLE, messages)

    def test_an_archive_that_the_daemon_refuses_does_not_stop_the_others(self):
        self.old_archive(100)
        other = self.dir / "other"
        other.mkdir()
        refused = other / "x.vma"
        refused.write_bytes(b"x")
        os.utime(refused, (0, 0))
        daemon = self.start()
        code, output, messages = self.vmactl("scan", str(other), str(self.dump))
        self.assertEqual(code, 1)
        self.assertTrue(output.endswith("\n2 archives, 1 queued\n"), output)
        self.assertIn(f"{refused} cannot be queued: ", messages)
        self.assertEqual(len(daemon.jobs()), 1)


class DryRun(ScanTest):
    """Without a daemon."""

    def test_nothing_is_queued(self):
        first, second = self.old_archive(100, 1), self.old_archive(101, 400)
        output = self.scan("--dry-run", self.dump)
        self.assertEqual(output.splitlines()[1].split()[2:], ["1", "d", str(first.path)])
        self.assertEqual(output.splitlines()[2].split()[2:], ["400", "d", str(second.path)])
        self.assertTrue(output.endswith("\n\n2 archives, 2 to queue\n"), output)
        self.assertEqual([line["job"] for line in self.scan_json("--dry-run", self.dump)], [None, None])

    def test_a_long_path_is_shortened_to_the_terminal(self):
        deep = self.dump / ("a" * 100)
        deep.mkdir()
        (deep / "x.vma").write_bytes(b"")
        os.environ["COLUMNS"] = "80"
        row = self.scan("--dry-run", self.dump).splitlines()[1]
        self.assertEqual(len(row), 80)
        self.assertTrue(row.endswith("/x.vma"), row)

    def test_limit(self):
        for vmid in range(100, 105):
            self.old_archive(vmid, vmid - 99)
        self.make_canonical(self.old_archive(105))
        lines = self.scan_json("--dry-run", "--limit", 2, self.dump)
        self.assertEqual([line["canonical"] for line in lines], [True, False, False])
        output = self.scan("--dry-run", "--limit=2", self.dump)
        self.assertTrue(output.endswith("6 archives, 1 already canonical, 2 to queue, 3 not examined\n"), output)
        for bad in ("0", "-1", "x"):
            self.assertEqual(self.vmactl("scan", "--dry-run", "--limit", bad, str(self.dump))[0], 2)

    def test_since(self):
        new, old = self.old_archive(100, 2), self.old_archive(101, 20)
        day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 10 * DAY))
        for since, expected in (("3d", [new]), ("500h", [new, old]), ("30min", []), (day, [new]),
                                (f"{day} 12:00", [new]), (f"{day} 12:00:30", [new]), ("1999-12-31", [new, old])):
            with self.subTest(since):
                found = self.scan_json("--dry-run", "--since", since, self.dump)
                self.assertEqual([line["path"] for line in found], [str(archive.path) for archive in expected])
        self.assertEqual(self.scan("--dry-run", "--since=1s", self.dump), "0 archives\n")
        code, _, messages = self.vmactl("scan", "--dry-run", "--since", "soon", str(self.dump))
        self.assertEqual((code, messages), (2, 'vmactl: invalid time "soon": use 2026-01-31, "2026-01-31 12:00", or '
                                               'an age such as 7d\n'))

    def test_what_is_no_archive_is_listed_and_does_no_harm(self):
        for name, content in (("empty.vma", b""), ("noise.vma", os.urandom(20000)),
                              ("cut.vma.zst", b"\x28\xb5\x2f\xfd"), ("text.vma.gz", b"hello")):
            (self.dump / name).write_bytes(content)
        self.assertEqual([line["canonical"] for line in self.scan_json("--dry-run", self.dump)], [False] * 4)

    def test_what_cannot_be_read_does_not_stop_the_rest(self):
        self.old_archive(100)
        output = self.scan("--dry-run", self.dir / "none", self.dump, "/dev/null", code=1, messages=(
            f"vmactl: open {self.dir}/none: No such file or directory\n"
            "vmactl: /dev/null is not a directory or regular file\n"))
        self.assertTrue(output.endswith("\n1 archive, 1 to queue\n"), output)

    def test_a_place_is_needed(self):
        self.scan("--dry-run", code=2, messages="vmactl: name a directory, or a storage with --storage\n")

    def test_what_vmad_published_is_known_by_its_attribute(self):
        archive = self.archive(100, disk="drive-scsi0=64K")
        subprocess.run(["gzip", archive.path], check=True)
        path = archive.path.with_name(archive.path.name + ".gz")
        make_old(path)
        command = [VMACTL, "repack", "--in-place", "--state-dir", self.dir / "own", path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
        if "user.vmad" not in os.listxattr(path):
            self.skipTest("the file system has no extended attributes")
        self.assertEqual([line["canonical"] for line in self.scan_json("--dry-run", self.dump)], [True])
        os.utime(path)
        self.assertEqual([line["canonical"] for line in self.scan_json("--dry-run", self.dump)], [False])


class OnTerminal(ProcessTest):
    def test_the_count_goes_away_with_the_search(self):
        (self.dir / "x.vma").write_bytes(b"")
        code, output = self.vmactl_on_terminal("scan", "--dry-run", self.dir)
        self.assertEqual(code, 0)
        self.assertIn("\rsearching: 1 found\x1b[K", output)
        self.assertIn("\r\x1b[K", output)
        self.assertTrue(output.endswith("\r\n1 archive, 1 to queue\r\n"), repr(output))


class Storages(ScanTest):
    def test_a_storage_stands_for_its_dump_directory(self):
        archive = self.old_archive(100)
        (self.dir / "outside.vma").write_bytes(b"")
        self.storages(f"dir: store\n\tpath {self.dir}\n\tcontent backup\n")
        daemon = self.start()
        self.assertIn("\n1 archive, 1 queued\n", self.scan("--storage", "store"))
        [job] = daemon.jobs()
        self.assertEqual((job["path"], job["storage"]), (str(archive.path), "store"))

    def test_all_stands_for_every_enabled_one(self):
        text = ""
        paths = []
        for name, properties in (("a", ""), ("b", ""), ("other", "\tnodes elsewhere\n"), ("off", "\tdisable\n"),
                                 ("here", f"\tnodes {socket.gethostname().split('.')[0]}\n")):
            directory = self.dir / name / "dump"
            directory.mkdir(parents=True)
            (directory / "x.vma").write_bytes(b"")
            if name not in ("other", "off"):
                paths.append(str(directory / "x.vma"))
            text += f"dir: {name}\n\tpath {self.dir}/{name}\n\tcontent backup,iso\n{properties}\n"
        self.storages(text + f"dir: images\n\tpath {self.dir}/none\n\n")
        found = self.scan_json("--dry-run", "--storage=all")
        self.assertEqual(sorted(line["path"] for line in found), sorted(paths))

    def test_a_storage_that_is_not_mounted_is_not_searched(self):
        self.old_archive(100)
        self.storages(f"dir: store\n\tpath {self.dir}\n\tcontent backup\n\tis_mountpoint 1\n\n"
                      f"nfs: nas\n\tpath {self.dir}/none\n\tserver s\n\tcontent backup\n\n"
                      f"dir: good\n\tpath {self.dir}\n\tcontent backup\n")
        output = self.scan("--dry-run", "--storage", "all", code=1, messages=(
            f'vmactl: storage "store" is not mounted at {self.dir}\n'
            f'vmactl: storage "nas" is not mounted at {self.dir}/none\n'))
        self.assertTrue(output.endswith("\n1 archive, 1 to queue\n"), output)

    def test_what_is_no_storage_for_backups_is_refused(self):
        self.storages("pbs: pbs\n\tserver s\n\ndir: off\n\tpath /x\n\tcontent backup\n\tdisable\n\n"
                      "dir: images\n\tpath /x\n")
        config = self.config_dir / "storage.cfg"
        for storage, message in (
                ("nas", f'no storage "nas" in {config}'),
                ("pbs", 'the storage "pbs" is of type pbs, which does not store archives as files'),
                ("off", 'storage "off" is disabled or not available on this node'),
                ("images", 'storage "images" is not configured for backups')):
            with self.subTest(storage):
                self.scan("--dry-run", "--storage", storage, code=2, messages=f"vmactl: {message}\n")
        config.write_text("dir: a\n")
        self.scan("--dry-run", "--storage", "a", code=1,
                  messages=f'vmactl: {config}:1: the storage "a" has no path\n')
        config.write_text(f"dir: a\n\ndir: good\n\tpath {self.dir}\n\tcontent backup\n")
        self.scan("--dry-run", "--storage", "good",
                  messages=f'vmactl: {config}:1: the storage "a" has no path, and is skipped\n')
        config.unlink()
        self.scan("--dry-run", "--storage", "a", code=1,
                  messages=f"vmactl: open {config}: No such file or directory\n")


if __name__ == "__main__":
    unittest.main()
