"""What keeps backups of successive days: restic, borg, rdiff, and a file system that shares blocks.

Each is made in a directory of its own. add() takes the files of a day, by the names that they have on all days, and
returns the MiB that they added.
"""
import contextlib
import os
import pathlib
import shutil

from bench_disk import MIB, run
from guest_days import mounted
from shared_blocks import BlockSharing

# One repository for all, so that all have the same polynomial to cut chunks by.
RESTIC_TEMPLATE = pathlib.Path(__file__).with_name("restic-template")


def tree_mib(root):
    return sum(os.path.getsize(os.path.join(directory, name)) for directory, _, names in os.walk(root)
               for name in names) / MIB


class FileSizes:
    """The size of the day's files, without what is a hole."""
    def __init__(self, directory):
        pass

    def add(self, files):
        return sum(os.stat(file).st_blocks * 512 for file in files.values()) / MIB

    def close(self):
        pass


class ChunkRepository:
    """One that a command backs up standard input to."""
    def __init__(self, directory, environment):
        self.path = os.path.join(directory, "repository")
        self.environment = environment | {"TMPDIR": directory}

    def add(self, files):
        before = tree_mib(self.path)
        for name, file in files.items():
            run(f"{self.backup_command(name)} <{file}", self.environment)
        return tree_mib(self.path) - before

    def close(self):
        shutil.rmtree(self.path)


class Restic(ChunkRepository):
    def __init__(self, directory, compression):
        super().__init__(directory, {"RESTIC_PASSWORD": "bench"})
        self.compression = compression
        shutil.copytree(RESTIC_TEMPLATE, self.path)
        for name in ("data", "index", "locks", "snapshots"):
            os.mkdir(os.path.join(self.path, name))

    def backup_command(self, name):
        return (f"restic -q --no-cache -r {self.path} --compression {self.compression} backup --host bench "
                f"--stdin --stdin-filename {name}")


class Borg(ChunkRepository):
    def __init__(self, directory, chunker):
        super().__init__(directory, {"BORG_REPO": os.path.join(directory, "repository"),
                                     "BORG_BASE_DIR": os.path.join(directory, "borg"),
                                     "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
                                     "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"})
        self.chunker = chunker
        self.backups = 0
        run("borg init --encryption none", self.environment)

    def backup_command(self, name):
        self.backups += 1
        return (f"borg create --compression none --chunker-params {self.chunker} --stdin-name {name} "
                f"::{self.backups} -")


class Rdiff:
    """Deltas against the day before."""
    def __init__(self, directory):
        self.directory = directory

    def add(self, files):
        total = 0
        for name, file in files.items():
            signature = os.path.join(self.directory, name + ".signature")
            if os.path.exists(signature):
                total += int(run(f"rdiff delta {signature} {file} - | wc -c").output) / MIB
            else:
                total += os.path.getsize(file) / MIB
            run(f"rdiff --force signature {file} {signature}")
        return total

    def close(self):
        shutil.rmtree(self.directory)


class Xfs:
    """Room that the files take on a file system when each block that was there before is shared with it."""
    def __init__(self, directory):
        image = os.path.join(directory, "xfs.image")
        run(f"truncate -s 20G {image} && mkfs.xfs -q -m reflink=1 {image}")
        self.exit = contextlib.ExitStack()
        self.exit.callback(os.remove, image)
        self.root = self.exit.enter_context(mounted(image, os.path.join(directory, "xfs"), "loop,discard"))
        self.sharing = self.exit.enter_context(BlockSharing())

    def used_mib(self):
        run(f"sync -f {self.root}")
        status = os.statvfs(self.root)
        return (status.f_blocks - status.f_bfree) * status.f_frsize / MIB

    def add(self, files):
        before = self.used_mib()
        for file in files.values():
            copy = os.path.join(self.root, str(len(self.sharing.files)))
            run(f"cp --sparse=always {file} {copy} && sync {copy}")
            self.sharing.add(copy)
        return self.used_mib() - before

    def close(self):
        self.exit.close()


REPOSITORIES = {  # name -> the program that it needs, what makes it of a directory
    "size": ("true", FileSizes),
    "restic": ("restic", lambda directory: Restic(directory, "off")),
    "restic, compression auto": ("restic", lambda directory: Restic(directory, "auto")),
    "borg": ("borg", lambda directory: Borg(directory, "default")),
    "borg buzhash,16,20,17,4095": ("borg", lambda directory: Borg(directory, "buzhash,16,20,17,4095")),
    "rdiff": ("rdiff", Rdiff),
    "XFS": ("mkfs.xfs", Xfs),
}
