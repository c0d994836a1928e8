"""The dashboard and the alerts of the package, in a real Prometheus that reads what a daemon writes.

Run as: VMAD_BUILD=builddir python3 test_prometheus.py
"""

import http.server
import json
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

from daemon_process import PATIENCE, Archive, DaemonTest, wait_until
from support import SOURCE

DASHBOARD = SOURCE / "config/vmad.dashboard.json"
RULES = SOURCE / "config/vmad.rules.yml"
RULES_TEST = SOURCE / "tests/integration/prometheus_rules.yml"

without_prometheus = unittest.skipUnless(shutil.which("prometheus") and shutil.which("promtool"),
                                         "prometheus is not installed")


def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


def expressions(text=None):
    """What is asked of Prometheus, by panel and target; the variables are `text`."""
    found = {}
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            if text is not None:
                expression = re.sub(r"\$(instance|storage)\b", text, expression)
            found[f"{panel['title']}, {target['refId']}"] = expression
    return found


def metrics_in(text):
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\bvmad_[a-z_]+\b", text)}


def promtool(*arguments):
    result = subprocess.run(["promtool", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=PATIENCE)
    return result.returncode, result.stdout


class FilesTest(unittest.TestCase):
    def test_every_metric_is_one_of_the_daemon(self):
        known = metrics_in((SOURCE / "src/daemon/metrics.cpp").read_text())
        documented = metrics_in((SOURCE / "src/daemon/vmad.8.scd").read_text())
        self.assertIn("vmad_guest_new_bytes", known)
        for what, text in [("the alerts", RULES.read_text()), ("the test", RULES_TEST.read_text()),
                           ("README", (SOURCE / "README.md").read_text()), *expressions().items(),
                           ("variables", json.dumps(json.loads(DASHBOARD.read_text())["templating"]))]:
            self.assertLessEqual(metrics_in(text), known, what)
        self.assertLessEqual(known, documented)

    def test_the_form_of_the_dashboard(self):
        board = json.loads(DASHBOARD.read_text())
        variables = {variable["name"] for variable in board["templating"]["list"]}
        self.assertEqual(set(re.findall(r"\$\{?(\w+)", json.dumps(board))) - {"__all"}, variables)
        identities = [panel["id"] for panel in panels()]
        self.assertEqual(len(set(identities)), len(identities))
        taken = {}
        for panel in panels():
            self.assertTrue(panel["title"])
            self.assertEqual(panel["datasource"]["uid"], "${datasource}")
            references = [target["refId"] for target in panel["targets"]]
            self.assertEqual(len(set(references)), len(references), panel["title"])
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    taken[x, y] = panel["title"]
            # Overrides of a table go by the letters of its targets.
            for override in panel["fieldConfig"]["overrides"]:
                if override["matcher"]["options"].startswith("Value #"):
                    self.assertIn(override["matcher"]["options"][-1], references)

    def test_every_alert_has_a_test(self):
        alerts = re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.M)
        fired = re.findall(r"alertname: (\w+)\n +exp_alerts:\n +- ", RULES_TEST.read_text())
        self.assertEqual(set(fired), set(alerts))
        quiet = re.findall(r"alertname: (\w+)}$", RULES_TEST.read_text(), re.M)
        self.assertEqual(set(quiet), set(alerts))

    @without_prometheus
    def test_alerts(self):
        code, output = promtool("check", "rules", RULES)
        self.assertEqual(code, 0, output)
        code, output = promtool("test", "rules", RULES_TEST)
        self.assertEqual(code, 0, output)

    @without_prometheus
    def test_expressions_of_the_dashboard(self):
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            rules = [{"record": f"vmad:{number}", "expr": expression}
                     for number, expression in enumerate(expressions(".*").values())]
            file.write(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
            file.flush()
            code, output = promtool("check", "rules", file.name)
        self.assertEqual(code, 0, output)


class Exporter:
    """Serves a file, as node_exporter does."""

    def __init__(self, path):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                content = path.read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return unused.getsockname()[1]


@without_prometheus
class PrometheusTest(DaemonTest):
    def start_prometheus(self, exporter):
        config = self.dir / "prometheus.yml"
        config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [exporter.address]}]}]}))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        log = (self.dir / "prometheus.log").open("w")
        self.addCleanup(log.close)
        process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={self.dir}/tsdb",
             f"--web.listen-address=127.0.0.1:{port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.wait, PATIENCE)
        self.addCleanup(process.kill)
        wait_until(lambda: self.answers("/-/ready"), "Prometheus is ready")

    def answers(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, path, **parameters):
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}",
                                    timeout=PATIENCE) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def with_damaged_guest(self, text):
        """With one guest more, of which every figure that is no time is 1."""
        names = sorted(re.findall(r'"(vmad_guest_\w+)"', (SOURCE / "src/daemon/metrics.cpp").read_text()))
        for name in names:
            labels = 'vmid="900",storage="nas"' + (',guest="web"' if name == "vmad_guest_info" else "")
            value = int(time.time()) if "timestamp" in name else 1
            # Samples of a family stand together.
            lines = text.splitlines(keepends=True)
            at = next((i for i, line in enumerate(lines) if line.startswith(f"{name}{{")), len(lines))
            head = [] if at < len(lines) else [f"# TYPE {name} gauge\n"]
            text = "".join([*lines[:at], *head, f"{name}{{{labels}}} {value}\n", *lines[at:]])
        return text

    def test_all_of_it(self):
        file = self.dir / "vmad.prom"
        self.write_settings(metrics_file=str(file))
        daemon = self.start()
        for day in (1, 2):
            archive = Archive(self.dump / f"vzdump-qemu-100-2026_01_0{day}-02_00_00.vma", seed=day)
            with daemon.client() as client:
                job = client.call("org.vmad.Queue.Enqueue", path=str(archive.path), announced=True,
                                  storage="local")["job"]
            job = daemon.wait(job["id"])
            self.assertEqual(job["state"], "done")
        # One that waits, and is the oldest.
        daemon.wait(daemon.add(self.archive(vmid=101).path, announced=False), ("waiting",))
        self.assertEqual(daemon.stop(), 0)
        with open(file, "rb") as metrics:
            result = subprocess.run(["promtool", "check", "metrics"], stdin=metrics, stdout=subprocess.PIPE, text=True,
                                    stderr=subprocess.STDOUT, timeout=PATIENCE)
        self.assertEqual((result.returncode, result.stdout), (0, ""))
        text = file.read_text()
        for line in ('vmad_guest_info{vmid="100",storage="local",guest="made-up"} 1',
                     'vmad_guest_archives{vmid="100",storage="local"} 2',
                     f'vmad_guest_backup_bytes{{vmid="100",storage="local"}} {len(archive.new)}',
                     f'vmad_guest_new_bytes{{vmid="100",storage="local"}} {job["since"]["new_bytes"]}',
                     f'vmad_guest_last_success_timestamp_seconds{{vmid="100",storage="local"}} {job["ended_at"]}',
                     'vmad_guest_damaged_archives{vmid="100",storage="local"} 0',
                     'vmad_archives{verdict="damaged"} 0'):
            self.assertIn(f"\n{line}\n", text)
        file.write_text(self.with_damaged_guest(text))

        exporter = Exporter(file)
        self.addCleanup(exporter.close)
        self.start_prometheus(exporter)
        wait_until(lambda: len(self.query("count_over_time(vmad_paused[1m]) > 2")) == 1, "the metrics are read")
        for what, expression in expressions(".*").items():
            with self.subTest(what):
                self.assertTrue(self.query(expression), expression)
        self.assertEqual(self.query('vmad_guest_backup_bytes{vmid="900"}')[0]["metric"],
                         {"__name__": "vmad_guest_backup_bytes", "instance": exporter.address, "job": "node",
                          "vmid": "900", "storage": "nas"})

        def firing():
            return [alert["labels"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"]

        wait_until(firing, "an alert fires")
        self.assertEqual(firing(), [{"alertname": "VmadArchiveDamaged", "instance": exporter.address, "job": "node",
                                     "severity": "critical", "storage": "nas", "vmid": "900"}])
        rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
        self.assertEqual({rule["health"] for rule in rules}, {"ok"})


if __name__ == "__main__":
    unittest.main()
