"""What the daemon tells the journal, read from a journal of the test's own: systemd's native protocol
(systemd.io/JOURNAL_NATIVE_PROTOCOL) on a datagram socket, which the daemon finds in its mount namespace."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

from daemon_process import Archive, DaemonTest, needs_root, wait_until
from run_directory import with_run
from support import SOURCE

EVENTS = SOURCE / "src/daemon/job_log.cpp"
CATALOG = SOURCE / "systemd/vmad.catalog"

ERROR, WARNING, INFO = "3", "4", "6"


def event_ids():
    """By the name of the event."""
    return dict(re.findall(r'constexpr Event k\w+\{"([\w ]+)", LogLevel::\w+,\s+"(\w+)"\}', EVENTS.read_text()))


def catalog_entries():
    """Fields and text by id, as catalogs are written: a line with the id, a header, an empty line, the text."""
    parts = re.split(r"^-- (.*)$", CATALOG.read_text(), flags=re.M)
    entries = {}
    for entry_id, body in zip(parts[1::2], parts[2::2], strict=True):
        assert entry_id not in entries, entry_id
        header, _, text = body.strip("\n").partition("\n\n")
        entries[entry_id] = dict(line.split(": ", 1) for line in header.split("\n")), text
    return entries


def parse_record(data):
    """The fields of a datagram: NAME=value lines, or NAME, 64 bits of length and the value for any bytes."""
    fields = {}
    while data:
        name, data = data.split(b"\n", 1)
        name, equals, value = name.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, end, data = data[8:8 + size], data[8 + size:9 + size], data[9 + size:]
            assert len(value) == size and end == b"\n", name
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]*", name), name
        assert name not in fields, name
        fields[name] = value
    return {name.decode(): value.decode() for name, value in fields.items()}


class Journal:
    """The other end of /run/systemd/journal/socket. It reads all the time, so that nobody waits for it."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.records = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while data := self.socket.recv(1 << 20):
            self.records.append(parse_record(data))

    def close(self):
        self.socket.shutdown(socket.SHUT_RD)
        self.thread.join()
        self.socket.close()

    def about(self, job_id):
        return [record for record in self.records if record.get("VMAD_JOB") == str(job_id)]

    def event(self, job_id, name):
        """The only record of this event of a job, once it is there."""
        def found():
            return [record for record in self.about(job_id) if record.get("MESSAGE_ID") == event_ids()[name]]
        wait_until(found, f"job {job_id} is {name} in the journal")
        assert len(found()) == 1, found()
        return found()[0]


