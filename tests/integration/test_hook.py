"""The hook as vzdump calls it: with a daemon, without one, with one that hangs, and when it has no business."""

import concurrent.futures
import hashlib
import os
import signal
import subprocess
import time
import unittest

import sentences
from daemon_process import NOBODY, WITHOUT_OVERRIDE, DaemonTest, digest_of, needs_root, needs_strace, wait_until
from support import VMACTL, generate


class HookTest(DaemonTest):
    def incoming(self):
        directory = self.state / "incoming"
        return list(directory.iterdir()) if directory.exists() else []

    def test_archive_becomes_canonical_and_stays_what_it_was(self):
        archive = self.archive()
        path = archive.path
        path.chmod(0o640)
        os.setxattr(path, "user.comment", b"kept")
        os.utime(path, ns=(0, 1_700_000_000_123_456_789))
        if os.geteuid() == 0:
            os.chown(path, 1000, 1001)
        before = path.stat()
        disk = self.extract(path, "before")
        daemon = self.start()
        self.assertEqual(self.run_hook(path), (0, "vmad: queued as job 1\n"))
        self.assertEqual(self.vmactl("wait", "--timeout", "60")[0], 0)
        self.assertEqual((daemon.job(1)["state"], daemon.job(1)["announced"]), ("done", True))
        self.assert_canonical(archive)
        after = path.stat()
        for field in ("st_mode", "st_uid", "st_gid", "st_mtime_ns", "st_nlink"):
            self.assertEqual(getattr(after, field), getattr(before, field), field)
        self.assertEqual(os.getxattr(path, "user.comment"), b"kept")
        self.assertEqual(self.extract(path, "after"), disk)

    def extract(self, path, name):
        directory = self.dir / name
        subprocess.run([VMACTL, "extract", path, directory], check=True, stdout=subprocess.DEVNULL, timeout=60)
        return {entry.name: entry.read_bytes() for entry in directory.iterdir()}

    def test_same_size_gives_a_later_modification_time(self):
        archive = self.archive()
        # Canonical but for a reserved byte of the header, so that only bytes change, not their number.
        header_size = int.from_bytes(archive.new[56:60], "big")
        header = bytearray(archive.new[:header_size])
        header[100] = 1
        header[32:48] = bytes(16)
        header[32:48] = hashlib.md5(header).digest()
        archive.path.write_bytes(header + archive.new[header_size:])
        before = archive.path.stat()
        daemon = self.start()
        self.run_hook(archive.path)
        self.assertEqual(daemon.wait(1)["state"], "done")
        self.assert_canonical(archive)
        # Or rsync would take the two for the same.
        self.assertEqual(archive.path.stat().st_mtime_ns, before.st_mtime_ns + 10**9)

    def test_canonical_archive_is_not_touched(self):
        archive = self.archive()
        archive.path.write_bytes(archive.new)
        before = archive.path.stat()
        daemon = self.start()
        self.run_hook(archive.path)
        self.assertEqual(daemon.wait(1)["state"], "unchanged")
        self.assert_canonical(archive)
        after = archive.path.stat()
        self.assertEqual((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns))

    def test_what_is_not_its_business(self):
        archive = self.archive()
        daemon = self.start()
        rows = [({"VMTYPE": "lxc"}, ()),
                ({"TARGET": "vm/100/2026-01-01T00:00:00Z"}, ()),
                ({"TARGET": "-"}, ()),
                ({"TARGET": ""}, ()),
                ({"TARGET": str(self.dump)}, ()),
                ({"TARGET": str(self.dump / "missing.vma")}, ())]
        for phase in ("job-init", "job-start", "job-end", "job-abort"):
            rows.append(({}, (phase,)))
        for phase in ("backup-start", "pre-stop", "pre-restart", "post-restart", "backup-abort", "log-end",
                      "a-phase-of-tomorrow"):
            rows.append(({}, (phase, "snapshot", "100")))
        for environment, arguments in rows:
            with self.subTest(environment=environment, arguments=arguments):
                self.assertEqual(self.run_hook(archive.path, *arguments, **environment), (0, ""))
        self.assertEqual(daemon.jobs(), [])
        self.assertEqual(self.incoming(), [])
        self.assert_content(archive, archive.old)

    @needs_strace
    def test_named_twice_while_queued_and_while_running(self):
        first = self.archive(100)
        second = self.archive(101)
        daemon = self.start_watched(first, "flistxattr:signal=SIGSTOP:when=1")
        self.run_hook(first.path)
        worker = daemon.stopped_worker()
        # Running: it will run again.
        self.assertEqual(self.run_hook(first.path), (0, "vmad: already queued as job 1\n"))
        # Queued: once is enough.
        self.assertEqual(self.run_hook(second.path), (0, "vmad: queued as job 2\n"))
        self.assertEqual(self.run_hook(second.path), (0, "vmad: already queued as job 2\n"))
        os.kill(worker, signal.SIGCONT)
        wait_until(lambda: all(job["state"] in ("done", "unchanged") for job in daemon.jobs()), "all end")
        self.assertEqual({job["id"]: (job["path"], job["state"]) for job in daemon.jobs()},
                         {1: (str(first.path), "done"), 2: (str(second.path), "done"),
                          3: (str(first.path), "unchanged")})

    def test_daemon_is_not_there(self):
        archive = self.archive()
        self.assertEqual(self.start().stop(), 0)
        code, output = self.run_hook(archive.path)
        self.assertEqual((code, output), (0, sentences.hook_saved(f"{self.state}/incoming")))
        self.assertEqual([entry.read_bytes() for entry in self.incoming()], [bytes(archive.path) + b"\0"])
        self.start().wait(1)
        self.assert_canonical(archive)
        self.assertEqual(self.incoming(), [])

    def test_daemon_does_not_answer(self):
        archive = self.archive()
        daemon = self.start()
        os.kill(daemon.pid, signal.SIGSTOP)
        before = time.monotonic()
        code, output = self.run_hook(archive.path)
        took = time.monotonic() - before
        self.assertEqual((code, output), (0, sentences.hook_saved(f"{self.state}/incoming")))
        # Two seconds are the hook's own limit; for ever is what must not be.
        self.assertLess(took, 20)
        self.assertEqual(len(self.incoming()), 1)
        os.kill(daemon.pid, signal.SIGCONT)
        # The daemon runs on, so it is inotify that tells it.
        wait_until(lambda: daemon.jobs() and daemon.jobs()[-1]["state"] in ("done", "unchanged"), "it is done")
        wait_until(lambda: not self.incoming(), "the request is taken")
        self.assert_canonical(archive)

    def test_request_that_is_left_to_a_running_daemon(self):
        archive = self.archive()
        daemon = self.start()
        self.run_hook(archive.path, VMAD_SOCKET=str(self.dir / "no.sock"))
        wait_until(daemon.jobs, "the request is taken")
        self.assertEqual(daemon.wait(1)["state"], "done")
        self.assert_canonical(archive)

    def test_requests_that_make_no_sense_are_set_aside(self):
        archive = self.archive()
        daemon = self.start()
        for name, content in (("half", bytes(archive.path)), ("empty", b""), ("long", b"/" * 10000 + b"\0"),
                              ("relative", b"dump/a.vma\0"), ("outside", b"/etc/passwd\0"),
                              ("hidden", bytes(self.dump / ".vmad-0123456789abcdef.tmp") + b"\0")):
            made = self.dir / name
            made.write_bytes(content)
            made.rename(self.state / "incoming" / name)
        self.run_hook(archive.path, VMAD_SOCKET=str(self.dir / "no.sock"))
        wait_until(daemon.jobs, "the good request is taken")
        self.assertEqual([job["path"] for job in daemon.jobs()], [str(archive.path)])
        for name in ("half", "empty", "long", "relative", "outside", "hidden"):
            self.assertIn(f"incoming/{name}: ", daemon.log.read_text())

    @needs_root
    def test_incoming_cannot_be_written(self):
        archive = self.archive()
        foreign = self.dir / "foreign"
        (foreign / "incoming").mkdir(parents=True)
        os.chown(foreign / "incoming", NOBODY, NOBODY)
        for state, why in ((foreign, f"{foreign}/incoming/"),
                           (self.dir / "no/state", f"create directory {self.dir}/no/state: No such file or directory")):
            with self.subTest(state=state.name):
                self.write_settings(state_dir=str(state))
                result = subprocess.run([*WITHOUT_OVERRIDE, *self.hook_command(archive.path)], env={},
                                        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
                self.assertEqual(result.returncode, 0)
                self.assertEqual(result.stdout.count("\n"), 1)
                self.assertIn(why, result.stdout)
                self.assertTrue(result.stdout.startswith("vmad: not queued: daemon not responding; cannot save the "
                                                         "request: "), result.stdout)
        self.assertEqual(list((foreign / "incoming").iterdir()), [])

    def test_settings_with_mistakes_still_tell_where(self):
        """The daemon does not start with them, and takes the request once they are mended."""
        archive = self.archive()
        good = self.config.read_text()
        for name, bad in (("of a value", good + "workers = 0\n"), ("of a key", "worker = 1\n" + good),
                          ("of the form", "[not toml\nbwlimit = 1G\n" + good + "threads 3\n\"\n")):
            with self.subTest(name):
                self.config.write_text(bad)
                self.assertEqual(self.run_hook(archive.path), (0, sentences.hook_saved(f"{self.state}/incoming")))
        self.assertEqual(len(self.incoming()), 3)
        self.config.write_text(good)
        self.start().wait(1)
        self.assertEqual(self.incoming(), [])

    def test_a_state_directory_that_is_not_there_yet(self):
        archive = self.archive()
        self.state = self.dir / "new"
        self.write_settings()
        self.assertEqual(self.run_hook(archive.path), (0, sentences.hook_saved(f"{self.state}/incoming")))
        self.assertEqual(self.state.stat().st_mode & 0o777, 0o700)
        self.start().wait(1)
        self.assert_canonical(archive)

    def test_vmactl_that_does_not_work(self):
        """One line, and success: what there is to see is in it."""
        archive = self.archive()
        program = self.dir / "program"
        for text, said in ((None, "cannot run "), ("#!/no/where\n", "cannot run "),
                           ("#!/bin/sh\necho libx.so: not found >&2; exit 127\n", "libx.so: not found"),
                           ("#!/bin/sh\nexit 124\n", "did not end within a minute"),  # timeout's
                           ("#!/bin/sh\nprintf 'a\\nb\\n'; kill -SEGV $$\n", "a b (exit code 139)")):
            with self.subTest(text):
                if text:
                    program.write_text(text)
                    program.chmod(0o755)
                code, output = self.run_hook(archive.path, VMAD_VMACTL=str(program))
                self.assertEqual(code, 0)
                self.assertRegex(output, r"\Avmad: not queued: .*\n\Z")
                self.assertIn(said, output)

    def test_refused_by_the_daemon(self):
        elsewhere = self.dir / "elsewhere.vma"
        elsewhere.write_bytes(self.archive().old)
        self.start()
        code, output = self.run_hook(elsewhere)
        self.assertEqual(code, 0)
        self.assertIn("vmad: not queued: ", output)
        self.assertIn("it is not below a configured directory", output)
        self.assertEqual(self.incoming(), [])

    def test_output_ends_with_the_hook(self):
        archive = self.archive()
        daemon = self.start()
        for number in (signal.SIGCONT, signal.SIGSTOP):
            with self.subTest(number.name):
                os.kill(daemon.pid, number)
                process = subprocess.Popen(self.hook_command(archive.path), env={},
                                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                with process.stdout as output:
                    process.wait(60)
                    os.set_blocking(output.fileno(), False)
                    self.assertTrue(output.read())
                    # The end, and not None, which says that somebody still holds the pipe.
                    self.assertEqual(output.read(), b"")
        os.kill(daemon.pid, signal.SIGCONT)

    def test_many_backups_at_once(self):
        paths = [self.dump / f"vzdump-qemu-{vmid}-2026_01_01-02_00_00.vma" for vmid in range(100)]
        generate(paths[0], "--disk", "drive-scsi0=64K")
        for path in paths[1:]:
            path.write_bytes(paths[0].read_bytes())
        daemon = self.start()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(self.run_hook, paths))
        self.assertEqual(sorted(answers), sorted((0, f"vmad: queued as job {n}\n") for n in range(1, 101)))
        self.assertEqual(self.vmactl("wait", "--timeout", "55")[0], 0)
        jobs = daemon.jobs()
        self.assertEqual([job["id"] for job in jobs], list(range(1, 101)))
        self.assertEqual({job["state"] for job in jobs}, {"done"})
        self.assertEqual({job["path"] for job in jobs}, {str(path) for path in paths})
        self.assertEqual(sorted(self.dump.iterdir()), sorted(paths))
        self.assertEqual(len({path.read_bytes() for path in paths}), 1)
        digest_of(paths[0])


class HookDirectoryTest(DaemonTest):
    """The scripts of the administrator, which vzdump itself would not run beside ours."""

    def script(self, name, text, mode=0o755):
        directory = self.dir / "hook.d"
        directory.mkdir(exist_ok=True)
        path = directory / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(mode)

    def test_order_arguments_and_environment(self):
        self.script("20-second", 'echo "second: $*"\n')
        self.script("10-first", 'echo "first: $*"; env | sort\n')
        self.script(".hidden", "echo never\n")
        code, output = self.run_hook("-", "job-start", STOREID="nas", TARGET="with a blank")
        self.assertEqual(code, 0)
        lines = output.splitlines()
        self.assertEqual((lines[0], lines[-1]), ("first: job-start", "second: job-start"))
        for expected in ("STOREID=nas", "TARGET=with a blank", "VMTYPE=qemu", "HOSTNAME=guest"):
            self.assertIn(expected, lines)
        # What vzdump clears stays cleared; PATH, PWD and the like are the shell's own.
        names = {line.split("=")[0] for line in lines[1:-1]}
        self.assertLessEqual(names, {"STOREID", "DUMPDIR", "VMTYPE", "HOSTNAME", "TARGET", "LOGFILE", "PWD",
                                     "OLDPWD", "SHLVL", "_", "LC_ALL", "LVM_SUPPRESS_FD_WARNINGS", "PATH", "HOME",
                                     "VMAD_HOOK", "VMAD_ANNOUNCE", "VMAD_VMACTL", "VMAD_ROOT", "VMAD_HOOK_D"})
        self.assertEqual([line for line in lines if line.startswith("HOME=")], ["HOME=/root"])

    def test_programs_are_found_and_have_a_home(self):
        """Neither is set by vzdump, and a shell does not export what it assumes itself."""
        self.script("1", "env\n")
        _, output = self.run_hook("-", "job-end")
        values = dict(line.split("=", 1) for line in output.splitlines())
        self.assertEqual(values["PATH"], "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        self.assertEqual(values["HOME"], "/root")
        _, output = self.run_hook("-", "job-end", PATH="/bin:/usr/bin:/x", HOME="/y")
        self.assertLessEqual({"PATH=/bin:/usr/bin:/x", "HOME=/y"}, set(output.splitlines()))

    def test_what_cannot_run_is_reported(self):
        self.script("1-text", "echo never\n", 0o644)
        (self.dir / "hook.d/2-directory").mkdir()
        (self.dir / "hook.d/3-dangling").symlink_to("/no/where")
        self.script("4-good", "echo good\n")
        lines = "".join(f"vmad: {self.dir}/hook.d/{name} is not an executable file: not run\n"
                        for name in ("1-text", "2-directory", "3-dangling"))
        for phase, output in (("job-start", lines + "good\n"), ("backup-end", lines + "good\n"),
                              ("pre-stop", "good\n"), ("job-end", "good\n")):
            self.assertEqual(self.run_hook("-", phase), (0, output))

    def earlier(self, text, mode=0o755):
        """A script that vzdump ran before, linked as "vmactl hook enable" links it."""
        script = self.dir / "opt/hooks/nightly.sh"
        script.parent.mkdir(parents=True)
        script.write_text("#!/bin/sh\n" + text)
        script.chmod(mode)
        (self.dir / "hook.d").mkdir()
        (self.dir / "hook.d/00-vzdump-script").symlink_to(script)
        return script

    def test_the_earlier_script_runs_as_vzdump_ran_it(self):
        script = self.earlier('. "$(dirname "$0")/my.conf"\necho "$0: $*: $setting"\n')
        (script.parent / "my.conf").write_text("setting=value\n")
        self.assertEqual(self.run_hook("-", "backup-start", "stop", "100"),
                         (0, f"{script}: backup-start stop 100: value\n"))

    def test_the_earlier_script_fails_as_under_vzdump(self):
        script = self.earlier("exit 3\n")
        self.script("1-after", "echo never\n")
        self.assertEqual(self.run_hook("-", "job-init"), (3, ""))
        script.chmod(0o644)
        for why in ("is not executable", "does not exist"):
            code, output = self.run_hook("-", "job-init")
            self.assertEqual(code, 1)
            self.assertRegex(output, rf"\Avmad: the hook script '{script}' {why}; .*\n\Z")
            if script.exists():
                script.unlink()

    def test_failure_is_passed_on_and_ends_it(self):
        self.script("1-good", "echo good\n")
        self.script("2-bad", "echo bad; exit 7\n")
        self.script("3-after", "echo never\n")
        self.assertEqual(self.run_hook("-", "backup-end", "stop", "100"), (7, "good\nbad\n"))

    def test_waiting_outlives_the_daemon_but_not_vzdump(self):
        archive = self.archive()
        daemon = self.start()
        self.vmactl("pause")
        self.run_hook(archive.path)
        # Nothing of its own in the pipe: the end of that would be noticed anyway.
        waited = self.dir / "waited"
        self.script("1", f"exec >{waited} 2>&1; {VMACTL} wait --timeout 100 {archive.path}; echo exit $?\n")
        vzdump = subprocess.Popen(["/bin/sh", "-c", '"$@"; exit', "sh", *self.hook_command("-", "job-end")], env={})
        self.addCleanup(vzdump.wait)
        self.addCleanup(vzdump.kill)
        wait_until(waited.exists, "the script runs")
        time.sleep(0.5)
        daemon.kill()
        self.start()
        time.sleep(1)
        self.assertEqual(waited.read_text(), "")
        vzdump.kill()
        wait_until(lambda: "exit 1\n" in waited.read_text(), "the wait ends")
        self.assertIn("vzdump has died", waited.read_text())

    def test_waiting_goes_on_after_a_restart(self):
        archive = self.archive()
        self.start()
        self.vmactl("pause")
        self.run_hook(archive.path)
        environment = {**os.environ, "VMAD_SOCKET": str(self.socket)}
        waits = [subprocess.Popen([VMACTL, "wait", *words], env=environment, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT) for words in ((), ("1",), (str(archive.path),))]
        time.sleep(0.5)
        self.daemons[-1].kill()
        self.start()
        self.vmactl("resume")
        for process in waits:
            output, _ = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0, output)
            self.assertIn("job 1: done: ", output)

    def test_the_task_log_gets_ascii(self):
        """Anything else comes out of vzdump as garbage."""
        directory = self.dump / "gr\u00f6\u00dfe"
        directory.mkdir()
        archive = self.archive()
        moved = archive.path.rename(directory / archive.path.name)
        self.start()
        self.script("1", f'export VMAD_SOCKET="$VMAD_ROOT/vmad.sock"; {VMACTL} wait "$TARGET"\n'
                         f"{VMACTL} list --all; {VMACTL} repack --help; {VMACTL} add --help\n"
                         f'{VMACTL} --json verify "$TARGET"; {VMACTL} verify "$TARGET"\n')
        code, output = self.run_hook(moved)
        self.assertEqual(code, 0)
        self.assertTrue(output.isascii(), output)
        self.assertIn(" -> ", output)

    def test_they_run_when_the_package_is_gone(self):
        archive = self.archive()
        gone = str(self.dir / "gone")
        self.assertEqual(self.run_hook(archive.path, VMAD_ANNOUNCE=gone), (0, ""))
        self.assertEqual(self.run_hook(archive.path, VMAD_ANNOUNCE=gone, VMAD_HOOK_D=gone), (0, ""))
        self.script("1", 'echo "$1"; exit 3\n')
        self.assertEqual(self.run_hook(archive.path, VMAD_ANNOUNCE=gone), (3, "backup-end\n"))

    def test_they_run_whatever_happens_to_the_daemon(self):
        archive = self.archive()
        self.script("1", 'echo "$1 $2 $3 $TARGET"\n')
        code, output = self.run_hook(archive.path)
        self.assertEqual(code, 0)
        self.assertEqual(output.splitlines()[1:], [f"backup-end snapshot 100 {archive.path}"])


if __name__ == "__main__":
    unittest.main()
