"""The program that tells of failed jobs, with stand-ins for both forms of PVE::Notify and for sendmail.

Run as: VMAD_BUILD=builddir python3 test_notify.py
"""

import email
import email.policy
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import tempfile
import unittest

from daemon_process import PATIENCE, DaemonTest, wait_until
from support import SOURCE, VMACTL

NOTIFY = SOURCE / "src/daemon/notify/notify"

# What each has in common with the real one: the names and the order of the arguments, and that the values of fields
# are texts. It writes what it got to a file.
STAND_IN = """
package PVE::Notify;
use JSON::PP;
sub record {
    my ($told) = @_;
    for my $field (values %{$told->{fields}}) { die "a field is no text\\n" if ref($field) || !defined($field); }
    open(my $file, '>>', $ENV{TOLD}) or die "$!";
    print {$file} JSON::PP->new->utf8->canonical->encode($told), "\\n";
}
"""
# Proxmox VE 8.1: templates of title and body.
STAND_IN_8_1 = STAND_IN + """
sub notify {
    my ($severity, $title, $message, $data, $fields, $config) = @_;
    die "the message is no text\\n" if ref($message);
    record({severity => $severity, title => $title, message => $message, data => $data, fields => $fields});
}
1;
"""
# Later: the name of files of templates.
STAND_IN_8_2 = STAND_IN + """
sub common_template_data { return {hostname => 'node', fqdn => 'node.example.com', 'cluster-name' => 'cluster'}; }
sub notify {
    my ($severity, $template, $data, $fields, $config) = @_;
    die "the data are no hash\\n" if ref($data) ne 'HASH';
    record({severity => $severity, template => $template, data => $data, fields => $fields});
}
1;
"""
SENDMAIL = """#!/bin/sh
printf '%s\\n' "$@" >"$TOLD.arguments"
cat >"$TOLD.mail"
"""


def full_name():
    """Of this machine, as the program takes it where Proxmox does not say it."""
    host = os.uname().nodename
    try:
        return socket.gethostbyname_ex(host)[0]
    except OSError:
        return host


class Node:
    """The programs and modules of a node, below a directory."""

    def __init__(self, directory):
        self.root = directory
        self.told = directory / "told"
        self.programs = directory / "bin"
        self.programs.mkdir(parents=True)
        self.put("bin/vmactl", "#!/bin/sh\necho \"what vmactl $* says\"\n", executable=True)

    def put(self, name, content, executable=False):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if executable:
            path.chmod(0o755)
        return path

    def be_proxmox(self, module):
        self.put("perl/PVE/Notify.pm", module)
        if module == STAND_IN_8_2:
            self.put("usr/share/pve-manager/templates/default/vzdump-subject.txt.hbs", "")

    def environment(self):
        return {"PATH": f"{self.programs}:{os.environ['PATH']}", "PERL5LIB": str(self.root / "perl"),
                "VMAD_ROOT": str(self.root), "TOLD": str(self.told), "LC_ALL": "C.UTF-8"}

    def run(self, *arguments, **variables):
        return subprocess.run([NOTIFY, *arguments], env={**self.environment(), **variables}, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)

    def notifications(self):
        return [json.loads(line) for line in self.told.read_text().splitlines()] if self.told.exists() else []

    def mail(self):
        return email.message_from_bytes(pathlib.Path(f"{self.told}.mail").read_bytes(), policy=email.policy.default)


JOB = {"VMAD_JOB": "17", "VMAD_STATE": "failed", "VMAD_KIND": "verify", "VMAD_DAMAGED": "1", "VMAD_VMID": "100",
       "VMAD_GUEST": "web", "VMAD_STORAGE": "local",
       "VMAD_ARCHIVE": "/var/lib/vz/dump/vzdump-qemu-100-2026_01_01-02_00_00.vma.zst"}
TITLE = "the backup of VM 100 (web) is damaged"
MESSAGE = "The backup of VM 100 (web) is damaged.\n\nwhat vmactl show 17 says\n"


class NotifyTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.node = Node(pathlib.Path(directory.name))

    def run_program(self, *arguments, code=0, messages="", **variables):
        result = self.node.run(*arguments, **variables)
        self.assertEqual((result.returncode, result.stdout), (code, ""), result.stderr)
        self.assertRegex(result.stderr, f"^{messages}$")

    def test_by_templates_in_files(self):
        self.node.be_proxmox(STAND_IN_8_2)
        self.run_program(**JOB)
        (told,) = self.node.notifications()
        self.assertEqual((told["severity"], told["template"]), ("error", "vmad"))
        hostname = os.uname().nodename.split(".")[0]
        self.assertEqual(told["fields"], {"type": "vmad", "hostname": hostname, "job-id": "17", "vmid": "100",
                                          "storage": "local"})
        self.assertEqual(told["data"], {
            "hostname": hostname, "fqdn": "node.example.com", "cluster-name": "cluster", "severity": "error",
            "title": TITLE, "message": MESSAGE, "job": "17", "kind": "verify", "state": "failed", "vmid": "100",
            "guest": "web", "storage": "local", "archive": JOB["VMAD_ARCHIVE"]})

    def test_by_templates_as_texts(self):
        self.node.be_proxmox(STAND_IN_8_1)
        self.run_program(**JOB)
        (told,) = self.node.notifications()
        self.assertEqual((told["severity"], told["title"], told["message"]),
                         ("error", "vmad ({{fqdn}}): {{title}}", "{{verbatim-monospaced message}}"))
        self.assertEqual((told["data"]["fqdn"], told["data"]["title"], told["data"]["message"]),
                         (full_name(), TITLE, MESSAGE))
        self.assertEqual(told["fields"]["type"], "vmad")

    def test_the_templates_name_what_there_is(self):
        self.node.be_proxmox(STAND_IN_8_2)
        self.run_program(**JOB)
        data = self.node.notifications()[0]["data"]
        for name in ("subject.txt", "body.txt", "body.html"):
            template = (NOTIFY.parent / f"vmad-{name}.hbs").read_text()
            for variable in re.findall(r"{{(.*?)}}", template):
                self.assertIn(variable, data, name)

    def test_titles_and_severities(self):
        self.node.be_proxmox(STAND_IN_8_2)
        without = {"VMAD_DAMAGED": "", "VMAD_GUEST": ""}
        for variables, severity, title in (
                ({"VMAD_KIND": "repack"}, "error", TITLE),
                ({**without, "VMAD_KIND": "repack"}, "warning", "the backup of VM 100 could not be repacked"),
                (without, "warning", "the backup of VM 100 could not be verified"),
                ({**without, "VMAD_VMID": "", "VMAD_ARCHIVE": "/x/old.vma"}, "warning",
                 "the backup old.vma could not be verified"),
                ({"VMAD_GUEST": "wéb\n\x1b[31m"}, "error", "the backup of VM 100 (wéb??[31m) is damaged"),
                ({"VMAD_GUEST": b"\xff{{x}}"}, "error", "the backup of VM 100 (?{{x}}) is damaged")):
            self.run_program(**{**JOB, **variables})
            told = self.node.notifications()[-1]
            self.assertEqual((told["severity"], told["data"]["title"]), (severity, title))

    def test_mail_where_there_is_no_proxmox(self):
        self.node.put("bin/sendmail", SENDMAIL, executable=True)
        self.run_program(**JOB)
        mail = self.node.mail()
        self.assertEqual((mail["To"], mail["Subject"], mail["Importance"]),
                         ("root", f"vmad ({full_name()}): {TITLE}", "high"))
        self.assertEqual(mail.get_content(), MESSAGE)
        self.assertEqual(pathlib.Path(f"{self.node.told}.arguments").read_text().split(), ["-t", "-oi"])

    def test_mail_about_any_name(self):
        self.node.put("bin/sendmail", SENDMAIL, executable=True)
        for guest in ("wéb", "über" * 30, "a\nBcc: nobody", "=?UTF-8?Q?x?=", "日本語" * 20):
            self.run_program(**{**JOB, "VMAD_GUEST": guest})
            mail = self.node.mail()
            self.assertEqual(mail["Subject"].replace("\n", ""), f"vmad ({full_name()}): " +
                             TITLE.replace("web", guest.replace("\n", "?")))
            self.assertIsNone(mail["Bcc"])
            self.assertIn(guest.replace("\n", "?"), mail.get_content())
            for line in pathlib.Path(f"{self.node.told}.mail").read_text().split("\n\n")[0].splitlines():
                self.assertLess(len(line), 200)

    def test_mail_where_proxmox_fails(self):
        self.node.put("bin/sendmail", SENDMAIL, executable=True)
        for module, fault in (("package PVE::Notify; sub notify { die qq(no quorum\\n) } 1;", "no quorum"),
                              ("package PVE::Notify; use PVE::None; 1;", "Can't locate PVE/None.pm in .*"),
                              ("package PVE::Notify; 1;", "Undefined subroutine &PVE::Notify::notify called .*")):
            with self.subTest(module):
                self.node.be_proxmox(module)
                self.run_program(messages=rf"PVE::Notify: {fault}(?:\n.*)*; sending mail to root\n", **JOB)
                self.assertEqual(self.node.mail().get_content(), MESSAGE)
                pathlib.Path(f"{self.node.told}.mail").unlink()

    def test_neither(self):
        self.run_program(code=1, messages="sendmail: No such file or directory\n", PATH=f"{self.node.programs}:/bin",
                         **JOB)
        self.node.put("bin/sendmail", "#!/bin/sh\nexit 75\n", executable=True)
        self.run_program(code=1, messages="sendmail: exit code 75\n", **JOB)

    def test_without_vmactl(self):
        self.node.be_proxmox(STAND_IN_8_2)
        self.node.put("bin/vmactl", "#!/bin/sh\necho half; exit 3\n", executable=True)
        self.run_program(**JOB)
        self.assertEqual(self.node.notifications()[0]["data"]["message"],
                         f"The backup of VM 100 (web) is damaged.\n\n{JOB['VMAD_ARCHIVE']}\n"
                         "See \"vmactl show 17\".\n")

    def test_a_test(self):
        self.node.be_proxmox(STAND_IN_8_2)
        self.run_program("--test")
        (told,) = self.node.notifications()
        self.assertEqual((told["severity"], told["data"]["title"]), ("info", "test"))