@needs_root
class JournalTest(DaemonTest):
    def start_with_journal(self, named=True):
        """`named`: the environment says that stderr is the journal, as it does for a service."""
        self.journal = Journal(self.dir / "journal")
        self.addCleanup(self.journal.close)
        log = self.dir / "log"
        log.touch()
        status = log.stat()
        stream = f"{status.st_dev}:{status.st_ino}" if named else f"{status.st_dev}:{status.st_ino + 1}"
        script = 'mkdir -p /run/systemd/journal; ln -s "$1" /run/systemd/journal/socket'
        return self.start(wrapper=with_run(script, self.journal.path),
                          environment={"JOURNAL_STREAM": stream})

    def assert_fields(self, record, **expected):
        self.assertEqual({name: record.get(name) for name in expected}, expected)

    def test_events_of_a_job(self):
        daemon = self.start_with_journal()
        archive = self.archive()
        with daemon.client() as client:
            job = client.call("org.vmad.Queue.Enqueue", path=str(archive.path), announced=True,
                              storage="nas")["job"]
        job = daemon.wait(job["id"])
        done = self.journal.event(job["id"], "done")
        common = {"SYSLOG_IDENTIFIER": "vmad", "PRIORITY": INFO, "VMAD_JOB": str(job["id"]),
                  "VMAD_ARCHIVE": str(archive.path), "VMAD_VMID": "100", "VMAD_STORAGE": "nas"}
        self.assert_fields(self.journal.event(job["id"], "queued"), **common, VMAD_STATE="queued",
                           MESSAGE=f"job {job['id']}: queued: {archive.path}")
        self.assert_fields(self.journal.event(job["id"], "started"), **common, VMAD_STATE="running",
                           MESSAGE=f"job {job['id']}: started: {archive.path}")
        self.assert_fields(done, **common, VMAD_STATE="done", VMAD_SIZE_BEFORE=str(len(archive.old)),
                           VMAD_SIZE_AFTER=str(len(archive.new)),
                           VMAD_DURATION_SEC=str(job["ended_at"] - job["started_at"]))
        self.assertRegex(done["MESSAGE"], rf"^job 1: done: {re.escape(str(archive.path))}: "
                                          r"[0-9.]+ MiB -> [0-9.]+ MiB in \d+ s(, [0-9.]+ [KMGi]*B/s)?$")
        ids = [record["MESSAGE_ID"] for record in self.journal.about(job["id"]) if "MESSAGE_ID" in record]
        self.assertEqual(ids, [event_ids()[name] for name in ("queued", "started", "done")])

        self.assertNotIn("VMAD_NEW_BYTES", done)

        next_day = Archive(self.dump / "vzdump-qemu-100-2026_01_02-02_00_00.vma")
        done = self.journal.event(daemon.wait(daemon.add(next_day.path))["id"], "done")
        self.assert_fields(done, VMAD_NEW_BYTES="0", VMAD_NEW_SINCE=archive.path.name)
        self.assertTrue(done["MESSAGE"].endswith(f", 0 B new since {archive.path.name}"), done["MESSAGE"])

        again = daemon.wait(daemon.add(archive.path))["id"]
        unchanged = self.journal.event(again, "unchanged")
        self.assert_fields(unchanged, VMAD_STATE="unchanged", VMAD_VMID="100", PRIORITY=INFO)
        self.assertNotIn("VMAD_STORAGE", unchanged)
        self.assertNotIn("VMAD_SIZE_AFTER", unchanged)

    def test_other_ends_and_waiting(self):
        daemon = self.start_with_journal()
        damaged = self.dump / "damaged.vma"
        damaged.write_bytes(b"text")
        failed = daemon.wait(daemon.add(damaged))
        record = self.journal.event(failed["id"], "failed")
        self.assert_fields(record, PRIORITY=ERROR, VMAD_STATE="failed",
                           MESSAGE=f"job {failed['id']}: failed: {damaged}: {failed['reason']}")
        self.assertNotIn("VMAD_VMID", record)

        gone = daemon.wait(daemon.add(self.dump / "gone.vma"))
        self.assert_fields(self.journal.event(gone["id"], "vanished"), PRIORITY=INFO, VMAD_STATE="vanished")

        young = daemon.wait(daemon.add(self.archive().path, announced=False), ("waiting",))
        self.assert_fields(self.journal.event(young["id"], "waiting"), PRIORITY=INFO, VMAD_STATE="waiting",
                           MESSAGE=f"job {young['id']}: waiting: {young['path']}: {young['reason']}")
        with daemon.client() as client:
            client.call("org.vmad.Queue.Cancel", id=young["id"])
        self.assert_fields(self.journal.event(young["id"], "cancelled"), PRIORITY=INFO, VMAD_STATE="cancelled")

    def test_paths_with_any_bytes(self):
        daemon = self.start_with_journal()
        for name in ("line\nMESSAGE=made up\nPRIORITY=0.vma", "Sicherung von Jörg 備份.vma", "a=b\t\x1b[2J.vma"):
            with self.subTest(name):
                path = self.dump / name
                job = daemon.wait(daemon.add(path))["id"]
                record = self.journal.event(job, "vanished")
                self.assert_fields(record, VMAD_ARCHIVE=str(path), PRIORITY=INFO)
                shown = re.sub(r"[\0-\x1f]", lambda match: f"\\x{ord(match[0]):02x}", str(path))
                self.assertEqual(record["MESSAGE"], f"job {job}: vanished: {shown}")

    def test_every_record_about_a_job_is_found_by_its_number(self):
        self.write_settings(on_failure=["/bin/sh", "-c", "echo on stdout; echo on stderr >&2; exit 3"])
        daemon = self.start_with_journal()
        job = daemon.wait(daemon.add(self.write(self.dump / "damaged.vma", b"text")))["id"]
        wait_until(lambda: any("exit code" in record["MESSAGE"] for record in self.journal.about(job)),
                   "the command has failed")
        told = {record["MESSAGE"]: record["PRIORITY"] for record in self.journal.about(job)
                if "MESSAGE_ID" not in record}
        read_back = [message for message in told if message.startswith(f"job {job}: the copy is verified ")]
        self.assertEqual([told.pop(message) for message in read_back], [INFO])
        self.assertEqual(told, {f"job {job}: /bin/sh: on stdout": INFO, f"job {job}: /bin/sh: on stderr": INFO,
                                f"job {job}: /bin/sh: exit code 3": WARNING})
        self.assertEqual(daemon.stop(), 0)
        for record in self.journal.records:
            with self.subTest(record["MESSAGE"]):
                self.assertEqual("VMAD_JOB" in record, record["MESSAGE"].startswith("job "))
                self.assertEqual(record["SYSLOG_IDENTIFIER"], "vmad")
                self.assertIn(record["PRIORITY"], (ERROR, WARNING, INFO))
        self.assertIn("stopping", [record["MESSAGE"] for record in self.journal.records])
        self.assertEqual((self.dir / "log").read_text(), "")

    def test_stderr_that_is_no_journal_gets_plain_lines(self):
        daemon = self.start_with_journal(named=False)
        path = self.dump / "gone\nPRIORITY=0.vma"
        job = daemon.wait(daemon.add(path))["id"]
        self.assertEqual(daemon.stop(), 0)
        lines = (self.dir / "log").read_text().splitlines()
        shown = str(path).replace("\n", "\\x0a")
        self.assertEqual([line for line in lines if "job" in line],
                         [f"info: job {job}: {state}: {shown}" for state in ("queued", "started", "vanished")])
        self.assertTrue(all(re.match(r"(info|warning|error): ", line) for line in lines), lines)
        self.assertEqual(self.journal.records, [])

    @staticmethod
    def write(path, content):
        path.write_bytes(content)
        return path


