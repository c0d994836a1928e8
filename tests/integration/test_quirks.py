"""Jobs on file systems with the peculiarities of network and FUSE file systems, one at a time.

tests/support/quirkfs shows a directory in these ways. Each job ends as its row says, with nothing left over; also
when the daemon is killed and the storage mounted anew, which changes what many of them say about their files.
"""

import os
import subprocess
import unittest

import sentences
import support
from daemon_process import ENDS, Archive, DaemonTest, wait_until

QUIRKFS = support.BUILD / "tests/support/quirkfs"

# Done, as if there were nothing odd.
DONE = (
    "nocache", "noino", "hashino", "noexch", "noexch=1", "noexch=95", "ignflags", "noexch,nolink", "noexch,nolink=5",
    "noexch,nolink=13", "noexch,nolink=18", "noexch,nolink=22", "noexch,nolink=38", "noino,noexch", "hashino,noexch",
    "hashino,noexch,nolink", "hashino,ignflags", "noxattr", "noxattr=5", "noxattr=13", "noxattr=7", "nodirsync",
    "nodirsync=1", "nodirsync=21", "nodirsync=95", "nostatfs", "nostatfs=95", "statzero", "statlie", "mtime1s",
    "mtime2s", "filemode", "owner", "hardremove,noino",
)
# Failed: what the reason says, and whether that shows before the archive is read.
FAILED = {
    "nordwr": ("the file system cannot create for reading and writing", True),
    "noutime": ("set the time of", True),
    "nofsync": ("the file system cannot sync", True),
    "filemode,nochmod": ("change the mode of", True),
    "owner,nochown": ("change the owner of", True),
    # Without "hardremove" libfuse may first move the target aside: it hears late that the file was closed.
    "hardremove,noexch,renperm": ("rename to", False),
    "bitflip=100000": ("", False),
}
# Killed at each of the moments, and mounted anew.
KILLED = ("noino", "hashino", "noino,noexch", "hashino,noexch", "hashino,noexch,nolink")


def why_not():
    if os.geteuid() != 0:
        return "only root can mount"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse here"
    return None if QUIRKFS.exists() else "tests/support/quirkfs was not built"


class Storage:
    """A directory, mounted with these quirks, with an archive in it."""

    def __init__(self, parent, quirks, number):
        self.quirks = quirks
        self.real = parent / "real" / str(number)
        self.mount_point = parent / "dump" / str(number)
        self.real.mkdir(parents=True)
        self.mount_point.mkdir(parents=True)
        self.mount()
        name = f"vzdump-qemu-{100 + number}-2026_01_01-02_00_00.vma"
        self.archive = Archive(self.real / name, seed=number + 1)
        self.path = self.mount_point / name

    def mount(self):
        subprocess.run([QUIRKFS, self.real, self.mount_point, self.quirks], check=True, timeout=60)

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.mount_point], check=False, timeout=60)

    def names(self):
        return sorted(os.listdir(self.real))

    def is_clean(self):
        return self.names() == [self.archive.path.name]


