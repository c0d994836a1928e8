"""The file for node_exporter, read by a parser that takes nothing but Prometheus' text format 0.0.4."""

import re
import time
import unittest

from daemon_process import DaemonTest, wait_until

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (\S+)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "counter": ("",)}


def number(text):
    """A value as the format spells it."""
    if text in ("+Inf", "-Inf", "NaN"):
        return float(text)
    assert re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text), text
    return float(text) if "." in text or "e" in text.lower() else int(text)


class Metrics:
    """Families by name, {"type", "samples"}, samples by name and labels: what a strict reader demands holds."""

    def __init__(self, text):
        assert text.endswith("\n"), "the last line does not end"
        self.families = {}
        family = None
        helped = set()
        for line in text[:-1].split("\n"):
            if match := re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line):
                assert match[1] not in helped, f"a second HELP: {line}"
                helped.add(match[1])
                family = match[1]
            elif match := re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line):
                assert match[1] == family and match[1] not in self.families, f"a TYPE out of place: {line}"
                self.families[family] = {"type": match[2], "samples": {}}
            else:
                self.take_sample(family, line)
        for name, found in self.families.items():
            assert found["samples"], f"{name} has no sample"
            self.check_conventions(name, found)

    def take_sample(self, family, line):
        match = SAMPLE.fullmatch(line)
        assert match, f"no sample: {line!r}"
        name, labels, value = match[1], match[2] or "", number(match[match.re.groups])
        assert family in self.families, f"a sample before its TYPE: {line}"
        found = self.families[family]
        assert name in [family + suffix for suffix in SUFFIXES[found["type"]]], f"{line} in {family}"
        key = (name, tuple(sorted(re.findall(LABEL, labels))))
        assert len({label for label, _ in key[1]}) == len(key[1]), f"a label twice: {line}"
        assert key not in found["samples"], f"twice: {line}"
        found["samples"][key] = value

    @staticmethod
    def check_conventions(name, found):
        assert name.startswith("vmad_"), name
        assert (found["type"] == "counter") == name.endswith("_total"), name
        assert not name.endswith(("_count", "_sum", "_bucket")), name
        if found["type"] in ("counter", "histogram"):
            assert all(value >= 0 for value in found["samples"].values()), name
        if found["type"] == "histogram":
            buckets = [(float(dict(labels)["le"]), value)
                       for (sample, labels), value in found["samples"].items() if sample == f"{name}_bucket"]
            assert buckets == sorted(buckets), f"{name} is not cumulative, or out of order"
            assert len({limit for limit, _ in buckets}) == len(buckets), name
            assert buckets[-1][0] == float("inf"), name
            assert [value for _, value in buckets] == sorted(value for _, value in buckets), name
            assert found["samples"][(f"{name}_count", ())] == buckets[-1][1], name
            assert (f"{name}_sum", ()) in found["samples"], name

    def get(self, name, **labels):
        """The value of a sample; nothing when there is none."""
        for found in self.families.values():
            if (name, tuple(sorted(labels.items()))) in found["samples"]:
                return found["samples"][(name, tuple(sorted(labels.items())))]
        return None


class ParserTest(unittest.TestCase):
    """What the parser refuses, so that it says something when it accepts."""

    def test_bad_texts(self):
        head = "# HELP vmad_a text\n# TYPE vmad_a gauge\n"
        histogram = "# HELP vmad_h text\n# TYPE vmad_h histogram\n"
        Metrics(head + "vmad_a 1\n")
        Metrics(histogram + 'vmad_h_bucket{le="1"} 1\nvmad_h_bucket{le="+Inf"} 2\nvmad_h_sum 2\nvmad_h_count 2\n')
        for text in ("vmad_a 1\n", head, head + "vmad_a 1", head + "vmad_b 1\n", head + "vmad_a 1\nvmad_a 1\n",
                     head + "vmad_a 1\n" + head, head + "vmad_a one\n", head + "vmad_a{a=b} 1\n", head + "\nvmad_a 1\n",
                     head + 'vmad_a{a="\\x"} 1\n', head + 'vmad_a{a="1",a="2"} 1\n', head + "vmad_a_total 1\n",
                     head.replace("gauge", "counter") + "vmad_a 1\n",
                     histogram + 'vmad_h_bucket{le="1"} 1\nvmad_h_sum 2\nvmad_h_count 1\n',
                     histogram + 'vmad_h_bucket{le="1"} 3\nvmad_h_bucket{le="+Inf"} 2\nvmad_h_sum 2\nvmad_h_count 2\n',
                     histogram + 'vmad_h_bucket{le="+Inf"} 2\nvmad_h_sum 2\nvmad_h_count 1\n'):
            with self.subTest(text):
                self.assertRaises((AssertionError, KeyError, IndexError), Metrics, text)