class CatalogTest(unittest.TestCase):
    def test_every_event_is_explained_and_nothing_else(self):
        ids = event_ids()
        self.assertEqual(set(ids), {"queued", "started", "waiting", "done", "unchanged", "vanished", "failed",
                                    "cancelled", "queued to be verified", "verification started",
                                    "verification waiting", "verified", "damaged", "verification failed",
                                    "vanished before verification", "verification cancelled"})
        self.assertEqual(sorted(ids.values()), sorted(catalog_entries()))
        for event_id in ids.values():
            self.assertRegex(event_id, r"^[0-9a-f]{32}$")

    def test_entries(self):
        always = {"MESSAGE", "VMAD_JOB", "VMAD_STATE"}
        by_id = {event_id: name for name, event_id in event_ids().items()}
        for event_id, (header, text) in catalog_entries().items():
            with self.subTest(by_id[event_id]):
                self.assertEqual(list(header), ["Subject", "Defined-By", "Support"])
                self.assertEqual(header["Defined-By"], "vmad")
                fields = set(re.findall(r"@(\w*)@", header["Subject"] + text))
                sizes = {"VMAD_SIZE_BEFORE", "VMAD_SIZE_AFTER", "VMAD_DURATION_SEC"}
                self.assertLessEqual(fields, always | (sizes if by_id[event_id] == "done" else set()))
                # The path with all its bytes, which a terminal or a shell may understand in its own way.
                self.assertNotIn("VMAD_ARCHIVE", fields)
                self.assertTrue("vmactl" in text or "Nothing needs to be done" in " ".join(text.split()))

    @unittest.skipUnless(shutil.which("journalctl"), "journalctl is not installed")
    def test_journalctl_takes_it(self):
        with tempfile.TemporaryDirectory(prefix="vmad-test-") as root:
            folder = os.path.join(root, "usr/lib/systemd/catalog")
            os.makedirs(folder)
            os.makedirs(os.path.join(root, "var/lib/systemd/catalog"))
            shutil.copy(CATALOG, folder)
            subprocess.run(["journalctl", f"--root={root}", "--update-catalog"], check=True)
            listing = subprocess.run(["journalctl", f"--root={root}", "--list-catalog"], check=True, text=True,
                                     stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout
            subjects = {f"{event_id} vmad: {header['Subject']}"
                        for event_id, (header, _) in catalog_entries().items()}
            self.assertEqual(set(listing.splitlines()), subjects)


if __name__ == "__main__":
    unittest.main()