class DaemonNotifyTest(DaemonTest):
    """What the daemon tells of."""

    def damaged(self, name):
        path = self.dump / name
        path.write_bytes(b"text")
        return path

    def test_failed_jobs(self):
        node = Node(self.dir / "node")
        node.be_proxmox(STAND_IN_8_2)
        # The daemon gives its commands an environment of their own.
        variables = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in node.environment().items())
        node.put("bin/vmactl", f"#!/bin/sh\nexec {VMACTL} --socket {self.socket} \"$@\"\n", executable=True)
        node.put("usr/lib/vmad/notify", f"#!/bin/sh\n{variables}exec {NOTIFY}\n", executable=True)
        self.write_settings(notify="proxmox")
        daemon = self.start(environment={"VMAD_ROOT": str(node.root)})
        self.assertEqual(daemon.wait(daemon.add(self.archive().path))["state"], "done")
        job = daemon.wait(daemon.add(self.damaged("vzdump-qemu-104-2026_01_01-02_00_00.vma")))
        wait_until(node.notifications, "a failure is told of")
        (told,) = node.notifications()
        self.assertEqual((told["severity"], told["data"]["title"]), ("error", "the backup of VM 104 is damaged"))
        self.assertEqual((told["fields"]["vmid"], told["fields"]["job-id"]), ("104", str(job["id"])))
        first, shown = told["data"]["message"].split("\n\n", 1)
        self.assertEqual(first, "The backup of VM 104 is damaged.")
        # Not how long ago it was.
        self.assertEqual(*(re.sub(r"(now|\d+ s ago), .*", "", text)
                           for text in (shown, self.vmactl("show", str(job["id"]))[1])))

        # A damaged one that is only looked at.
        archive = self.archive(vmid=103)
        daemon.wait(daemon.add(archive.path))
        with open(archive.path, "r+b") as file:
            file.truncate(len(archive.new) - 1)
        with daemon.client() as client:
            verification = client.call("org.vmad.Queue.Enqueue", path=str(archive.path), announced=True,
                                       kind="verify")["job"]
        self.assertEqual(daemon.wait(verification["id"])["state"], "failed")
        wait_until(lambda: len(node.notifications()) > 1, "the damage is told of")
        told = node.notifications()[1]
        self.assertEqual((told["severity"], told["data"]["title"], told["data"]["kind"]),
                         ("error", "the backup of VM 103 (made-up) is damaged", "verify"))

        # Not any more.
        self.write_settings()
        with daemon.client() as client:
            client.call("org.vmad.Queue.Reload")
        daemon.wait(daemon.add(self.damaged("vzdump-qemu-105-2026_01_01-02_00_00.vma")))
        self.write_settings(notify="proxmox")
        with daemon.client() as client:
            client.call("org.vmad.Queue.Reload")
        daemon.wait(daemon.add(self.damaged("vzdump-qemu-106-2026_01_01-02_00_00.vma")))
        wait_until(lambda: len(node.notifications()) > 2, "the next failure is told of")
        self.assertEqual([told["fields"]["vmid"] for told in node.notifications()], ["104", "103", "106"])

    def test_a_node_that_cannot(self):
        node = Node(self.dir / "node")
        self.write_settings(notify="proxmox")
        daemon = self.start(environment={"VMAD_ROOT": str(node.root)})
        daemon.wait(daemon.add(self.damaged("x.vma")))
        program = node.root / "usr/lib/vmad/notify"
        wait_until(lambda: f"{program}: start {program}: No such file or directory" in daemon.log.read_text(),
                   "it is logged")


if __name__ == "__main__":
    unittest.main()