class MetricsTest(DaemonTest):
    def setUp(self):
        super().setUp()
        self.metrics_dir = self.dir / "textfile"
        self.metrics_dir.mkdir()
        self.file = self.metrics_dir / "vmad.prom"
        self.write_settings(metrics_file=str(self.file))

    def metrics(self):
        wait_until(self.file.exists, "the metrics are written")
        wait_until(lambda: [entry.name for entry in self.metrics_dir.iterdir()] == ["vmad.prom"],
                   "nothing else lies there once they are")
        self.assertEqual(self.file.stat().st_mode & 0o7777, 0o644)
        return Metrics(self.file.read_text())

    def test_a_new_daemon(self):
        before = int(time.time())
        daemon = self.start()
        metrics = self.metrics()
        with daemon.client() as client:
            status = client.call("org.vmad.Queue.Status")["status"]
        self.assertEqual(metrics.get("vmad_build_info", version=status["version"]), 1)
        self.assertEqual(metrics.get("vmad_start_time_seconds"), status["started_at"])
        self.assertGreaterEqual(metrics.get("vmad_start_time_seconds"), before)
        for state in ("queued", "running", "publishing", "waiting"):
            self.assertEqual(metrics.get("vmad_jobs", state=state), 0)
        for name in ("vmad_last_success_timestamp_seconds", "vmad_last_failure_timestamp_seconds",
                     "vmad_oldest_job_timestamp_seconds"):
            self.assertIsNone(metrics.get(name))

    def test_after_real_jobs(self):
        daemon = self.start()
        archives = [self.archive(vmid=vmid, seed=vmid) for vmid in (100, 101)]
        done = [daemon.wait(daemon.add(archive.path)) for archive in archives]
        unchanged = daemon.wait(daemon.add(archives[0].path))
        daemon.wait(daemon.add(self.dump / "gone.vma"))
        damaged = self.dump / "damaged.vma"
        damaged.write_bytes(b"text")
        failed = daemon.wait(daemon.add(damaged))
        waiting = daemon.wait(daemon.add(self.archive(vmid=102).path, announced=False), ("waiting",))
        with daemon.client() as client:
            client.call("org.vmad.Queue.Pause")
        self.assertEqual(daemon.stop(), 0)

        metrics = self.metrics()
        for result, count in (("done", 2), ("unchanged", 1), ("vanished", 1), ("failed", 1), ("cancelled", 0)):
            self.assertEqual(metrics.get("vmad_jobs_ended_total", result=result), count, result)
        self.assertEqual(metrics.get("vmad_jobs", state="waiting"), 1)
        self.assertEqual(metrics.get("vmad_jobs", state="running"), 0)
        self.assertEqual(metrics.get("vmad_repack_input_bytes_total"),
                         sum(len(archive.old) for archive in archives))
        self.assertEqual(metrics.get("vmad_repack_output_bytes_total"),
                         sum(len(archive.new) for archive in archives))
        self.assertEqual(metrics.get("vmad_job_duration_seconds_count"), 2)
        self.assertEqual(metrics.get("vmad_job_duration_seconds_sum"),
                         sum(job["ended_at"] - job["started_at"] for job in done))
        self.assertEqual(metrics.get("vmad_last_success_timestamp_seconds"), unchanged["ended_at"])
        self.assertEqual(metrics.get("vmad_last_failure_timestamp_seconds"), failed["ended_at"])
        self.assertEqual(metrics.get("vmad_oldest_job_timestamp_seconds"), waiting["queued_at"])
        self.assertEqual(metrics.get("vmad_paused"), 1)
        self.assertEqual(sum(metrics.get("vmad_archives", verdict=verdict)
                             for verdict in ("good", "unverified", "damaged")), 3)
        # That the first one was canonical already, the second time, makes no new backup of it.
        for vmid, archive, ended in zip((100, 101), archives, done):
            guest = {"vmid": str(vmid), "storage": ""}
            self.assertEqual(metrics.get("vmad_guest_info", guest="made-up", **guest), 1)
            self.assertEqual(metrics.get("vmad_guest_archive_bytes", **guest), len(archive.new))
            self.assertEqual(metrics.get("vmad_guest_backup_bytes", **guest), len(archive.new))
            self.assertEqual(metrics.get("vmad_guest_last_success_timestamp_seconds", **guest), ended["ended_at"])

        # Totals survive a restart, and counters never fall.
        self.file.unlink()
        daemon = self.start()
        self.assertEqual(self.metrics().get("vmad_jobs_ended_total", result="done"), 2)

    def test_the_running_daemon_writes_what_changes(self):
        daemon = self.start()
        self.metrics()
        daemon.wait(daemon.add(self.archive().path))
        wait_until(lambda: self.metrics().get("vmad_jobs_ended_total", result="done") == 1, "the job is counted")

    def test_a_file_that_cannot_be_written_disturbs_nobody(self):
        self.file = self.dir / "not there yet/vmad.prom"
        self.metrics_dir = self.file.parent
        self.write_settings(metrics_file=str(self.file))
        daemon = self.start()
        archive = self.archive()
        self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "done")
        self.assert_canonical(archive)
        self.metrics_dir.mkdir()
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(self.metrics().get("vmad_jobs_ended_total", result="done"), 1)
        told = [line for line in daemon.log.read_text().splitlines() if "metrics" in line]
        temporary = self.metrics_dir / ".vmad.prom.tmp"
        self.assertEqual(told, [f"warning: metrics: create {temporary}: No such file or directory",
                                f"info: metrics: {self.file} can be written again"])


if __name__ == "__main__":
    unittest.main()
