"""The steps of a replacement, and a daemon whose worker is stopped after one of them."""

import contextlib

from daemon_process import DaemonTest

# A step is the system call after which the worker is stopped: {its name, the call, which one of the thread}.
BEFORE_SWAP = (
    ("the temporary file is made", "openat", 2),
    ("reading", "preadv", 4),
    ("metadata is copied", "flistxattr", 1),
    ("the copy is proven", "fsync", 1),
    ("the copy has its temporary name", "linkat", 1),
    ("the archive was looked at", "openat", 3),
)
AFTER_SWAP = (
    ("swapped", "renameat2", 1),
    ("the swap is durable", "fsync", 2),
    ("the old one is removed", "unlinkat", 1),
    ("the removal is durable", "fsync", 3),
)
NO_EXCHANGE = "renameat2:error=EINVAL"
RENAME_WAY = (
    ("the old one has a second name", "linkat", 2),
    ("the archive was looked at again", "openat", 4),
    ("renamed", "renameat", 1),
    ("the rename is durable", "fsync", 2),
    ("the second name is removed", "unlinkat", 1),
    ("the removal is durable", "fsync", 3),
)
NO_UNNAMED_FILE = "openat:error=EOPNOTSUPP:when=2"
NAMED_WAY = (
    ("reading", "preadv", 4),
    ("metadata is copied", "flistxattr", 1),
    ("the copy is proven", "fsync", 1),
    ("swapped", "renameat2", 1),
    ("the old one is removed", "unlinkat", 1),
)
STEPS = (
    *(("exchange", (), step) for step in BEFORE_SWAP + AFTER_SWAP),
    *(("rename", (NO_EXCHANGE,), step) for step in RENAME_WAY),
    *(("named temporary file", (NO_UNNAMED_FILE,), step) for step in NAMED_WAY),
)
# Counting calls does not tell which one makes the temporary file when there is an old one to be settled first.
STEPS_OF_ANY_RUN = tuple(row for row in STEPS if NO_UNNAMED_FILE not in row[1])


class PublishingTest(DaemonTest):
    def start_stopped(self, injections, step):
        """(daemon, archive, job id, pid of the worker that is stopped)."""
        _, call, number = step
        archive = self.archive()
        daemon = self.start_watched(archive, *injections, f"{call}:signal=SIGSTOP:when={number}")
        job = daemon.add(archive.path)
        return daemon, archive, job, daemon.stopped_worker()

    @contextlib.contextmanager
    def worker_stopped_at(self, way, injections, step):
        """The same, in fresh directories."""
        with self.subTest(way=way, step=step[0]):
            self.start_afresh()
            yield self.start_stopped(injections, step)
