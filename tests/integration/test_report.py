"""vmactl report: as text, JSON and as a page, from a made-up daemon and from a real one.

VMAD_SHOTS=DIR keeps pictures of the page there.
"""

import email.policy
import json
import os
import pathlib
import random
import re
import subprocess
import textwrap
import time
import unittest
from html.parser import HTMLParser

import chromium
from daemon_process import DaemonTest
from made_up_daemon import DAY, HOUR, QUEUE, QueueCommandTest, job, replies_of
from support import HANG_SECONDS, SOURCE, VMACTL, generate

MIB, GIB = 1 << 20, 1 << 30
NASTY = "<script>alert(1)</script>\" onload='x' \u202e\x1b[2J \u00fc\U0001f600 " + "w" * 120
SHOTS = os.environ.get("VMAD_SHOTS")


def night(ago):
    """When the backups of a night begin."""
    return int(time.time()) // DAY * DAY + 2 * HOUR - ago * DAY


class History:
    """What the daemon knows after some nights."""

    def __init__(self, seed=1):
        self.random = random.Random(seed)
        self.jobs = []
        self.archives = []

    def add_guest(self, vmid, name, storage, nights, size=GIB, change=0.03, verified_ago=2):
        previous = None
        for ago in range(nights, -1, -1):
            at = night(ago) + vmid % 100 * 60
            if at > time.time():
                continue
            stamp = time.strftime("%Y_%m_%d-%H_%M_%S", time.gmtime(at))
            path = f"/mnt/pve/{storage}/dump/vzdump-qemu-{vmid}-{stamp}.vma.zst"
            size = int(size * self.random.uniform(1, 1.01))
            new = int(size * change * self.random.choice((0.2, 0.5, 1, 1, 1, 2, 6)))
            fields = {"size_before": size + MIB, "size_after": size, "ended_at": at + 900, "queued_at": at + 600}
            if previous:
                fields["since"] = self.since(previous, new)
            self.jobs.append(job(len(self.jobs) + 1, "done", **fields) |
                             {"path": path, "vmid": vmid, "guest": name, "storage": storage})
            record = {"path": path, "storage": storage, "vmid": vmid, "guest": name, "backup_at": at, "size_bytes": size,
                      "modified_ns": at * 10 ** 9, "repacked_at": at + 900, "verdict": "good"}
            if verified_ago is not None:
                record["verified_at"] = record["looked_at"] = min(int(time.time()) - verified_ago * DAY, at + 900)
            else:
                record["verdict"] = "unverified"
            self.archives.append(record | ({"new_bytes": new} if previous else {}))
            previous = record

    def since(self, previous, new):
        offset = self.random.randrange(28) * GIB
        largest = {"offset": offset, "bytes": 2 * GIB, "new_bytes": new // 2,
                   "partition": self.random.choice(("1 (ext4)", "3 (NTFS)", ""))}
        return {"archive": os.path.basename(previous["path"]), "archive_at": previous["backup_at"], "new_bytes": new,
                "disks": [{"disk": "drive-scsi0", "bytes": 32 * GIB, "new_bytes": new * 9 // 10,
                           "largest": {key: value for key, value in largest.items() if value != ""}},
                          {"disk": "drive-efidisk0", "bytes": 4 * MIB, "new_bytes": new // 10}]}

    def fail(self, vmid, name, storage, reason, **fields):
        self.jobs.append(job(len(self.jobs) + 1, "failed", reason=reason, ended_at=night(1), queued_at=night(1) - 60) |
                         {"path": f"/mnt/pve/{storage}/dump/vzdump-qemu-{vmid}-2026_01_01-02_00_00.vma.zst", "vmid": vmid,
                          "guest": name, "storage": storage} | fields)

    def damage(self, index, fault, places):
        record = self.archives[index]
        record |= {"verdict": "damaged", "fault": fault, "looked_at": night(0), "verified_at": night(20)}
        self.jobs.append(job(len(self.jobs) + 1, "failed", kind="verify", damaged=True, reason=fault, damage=places,
                             ended_at=night(0), last_good_at=night(20)) |
                         {key: record[key] for key in ("path", "vmid", "guest", "storage")})

    def answer(self, call):
        if call["method"] == QUEUE + "Archives":
            return [{"parameters": {"archive": each}} for each in self.archives] or [{"parameters": {}}]
        return replies_of(self.jobs)


def small_history():
    history = History()
    history.add_guest(100, "web", "local", 9)
    return history


def office_history():
    """A small firm, in which some things went wrong."""
    history = History(3)
    history.add_guest(100, "web", "local", 40, 12 * GIB)
    history.add_guest(101, "database", "local", 40, 80 * GIB, 0.08)
    history.add_guest(102, "mail", "nas", 40, 210 * GIB, 0.02)
    history.add_guest(103, "files", "nas", 40, 900 * GIB, 0.005, verified_ago=45)
    history.add_guest(104, "windows-terminal-server-2022", "nas", 40, 64 * GIB, 0.05)
    history.add_guest(105, "b\u00fcro", "local", 3, 8 * GIB)
    history.add_guest(110, "test", "nas", 40, 4 * GIB, verified_ago=None)
    for record in [each for each in history.archives if each["vmid"] == 110 and each["backup_at"] > night(12)]:
        history.archives.remove(record)
    history.jobs = [each for each in history.jobs if each["vmid"] != 110 or each["ended_at"] < night(12)]
    history.damage(50, "the content of drive-scsi0 is not as it was published: 1 region is damaged",
                   [{"disk": "drive-scsi0", "offset": 12 * GIB + 6 * MIB, "bytes": 2 * MIB, "partition": "2 (ext4)"}])
    history.fail(106, "", "usb", "cannot write to /mnt/pve/usb/dump: Input/output error")
    history.fail(106, "", "usb", "cannot write to /mnt/pve/usb/dump: Input/output error")
    return history


def hostile_history():
    history = History(4)
    for vmid in (100, 999_999_999):
        history.add_guest(vmid, NASTY, "s" * 60, 12, 1 << 50, 1)
    history.fail(100, NASTY, NASTY.replace("/", "|").replace("\0", ""), NASTY * 5)
    history.fail(100, "x", "local", "reason", path="/d/" + "\u00fc" * 100 + "<b>.vma")
    history.damage(3, NASTY * 3, [{"disk": NASTY, "offset": 2 ** 62, "bytes": 2 ** 62, "partition": NASTY}])
    return history


def large_history():
    history = History(5)
    for number in range(300):
        history.add_guest(100 + number, f"guest-{number}", ("local", "nas", "ceph")[number % 3], 9, GIB << number % 6)
    return history


class Page(HTMLParser):
    """What of a page was written by vmad, and what it shows."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.attributes = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


class HistoryTest(QueueCommandTest):
    def setUp(self):
        super().setUp()
        self.history = History()
        self.daemon(lambda call: self.history.answer(call))

    def report(self, history, *arguments, **options):
        self.history = history
        return self.succeed("report", *arguments, **options)


class MadeUpReport(HistoryTest):

    def test_fits_80_columns_whoever_the_guests_are(self):
        for history in (History(), small_history(), office_history(), hostile_history(), large_history()):
            for arguments in ((), ("--all",), ("--since", "1d"), ("--since", "400d")):
                for locale in ("C.UTF-8", "C"):
                    self.environment["LC_ALL"] = locale
                    text = self.report(history, *arguments)
                    self.assert_fits(re.sub(r"\n    /.*", "", text))
                    self.assertNotIn("\x1b", text)
                    self.assertTrue(locale != "C" or text.isascii())

    def test_the_json_adds_up(self):
        history = office_history()
        [report] = map(json.loads, self.report(history, "--json", "--since", "30d").splitlines())
        for key in ("backups", "bytes", "compared_backups", "compared_bytes", "new_bytes"):
            for parts in ("slots", "guests", "storages"):
                self.assertEqual(report[key], sum(part[key] for part in report[parts]), (key, parts))
        self.assertEqual(report["archives"], len(history.archives))
        self.assertEqual([damage["path"] for damage in report["damages"]], [history.archives[50]["path"]])
        self.assertEqual([(failure["vmid"], failure["jobs"]) for failure in report["failures"]], [(106, 2)])

    def test_many_guests_are_a_page_and_all_of_them_when_asked_for(self):
        text = self.report(large_history())
        self.assertLess(len(text.splitlines()), 70)
        self.assertIn("and 280 more with ", text)
        self.assertEqual(len(re.findall(r"^ +\d+  guest-\d+", self.report(large_history(), "--all"), re.M)), 300)

    def test_a_page_is_replaced_as_a_whole_and_keeps_its_mode(self):
        file = self.dir / "report.html"
        self.assertEqual(self.report(small_history(), "--html", file), "")
        self.assertEqual(file.stat().st_mode & 0o777, 0o644)
        first = file.stat().st_ino
        file.chmod(0o600)
        self.report(small_history(), "--html", file)
        self.assertNotEqual(file.stat().st_ino, first)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.names(), ["report.html", "socket"])
        self.assertTrue(file.read_text().endswith("</html>\n"))
        self.assertEqual(self.report(small_history(), "--html", "-")[:15], "<!DOCTYPE html>")

    def test_what_is_no_file_is_refused(self):
        (self.dir / "directory").mkdir()
        for words, message in ((("--html", "/dev/null"), "/dev/null exists and is not a regular file"),
                               (("--html", "directory"), "directory exists and is not a regular file"),
                               (("--html", "directory/."), "directory/. does not name a file"),
                               (("--since", "x"), 'invalid time "x": use 2026-01-31, "2026-01-31 12:00", or an age such as 7d')):
            self.assertEqual(self.refuse(2, "report", *words, cwd=self.dir), message)
        self.assertIn("cannot be combined", self.vmactl("--json", "report", "--html", "-").stderr)

    def test_a_page_holds_no_markup_but_ours(self):
        ours = Page(self.report(office_history(), "--html", "-"))
        page = self.report(hostile_history(), "--html", "-")
        theirs = Page(page)
        self.assertTrue(page.isascii())
        self.assertLess(max(map(len, page.splitlines())), 998)
        self.assertLessEqual(set(theirs.tags), set(ours.tags))
        self.assertLessEqual({name for name, _ in theirs.attributes}, {name for name, _ in ours.attributes})
        self.assertNotIn("script", theirs.tags)
        self.assertIn("<script>alert(1)</script>\" onload='x'", theirs.text)
        self.assertIn("\u00fc\U0001f600", theirs.text)
        self.assertNotIn("\x1b", theirs.text)


    def test_the_recipe_mails_the_page(self):
        recipe = re.search(r"vmad-report`:\n\n((?:    .*\n|\n)+)", (SOURCE / "README.md").read_text())[1]
        script = self.dir / "vmad-report"
        sent = self.dir / "sent"
        bin_directory = self.dir / "bin"
        bin_directory.mkdir()
        (bin_directory / "vmactl").symlink_to(VMACTL)
        sendmail = bin_directory / "sendmail"
        sendmail.write_text(f'#!/bin/sh\nexec cat >"{sent}"\n')
        script.write_text(textwrap.dedent(recipe).replace("/usr/sbin/sendmail", str(sendmail)))
        for file in (script, sendmail):
            file.chmod(0o755)
        self.history = hostile_history()
        environment = {**self.environment, "PATH": f"{bin_directory}:{self.environment['PATH']}"}
        subprocess.run([script], env=environment, check=True, timeout=HANG_SECONDS)
        message = email.message_from_bytes(sent.read_bytes(), policy=email.policy.default)
        self.assertEqual((message["To"], message.get_content_type(), message.defects), ("root", "text/html", []))
        self.assertEqual(Page(message.get_content()).text.strip(), Page(self.report(self.history, "--html", "-")).text.strip())
        # Nothing is sent when there is no report.
        sent.unlink()
        environment["VMAD_SOCKET"] = "/none"
        self.assertNotEqual(subprocess.run([script], env=environment, stderr=subprocess.DEVNULL, timeout=HANG_SECONDS).returncode, 0)
        self.assertFalse(sent.exists())


@unittest.skipUnless(chromium.PROGRAM, "chromium is not installed")
class PageInChromium(HistoryTest):
    HISTORIES = {"empty": History, "one": small_history, "office": office_history, "hostile": hostile_history,
                 "large": large_history}

    def test_pages_are_quiet_and_fit_phone_and_desk(self):
        with chromium.Chromium() as browser:
            for name, make in self.HISTORIES.items():
                file = self.dir / f"{name}.html"
                self.report(make(), "--since", "30d" if name == "office" else "7d", "--html", file)
                for width in (320, 800):
                    for dark in (False, True):
                        with self.subTest(name, width=width, dark=dark):
                            self.look(browser, file, width, dark)
                with self.subTest(name, medium="paper"):
                    self.look_at_paper(browser)

    def look_at_paper(self, browser):
        """The page that was looked at in the dark, as it is printed on A4."""
        browser.set_width(718)
        browser.call("Emulation.setEmulatedMedia", media="print")
        self.assertEqual(browser.evaluate("document.documentElement.scrollWidth"), 718)
        self.assertEqual(browser.evaluate("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
        cells = "[...document.querySelectorAll('td')].filter(e => getComputedStyle(e).display != 'table-cell').length"
        self.assertEqual(browser.evaluate(cells), 0)

    def look(self, browser, file, width, dark):
        browser.open(file.as_uri(), width, dark=dark)
        if SHOTS:
            shot = f"report-{file.stem}-{width}-{'dark' if dark else 'light'}.png"
            browser.screenshot(pathlib.Path(SHOTS) / shot)
        self.assertEqual(browser.requests(), [file.as_uri()])
        self.assertEqual(browser.messages(), [])
        beyond = """[...document.querySelectorAll('body *')].filter(e => !e.closest('thead') &&
            (e.getBoundingClientRect().right > WIDTH + 1 || e.getBoundingClientRect().left < -1))
            .map(e => e.outerHTML).slice(0, 5)"""
        self.assertEqual(browser.evaluate(beyond.replace("WIDTH", str(width))), [])
        self.assertEqual(browser.evaluate("document.documentElement.scrollWidth"), width)
        background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        self.assertEqual(max(map(int, re.findall(r"\d+", background))) < 64, dark)
        # Each plot has a name for those who do not see it.
        unnamed = "document.querySelectorAll('svg:not([role=img]), svg:not([aria-label])').length"
        self.assertEqual(browser.evaluate(unnamed), 0)


class ReportOfADaemon(DaemonTest):
    """Real repacks, an archive that is none, and one that rots."""

    def backup(self, vmid, days_ago, *changes):
        stamp = time.strftime("%Y_%m_%d-02_00_00", time.localtime(time.time() - days_ago * DAY))
        return generate(self.dump / f"vzdump-qemu-{vmid}-{stamp}.vma", "--disk", "drive-scsi0=24M",
                        "--dump-seed", str(days_ago), *changes)

    def report(self, *arguments):
        code, output, messages = self.vmactl("--json", "report", *arguments)
        self.assertEqual((code, messages), (0, ""))
        return json.loads(output)

    def test_what_was_repacked_is_reported(self):
        daemon = self.start()
        paths = [self.backup(100, days_ago, "--change", str(8 * (4 - days_ago))) for days_ago in (3, 2, 1)]
        paths.append(self.backup(101, 1))
        jobs = [daemon.wait(daemon.add(path)) for path in paths]
        self.assertEqual([each["state"] for each in jobs], ["done"] * 4)
        report = self.report()
        self.assertEqual((report["backups"], report["compared_backups"]), (4, 2))
        self.assertEqual(report["bytes"], sum(path.stat().st_size for path in paths))
        self.assertEqual(report["new_bytes"], sum(each["since"]["new_bytes"] for each in jobs if "since" in each))
        self.assertEqual((report["archives"], report["archive_bytes"], report["unverified"]), (4, report["bytes"], 0))
        self.assertEqual([guest["vmid"] for guest in report["guests"]], [100, 101])
        self.assertEqual({storage["storage"] for storage in report["storages"]}, {str(self.dump)})
        growth, = report["growths"]
        self.assertIn(growth["path"], map(str, paths[1:3]))
        self.assertEqual(growth["since"], jobs[paths.index(pathlib.Path(growth["path"]))]["since"])

        broken = self.backup(102, 1)
        os.truncate(broken, 100_000)
        rotten = paths[0]
        data = bytearray(rotten.read_bytes())
        data[len(data) // 2] ^= 1
        status = rotten.stat()
        rotten.write_bytes(data)
        os.utime(rotten, ns=(status.st_atime_ns, status.st_mtime_ns))
        with daemon.client() as client:
            look = client.call("org.vmad.Queue.Enqueue", path=str(rotten), kind="verify")["job"]["id"]
        for number in (daemon.add(broken), look):
            self.assertEqual(daemon.wait(number)["state"], "failed")
        report = self.report()
        self.assertEqual([damage["path"] for damage in report["damages"]], [str(broken), str(rotten)])
        place, = report["damages"][1]["places"]
        self.assertEqual(place["disk"], "drive-scsi0")
        self.assertEqual(report["failures"], [])
        code, text, _ = self.vmactl("report")
        self.assertEqual(code, 0)
        for line in ("backups   4 of 2 guests, ", "failed    none\n", "damaged   2 archives\n"):
            self.assertIn(line, text)


if __name__ == "__main__":
    unittest.main()