@unittest.skipIf(why_not(), why_not())
class Quirks(DaemonTest):
    def setUp(self):
        super().setUp()
        self.storages = []

    def tearDown(self):
        for daemon in self.daemons:
            daemon.kill()
        for storage in self.storages:
            storage.unmount()
        super().tearDown()

    def storage(self, quirks):
        self.storages.append(Storage(self.dir, quirks, len(self.storages)))
        return self.storages[-1]

    def assert_canonical_at(self, storage):
        self.assertEqual(storage.archive.content() == storage.archive.new, True, "the archive holds something else")
        self.assertEqual(storage.names(), [storage.archive.path.name])

    def test_jobs(self):
        daemon = self.start()
        jobs = []
        for quirks in (*DONE, *FAILED):
            storage = self.storage(quirks)
            jobs.append((storage, daemon.add(storage.path)))
        for storage, job_id in jobs:
            with self.subTest(quirks=storage.quirks):
                job = daemon.wait(job_id)
                if storage.quirks in DONE:
                    self.assertEqual((job["state"], job.get("warning", "")), ("done", ""), job)
                    self.assert_canonical_at(storage)
                    continue
                reason, at_once = FAILED[storage.quirks]
                self.assertEqual(job["state"], "failed", job)
                self.assertIn(reason, job["reason"])
                self.assertEqual(job.get("progress", {}).get("done_bytes", 0) == 0 or not at_once, True, job)
                self.assertEqual(storage.archive.content() == storage.archive.old, True)
                self.assertTrue(storage.is_clean(), storage.names())

    def test_vmactl(self):
        for quirks in ("noino,noexch", "hashino", "noxattr=5", "nodirsync=95"):
            with self.subTest(quirks=quirks):
                storage = self.storage(quirks)
                command = [support.VMACTL, "repack", "--in-place", "--state-dir", self.state / "vmactl", storage.path]
                support.make_old(storage.archive.path)
                result = subprocess.run(command, text=True, capture_output=True, timeout=60)
                self.assertEqual((result.returncode, result.stderr), (0, ""), result)
                self.assert_canonical_at(storage)

    def test_a_bad_read_of_the_source(self):
        """The first reading is wrong, or the second: the next attempt finds the disk in order."""
        daemon = self.start()
        jobs = []
        for quirks in ("badcached", "baddirect"):
            storage = self.storage(quirks)
            jobs.append((storage, daemon.add(storage.path)))
        for storage, job_id in jobs:
            with self.subTest(quirks=storage.quirks):
                job = daemon.wait(job_id, ("waiting", *ENDS))
                self.assertEqual((job["state"], job["waiting_for"]), ("waiting", "retry"), job)
                self.assertEqual(job["reason"], self.expected_reason(storage))
                self.assertEqual(storage.archive.content() == storage.archive.old, True)
                self.assertTrue(storage.is_clean(), storage.names())
                # The path is broken into lines there.
                shown = " ".join(self.vmactl("show", str(job_id))[1].split())
                self.assertIn(job["reason"].partition(" differ at ")[2], shown)
                with daemon.client() as client:
                    client.call("org.vmad.Queue.Retry", id=job_id)
                self.assertEqual(daemon.wait(job_id)["state"], "done")
                self.assert_canonical_at(storage)
        self.assertIn("differ at bytes 0 to", (self.dir / "log").read_text())

    def test_a_bad_read_of_the_source_of_vmactl(self):
        for options, is_read_twice in (((), True), (("--verify-source", "always"), True),
                                       (("--verify-source=off",), False)):
            with self.subTest(options=options):
                storage = self.storage("baddirect")
                command = [support.VMACTL, "repack", "--in-place", "--state-dir", self.state / "vmactl", *options,
                           storage.path]
                support.make_old(storage.archive.path)
                result = subprocess.run(command, text=True, capture_output=True, timeout=60)
                if not is_read_twice:
                    self.assertEqual(result.returncode, 0, result)
                    self.assert_canonical_at(storage)
                    continue
                self.assertEqual((result.returncode, result.stdout), (1, ""), result)
                self.assertEqual(result.stderr, f"vmactl: {self.expected_reason(storage)}\n")
                self.assertEqual(storage.archive.content() == storage.archive.old, True)
                self.assertTrue(storage.is_clean(), storage.names())

    @staticmethod
    def expected_reason(storage):
        end = min(1 << 20, len(storage.archive.old)) - 1
        return (f"two reads of {storage.path} differ at bytes 0 to {end}: memory, cable or disk may be failing; "
                "it was not replaced")

    def test_writer(self):
        """The kernel knows who of this node has a file open for writing, whatever the program behind FUSE."""
        daemon = self.start()
        for quirks in ("noino", "hashino,noexch"):
            with self.subTest(quirks=quirks):
                storage = self.storage(quirks)
                with open(storage.path, "r+b"):
                    job = daemon.wait(daemon.add(storage.path), ("waiting", *ENDS))
                    self.assertEqual((job["state"], job.get("reason")), ("waiting", sentences.OPEN_FOR_WRITING))
                    self.assertTrue(storage.archive.content() == storage.archive.old and storage.is_clean())
                self.vmactl("retry", str(job["id"]))
                self.assertEqual(daemon.wait(job["id"])["state"], "done")
                self.assert_canonical_at(storage)

    def test_extract(self):
        for quirks in ("noexch,nolink=5", "nolink=18", "nolink=22,hashino", "nodirsync=95"):
            with self.subTest(quirks=quirks):
                storage = self.storage(quirks)
                into = storage.mount_point / "disks"
                result = subprocess.run([support.VMACTL, "extract", storage.path, into], text=True, timeout=60,
                                        capture_output=True)
                self.assertEqual((result.returncode, result.stderr), (0, ""), result)
                self.assertEqual([name for name in os.listdir(into) if name.startswith(".")], [])
                again = subprocess.run([support.VMACTL, "extract", storage.path, into], text=True, timeout=60,
                                       capture_output=True)
                self.assertNotEqual(again.returncode, 0, "what is there is not replaced")

    def test_killed_and_mounted_anew(self):
        """Calls on names take their time, so that a kill falls between two of them."""
        def is_made(storage):
            return any(name.endswith(".tmp") for name in storage.names())

        def is_linked(storage):
            return any(name.endswith(".old") for name in storage.names())

        def is_swapped(storage):
            return storage.archive.content() != storage.archive.old

        for moment in (is_made, is_linked, is_swapped):
            for quirks in KILLED:
                if moment is is_linked and ("noexch" not in quirks or "nolink" in quirks):
                    continue
                with self.subTest(moment=moment.__name__, quirks=quirks):
                    storage = self.storage(f"{quirks},slow=50")
                    daemon = self.start()
                    job_id = daemon.add(storage.path)
                    wait_until(lambda: moment(storage), moment.__name__)
                    daemon.kill()
                    storage.unmount()
                    content = storage.archive.content()
                    self.assertEqual(content in (storage.archive.old, storage.archive.new), True)
                    storage.mount()
                    daemon = self.start()
                    job = daemon.wait(job_id)
                    self.assertEqual((job["state"], job.get("warning", "")), ("done", ""), job)
                    self.assert_canonical_at(storage)
                    daemon.kill()

    def killed_between_two_names(self):
        """A storage whose archive has its second name, but has not been replaced."""
        for slow in (50, 200, 800, 3200):  # milliseconds of a call on names: enough for this machine at the moment
            storage = self.storage(f"hashino,noexch,slow={slow}")
            daemon = self.start()
            job_id = daemon.add(storage.path)
            wait_until(lambda storage=storage: any(name.endswith(".old") for name in storage.names()),
                       "the second name is there")
            daemon.kill()
            if storage.archive.content() == storage.archive.old:
                return storage, job_id
        raise AssertionError("each kill came too late")

    def test_a_stray_file_is_named_and_does_not_hold_the_job_up(self):
        storage, job_id = self.killed_between_two_names()
        stray = next(storage.real / name for name in storage.names() if name.endswith(".old"))
        stray.unlink()
        stray.write_bytes(b"somebody else's")
        storage.unmount()
        storage.mount()
        daemon = self.start()
        job = daemon.wait(job_id)
        self.assertEqual(job["state"], "done", job)
        self.assertIn(stray.name, job["warning"])
        self.assertEqual(stray.read_bytes(), b"somebody else's")
        self.assertEqual(storage.archive.content() == storage.archive.new, True)


if __name__ == "__main__":
    unittest.main()
