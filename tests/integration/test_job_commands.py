"""on_success and on_failure: the administrator's commands for jobs that ended, well-behaved and other ones."""

import json
import os
import signal
import unittest

from daemon_process import DaemonTest, needs_root, state_of, wait_until
from run_directory import with_run

# Stands for systemd-run: keeps its arguments, and runs the command as the service manager would.
FAKE_SYSTEMD_RUN = """#!/bin/sh
printf '%s\\0' "$@" > "$(dirname "$0")/arguments"
while [ "$1" != -- ]; do
    case $1 in --setenv=*) export "${1#--setenv=}";; esac
    shift
done
shift
exec "$@"
"""


class JobCommandTest(DaemonTest):
    def script(self, name, *lines):
        path = self.dir / name
        path.write_text("\n".join(("#!/bin/sh", *lines, "")))
        path.chmod(0o755)
        return str(path)

    def damaged(self, name="damaged.vma"):
        path = self.dump / name
        path.write_bytes(b"text")
        return path

    def start_with(self, **settings):
        self.write_settings(**settings)
        return self.start()

    def when_there(self, name):
        """What a script has written to a file in one piece."""
        path = self.dir / name
        wait_until(path.exists, f"{name} is written")
        return path.read_text()

    def assert_told(self, daemon, *lines):
        """All that the log says about commands, once it says all."""
        def told():
            return [line for line in daemon.log.read_text().splitlines() if str(self.dir / "command") in line
                    and "queued" not in line]
        wait_until(lambda: len(told()) >= len(lines), f"the log says {lines}")
        self.assertEqual(told(), list(lines))

    def test_the_job_comes_as_json(self):
        save = ('cat > "$1/new"', 'mv "$1/new" "$1/$2-$VMAD_JOB"')
        script = self.script("command", *save)
        daemon = self.start_with(on_success=[script, str(self.dir), "success"],
                                 on_failure=[script, str(self.dir), "failure"])
        archive = self.archive()
        for path, kind, state in ((archive.path, "success", "done"), (archive.path, "success", "unchanged"),
                                  (self.damaged(), "failure", "failed")):
            with self.subTest(state):
                job = daemon.wait(daemon.add(path))
                self.assertEqual(job["state"], state)
                self.assertEqual(json.loads(self.when_there(f"{kind}-{job['id']}")), job)
        gone = daemon.wait(daemon.add(self.dump / "gone.vma"))["id"]
        last = daemon.wait(daemon.add(self.damaged()))["id"]
        self.when_there(f"failure-{last}")
        self.assertFalse((self.dir / f"success-{gone}").exists() or (self.dir / f"failure-{gone}").exists())
        self.assert_told(daemon)

    def test_environment_and_place(self):
        script = self.script("command", 'pwd > "$1/new"; env | sort >> "$1/new"', 'mv "$1/new" "$1/seen"')
        daemon = self.start_with(on_success=[script, str(self.dir)])
        archive = self.archive()
        with daemon.client() as client:
            client.call("org.vmad.Queue.Enqueue", path=str(archive.path), announced=True, storage="nas")
        directory, *variables = self.when_there("seen").splitlines()
        self.assertEqual(directory, "/")
        names = {line.split("=")[0] for line in variables}
        self.assertEqual(names - {"PWD", "OLDPWD", "SHLVL", "_"},
                         {"PATH", "LANG", "VMAD_JOB", "VMAD_KIND", "VMAD_STATE", "VMAD_ARCHIVE", "VMAD_VMID",
                          "VMAD_STORAGE", "VMAD_GUEST"})
        for line in ("VMAD_JOB=1", "VMAD_KIND=repack", "VMAD_STATE=done", f"VMAD_ARCHIVE={archive.path}", "VMAD_VMID=100",
                     "VMAD_STORAGE=nas", "VMAD_GUEST=made-up"):
            self.assertIn(line, variables)

    def test_failures_are_logged_and_the_job_stays_as_it_is(self):
        script = self.script("command", "echo what is wrong >&2; exit 3")
        missing = str(self.dir / "command-that-is-not-there")
        daemon = self.start_with(on_success=[missing], on_failure=[script])
        archive = self.archive()
        done = daemon.add(archive.path)
        self.assertEqual(daemon.wait(done)["state"], "done")
        failed = daemon.add(self.damaged())
        daemon.wait(failed)
        self.assert_told(daemon, f"warning: job {done}: {missing}: start {missing}: No such file or directory",
                         f"info: job {failed}: {script}: what is wrong",
                         f"warning: job {failed}: {script}: exit code 3")
        self.assertEqual(daemon.job(done)["state"], "done")
        self.assertEqual(daemon.job(failed)["state"], "failed")
        self.assertTrue(archive.content() == archive.new)

    def test_a_command_that_hangs_is_killed(self):
        script = self.script("command", 'echo $$ > "$1/new"; mv "$1/new" "$1/pid"', "trap '' TERM",
                             "while :; do sleep 1; done")
        daemon = self.start_with(on_failure=[script, str(self.dir)], command_timeout="1s")
        job = daemon.add(self.damaged())
        pid = int(self.when_there("pid"))
        # Nothing else waits for it.
        archive = self.archive()
        self.assertEqual(daemon.wait(daemon.add(archive.path))["state"], "done")
        self.assert_told(daemon, f"warning: job {job}: {script}: killed: it did not end within 1s")
        self.assertIn(state_of(pid), (None, "Z"))

    def test_a_flood_of_output_is_bounded(self):
        script = self.script("command", "head -c 10000000 /dev/zero | tr '\\0' x; echo",
                             "yes a line | head -c 10000000", "exit 4")
        daemon = self.start_with(on_failure=[script])
        job = daemon.add(self.damaged())
        wait_until(lambda: "exit code 4" in daemon.log.read_text(), "the command has ended")
        lines = [line for line in daemon.log.read_text().splitlines() if f"{script}: " in line]
        self.assertEqual(lines[0], f"info: job {job}: {script}: {'x' * 1024}…")
        self.assertEqual(lines[1:100], [f"info: job {job}: {script}: a line"] * 99)
        self.assertEqual(lines[100:], [f"info: job {job}: {script}: (further output is not logged)",
                                       f"warning: job {job}: {script}: exit code 4"])

    def test_children_in_the_background_do_not_hold_up_the_daemon(self):
        script = self.script("command", 'setsid sleep 1000 & echo $! > "$1/new"; mv "$1/new" "$1/pid-$VMAD_JOB"')
        daemon = self.start_with(on_failure=[script, str(self.dir)], command_timeout="1s")
        pids = []
        try:
            for name in ("one.vma", "two.vma"):
                job = daemon.wait(daemon.add(self.damaged(name)))["id"]
                pids.append(int(self.when_there(f"pid-{job}")))
            self.assertEqual(daemon.stop(), 0)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

    def test_commands_run_in_order_and_one_at_a_time(self):
        script = self.script("command", 'mkdir "$1/running" || exit 1', "sleep 0.1",
                             'echo "$VMAD_JOB" >> "$1/order"', 'rmdir "$1/running"')
        daemon = self.start_with(on_success=[script, str(self.dir)], on_failure=[script, str(self.dir)])
        archive = self.archive()
        jobs = [daemon.wait(daemon.add(path))["id"]
                for path in (archive.path, self.damaged("1.vma"), archive.path, self.damaged("2.vma"))]
        order = self.dir / "order"
        wait_until(lambda: order.exists() and order.read_text().count("\n") == len(jobs), "all commands have run")
        self.assertEqual([int(line) for line in order.read_text().split()], jobs)
        self.assert_told(daemon)

    def test_stopping_ends_a_command(self):
        script = self.script("command", 'echo $$ > "$1/new"; mv "$1/new" "$1/pid"', "trap '' TERM",
                             "while :; do sleep 1; done")
        daemon = self.start_with(on_failure=[script, str(self.dir)])
        daemon.add(self.damaged())
        pid = int(self.when_there("pid"))
        self.assertEqual(daemon.stop(), 0)
        wait_until(lambda: state_of(pid) in (None, "Z"), "the command is gone")


@needs_root
class ServiceCommandTest(JobCommandTest):
    """As under systemd: where systemd runs and the daemon is a service of it, as its environment says."""

    def start_with(self, **settings):
        self.write_settings(**settings)
        self.bin = self.dir / "bin"
        self.bin.mkdir()
        self.script("bin/systemd-run", FAKE_SYSTEMD_RUN.split("\n", 1)[1])
        return self.start(wrapper=with_run("mkdir -p /run/systemd/system"),
                          environment={"INVOCATION_ID": "0" * 32, "PATH": f"{self.bin}:{os.environ['PATH']}"})

    def arguments(self):
        return (self.bin / "arguments").read_text().split("\0")[:-1]

    def test_the_unit(self):
        script = self.script("command", 'cat > "$1/new"; mv "$1/new" "$1/seen"')
        daemon = self.start_with(on_success=[script, str(self.dir), "$HOME costs $5", "--quiet"],
                                 command_timeout="2min")
        archive = self.archive()
        job = daemon.wait(daemon.add(archive.path))
        self.assertEqual(json.loads(self.when_there("seen")), job)
        self.assertEqual(self.arguments(), [
            "--quiet", "--collect", "--pipe", "--wait", "--service-type=exec", "--property=ExitType=cgroup",
            "--property=RuntimeMaxSec=120", "--property=TimeoutStopSec=5",
            f"--description=vmad: {script} for job 1",
            "--setenv=VMAD_JOB=1", "--setenv=VMAD_KIND=repack", "--setenv=VMAD_STATE=done", f"--setenv=VMAD_ARCHIVE={archive.path}",
            "--setenv=VMAD_VMID=100", "--setenv=VMAD_GUEST=made-up", "--", script, str(self.dir), "$$HOME costs $$5", "--quiet"])
        self.assert_told(daemon)

    def test_a_unit_that_hangs_is_ended_by_the_service_manager(self):
        # The stand-in for systemd-run ends late and with a failure, as the real one does then.
        script = self.script("command", "sleep 1.1; exit 1")
        daemon = self.start_with(on_failure=[script], command_timeout="1s")
        job = daemon.add(self.damaged())
        self.assert_told(daemon, f"warning: job {job}: {script}: killed: it did not end within 1s")

    # That is for the service manager here.
    test_a_command_that_hangs_is_killed = None
    test_children_in_the_background_do_not_hold_up_the_daemon = None
    # What cannot be started fails in the unit.
    test_failures_are_logged_and_the_job_stays_as_it_is = None


if __name__ == "__main__":
    unittest.main()
