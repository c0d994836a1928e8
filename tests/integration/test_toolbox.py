"""vmactl without a daemon: info, verify, repack and extract as processes, on Proxmox's own samples, on
made-up guests and on damaged archives.

Run as: VMAD_BUILD=builddir python3 test_toolbox.py
"""

import fcntl
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
import unittest

import support
import sentences
from support import OFFICIAL, VMACHECK, ProcessTest, generate, make_old, official_manifest, sha256, unnamed_file_size, wait_for

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Enough work to be met in the middle of it, by a signal that comes as soon as it has begun.
LARGE = ("--disk", "drive-scsi0=1G", "--shuffle")


class CommandLineTest(ProcessTest):
    COMMANDS = ("status", "list", "show", "monitor", "add", "scan", "wait", "cancel", "retry", "pause", "resume", "reload",
                "log", "hook", "settings", "info", "verify", "repack", "repair", "share", "extract", "diff", "mount", "umount", "create",
                "config", "help")

    def test_help_names_every_command_and_exit_code(self):
        text = self.succeed("--help")
        for command in self.COMMANDS:
            self.assertIn(f"\n  {command} ", text)
        for number, meaning in enumerate(("success", "failure", "usage error", "daemon unreachable", "no such job",
                                          "timeout", "archive invalid or unsupported", "archive busy")):
            self.assertIn(f"{number} {meaning}", " ".join(text.split()))

    def test_help_of_every_command_fits_80_columns(self):
        actions = ("hook", "enable"), ("hook", "disable"), ("hook", "status"), ("settings", "check"), ("settings", "show")
        for arguments in ((), *actions, *((command,) for command in self.COMMANDS)):
            for line in self.succeed(*arguments, "--help").splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_version(self):
        self.assertRegex(self.succeed("--version"), r"\Avmactl \d+\.\d+\.\d+\n\Z")

    def test_usage_errors(self):
        for arguments in (("nonsense",), ("--nonsense",), ("info",), ("info", "a", "b"), ("info", "--nonsense", "a"),
                          ("verify",), ("extract", "a"), ("repack", "a"), ("repack", "a", "b", "c"),
                          ("repack", "--in-place"), ("repack", "--in-place", "--force", "a"),
                          ("repack", "--in-place", "--no-verify", "a"), ("repack", "--state-dir", "x", "a", "b"),
                          ("repack", "--threads", "0", "a", "b"), ("repack", "--threads", "65", "a", "b"),
                          ("repack", "--threads", "x", "a", "b"), ("repack", "--memory", "1T", "a", "b"),
                          ("repack", "--memory", "-1", "a", "b"),
                          ("repack", "--memory", "1", "a", "b"), ("repack", "--memory", "16383K", "a", "b"),
                          ("repack", "--memory", "65G", "a", "b"), ("create",), ("create", "a.vma"), ("config",), ("config", "a", "b", "c"),
                          ("config", "a", "--force", "--set", "x=y"), ("config", "a", "--output", "b"),
                          ("wait", "--timeout", "0"), ("add",), ("add", "")):
            with self.subTest(arguments=arguments):
                self.refuse(2, *arguments)

    def test_a_file_may_be_called_like_a_command(self):
        for name in ("status", "info"):
            shutil.copy(OFFICIAL / "d-config-only.vma", self.dir / name)
        self.assertIn("status: valid", self.succeed("verify", "info", "status", cwd=self.dir))

    def test_json_may_stand_before_and_behind_the_command(self):
        path = OFFICIAL / "d-config-only.vma"
        self.assertEqual(self.succeed("--json", "info", path), self.succeed("info", path, "--json"))

    def test_no_daemon(self):
        self.environment["VMAD_SOCKET"] = str(self.dir / "socket")
        for arguments in (("status",), ("add", OFFICIAL / "a-one-disk.vma"), ("wait",)):
            message = self.refuse(3, *arguments)
            self.assertIn(f"connect {self.dir}/socket: No such file or directory", message)
            self.assertIn(f"connect {self.dir}/other:", self.refuse(3, *arguments, "--socket", self.dir / "other"))


class OutputTest(ProcessTest):
    def test_a_full_disk_is_an_error(self):
        for arguments in (("--help",), ("--version",), ("info", OFFICIAL / "a-one-disk.vma"),
                          ("verify", OFFICIAL / "a-one-disk.vma"),
                          ("--json", "verify", OFFICIAL / "a-one-disk.vma"),
                          ("extract", OFFICIAL / "a-one-disk.vma", self.dir / "out"),
                          ("repack", OFFICIAL / "a-one-disk.vma", self.dir / "copy")):
            with self.subTest(arguments=arguments), open("/dev/full", "w", encoding="ascii") as full:
                result = self.vmactl(*arguments, stdout=full)
                message = "write standard output: No space left on device"
                told = f"vmactl: {message}" if arguments[0] != "--json" else \
                    json.dumps({"error": message, "exit_code": 1}, separators=(",", ":"))
                self.assertEqual((result.returncode, result.stderr), (1, told + "\n"))

    def test_a_closed_output_is_an_error_and_no_archive_is_written_to(self):
        before = sha256(OFFICIAL / "a-one-disk.vma")
        result = subprocess.run(["sh", "-c", '"$0" repack "$1" "$2" >&-', support.VMACTL,
                                 OFFICIAL / "a-one-disk.vma", self.dir / "copy"],
                                stderr=subprocess.PIPE, env=self.environment, text=True, check=False)
        self.assertEqual((result.returncode, result.stderr),
                         (1, "vmactl: write standard output: Bad file descriptor\n"))
        self.assertEqual(sha256(OFFICIAL / "a-one-disk.vma"), before)
        self.assertIn("valid, canonical", self.succeed("verify", self.dir / "copy"))

    def test_a_reader_that_went_away_ends_it_without_a_word(self):
        for ignored in (False, True):
            reading, writing = os.pipe()
            os.close(reading)
            with os.fdopen(writing, "w") as output:
                def ignore_it(ignored=ignored):
                    signal.signal(signal.SIGPIPE, signal.SIG_IGN if ignored else signal.SIG_DFL)
                result = self.vmactl("--help", stdout=output, restore_signals=False, preexec_fn=ignore_it)
            self.assertEqual((result.returncode, result.stderr), (-signal.SIGPIPE, ""))

    def test_control_characters_of_an_archive_do_not_reach_the_terminal(self):
        archive = generate(self.dir / "x.vma", "--disk", "evil\x1b[2J\n\u009b\r=4096", "--disk", "latin\udce4=512")
        text = self.succeed("info", archive)
        self.assertIn("evil\\x1b[2J\\x0a\\xc2\\x9b\\x0d", text)
        self.assertIn("latin\\xe4", text)
        [info] = self.succeed_json("info", archive)
        self.assertEqual(sorted(device["name"] for device in info["devices"]),
                         ["evil\x1b[2J\n\u009b\r", "latin\ufffd"])
        message = self.refuse(1, "info", self.dir / "no\nsuch\x1bfile")
        self.assertIn("no\\x0asuch\\x1bfile", message)

    def test_colour_and_progress_only_on_a_terminal(self):
        bad = self.dir / "bad.vma"
        bad.write_text("junk")
        code, output = self.vmactl_on_terminal("verify", bad)
        self.assertEqual(code, 6)
        self.assertIn("\x1b[31m", output)
        self.environment["NO_COLOR"] = "1"
        self.assertNotIn("\x1b[31m", self.vmactl_on_terminal("verify", bad)[1])
        del self.environment["NO_COLOR"]
        self.environment["TERM"] = "dumb"
        self.assertNotIn("\x1b[31m", self.vmactl_on_terminal("verify", bad)[1])
        self.assertNotIn("\x1b", self.vmactl("verify", bad).stdout)

    def test_the_progress_line_fits_and_goes_away(self):
        archive = generate(self.dir / "x.vma", "--disk", "drive-scsi0=64M")
        for columns in (30, 80):
            code, output = self.vmactl_on_terminal("repack", archive, self.dir / "y.vma", "--force", columns=columns)
            self.assertEqual(code, 0)
            drawn = re.findall(r"\r([^\r\n]*)\x1b\[K", output)
            percentages = [int(line.split()[1]) for line in drawn if line.startswith("x.vma ")]
            self.assertEqual(percentages, sorted(percentages))
            self.assertEqual((percentages[-1], percentages.count(100)), (100, 1))
            self.assertLess(max(map(len, drawn)), columns)
            self.assertEqual(drawn[-1], "")
            self.assertRegex(output, r"\r\x1b\[K[^\r]*y\.vma: [^\r]* verified, digest [0-9a-f]{32}\r\n\Z")


class InfoTest(ProcessTest):
    def test_official_samples(self):
        for name, expected in official_manifest().items():
            with self.subTest(name=name):
                [info] = self.succeed_json("info", OFFICIAL / name)
                self.assertEqual(info["size_bytes"], expected["bytes"])
                self.assertEqual(info["canonical_headers"], False)
                self.assertEqual(info["devices"], [{"id": disk["dev_id"], "name": disk["name"], "size_bytes": disk["size"]}
                                                   for disk in expected["disks"]])
                self.assertEqual(info["configs"], [{"name": config["name"], "size_bytes": config["size"]}
                                                   for config in expected["configs"]])
                raw = (OFFICIAL / name).read_bytes()
                self.assertEqual(info["uuid"].replace("-", ""), raw[8:24].hex())
                self.assertEqual(info["ctime"], int.from_bytes(raw[24:32], "big"))

    def test_text(self):
        archive = generate(self.dir / "x.vma", "--ctime", "1709208309", "--disk", "drive-scsi0=1G",
                           "--disk", "drive-efidisk0=540672", "--zero-fraction", "1")
        self.environment["TZ"] = "XYZ-5:30"
        text = self.succeed("info", archive)
        self.assertIn("created  2024-02-29T17:35:09+05:30\n", text)
        self.assertIn("layout   not canonical\n", text)
        self.assertRegex(text, r"\nDEVICE +ID +SIZE +BYTES\n")
        self.assertRegex(text, r"\ndrive-scsi0 +\d+ +1\.0 GiB +1073741824\n")
        self.assertRegex(text, r"\ndrive-efidisk0 +\d+ +528 KiB +540672\n")

    def test_canonical(self):
        self.succeed("repack", OFFICIAL / "c-three-disks-fw.vma", self.dir / "x.vma")
        self.assertIn("layout   canonical (version 1) according to its headers, 24 extents\n",
                      self.succeed("info", self.dir / "x.vma"))
        [info] = self.succeed_json("info", self.dir / "x.vma")
        self.assertEqual((info["canonical_headers"], info["extent_count"]), (True, 24))

    def test_a_table_fits_80_columns(self):
        archive = generate(self.dir / "x.vma", "--disk", "n" * 200 + "=1M", "--disk", "ä" * 60 + "=1M")
        for line in self.succeed("info", archive).splitlines()[5:]:
            self.assertLessEqual(len(line), 80)

    def test_what_is_no_archive(self):
        (self.dir / "empty").write_text("")
        (self.dir / "junk").write_bytes(b"junk" * 5000)
        os.mkfifo(self.dir / "fifo")
        for code, name, message in (
                (6, "empty", f"{self.dir}/empty: at byte 0: the file is empty"),
                (6, "junk", f'{self.dir}/junk: at byte 0: not a VMA archive: bad magic'),
                (1, "fifo", f"{self.dir}/fifo is not a regular file"),
                (1, ".", f"{self.dir} is not a regular file"),
                (1, "missing", f"open {self.dir}/missing: No such file or directory"),
                (1, "junk/x", f"open {self.dir}/junk/x: Not a directory")):
            for command in ("info", "verify", "extract"):
                with self.subTest(name=name, command=command):
                    result = self.vmactl(command, self.dir / name, *([self.dir / "out"] if command == "extract" else []))
                    self.assertEqual(result.returncode, code)
                    if not (command == "verify" and code == 6):
                        self.assertEqual(result.stderr, f"vmactl: {message}\n")


class VerifyTest(ProcessTest):
    def test_official_samples(self):
        names = sorted(official_manifest())
        lines = self.succeed("verify", *(OFFICIAL / name for name in names)).splitlines()
        self.assertEqual(len(lines), len(names))
        for name, line in zip(names, lines):
            count = len(official_manifest()[name]["disks"])
            devices = f"{count} device" + ("" if count == 1 else "s")
            self.assertRegex(line, re.escape(f"{OFFICIAL / name}: valid, not canonical (at byte 0: ") +
                             rf".*\), {devices}, digest [0-9a-f]{{32}}\Z")

    def test_it_goes_on_after_a_bad_one(self):
        good = OFFICIAL / "a-one-disk.vma"
        (self.dir / "bad").write_text("junk")
        result = self.vmactl("verify", self.dir / "missing", self.dir / "bad", good)
        self.assertEqual(result.returncode, 6)
        bad_line, good_line = result.stdout.splitlines()
        self.assertTrue(bad_line.startswith(f"{self.dir}/bad: invalid: at byte 4: "), bad_line)
        self.assertTrue(good_line.startswith(f"{good}: valid"), good_line)
        self.assertEqual(result.stderr, f"vmactl: open {self.dir}/missing: No such file or directory\n")
        self.assertEqual(self.vmactl("verify", self.dir / "missing", good).returncode, 1)

    def test_json(self):
        (self.dir / "bad").write_text("junk")
        result = self.vmactl("--json", "verify", self.dir / "missing", self.dir / "bad", OFFICIAL / "a-one-disk.vma")
        self.assertEqual((result.returncode, result.stderr), (6, ""))
        missing, bad, good = map(json.loads, result.stdout.splitlines())
        self.assertEqual(missing, {"path": f"{self.dir}/missing", "result": "failed",
                                   "error": f"open {self.dir}/missing: No such file or directory"})
        self.assertEqual((bad["result"], bad["offset"]), ("invalid", 4))
        self.assertTrue(bad["rule"])
        self.assertEqual((good["result"], good["canonical"], good["device_count"], good["size_bytes"]),
                         ("valid", False, 1, official_manifest()["a-one-disk.vma"]["bytes"]))

    def test_file_names_of_any_bytes(self):
        path = os.fsencode(self.dir) + b"/\xe4\n.vma"
        shutil.copy(OFFICIAL / "a-one-disk.vma", path)
        self.assertTrue(self.succeed("verify", path).startswith(f"{self.dir}/\\xe4\\x0a.vma: valid, "))
        self.assertEqual(len(self.succeed_json("verify", path)), 1)

    def test_every_flipped_byte_is_found_or_changes_the_digest(self):
        good = generate(self.dir / "good", "--disk", "drive-scsi0=128K")
        original = good.read_bytes()
        [expected] = self.succeed_json("verify", good)
        for offset in range(0, len(original), len(original) // 40):
            spoilt = bytearray(original)
            spoilt[offset] ^= 0x40
            (self.dir / "spoilt").write_bytes(spoilt)
            result = self.vmactl("--json", "verify", self.dir / "spoilt")
            found = json.loads(result.stdout)
            self.assertTrue(result.returncode == 6 or found["digest"] != expected["digest"], offset)


class ExtractTest(ProcessTest):
    def test_official_samples(self):
        for name, expected in official_manifest().items():
            with self.subTest(name=name):
                out = self.dir / name
                printed = self.succeed("extract", OFFICIAL / name, out).splitlines()
                hashes = {f"disk-{disk['name']}.raw": disk["sha256"] for disk in expected["disks"]}
                hashes.update({config["name"]: config["sha256"] for config in expected["configs"]})
                self.assertEqual(self.names(out), sorted(hashes))
                self.assertEqual(sorted(printed), sorted(f"{out}/{file}" for file in hashes))
                for file, digest in hashes.items():
                    self.assertEqual(sha256(out / file), digest)
                    self.assertEqual(stat.S_IMODE((out / file).stat().st_mode), 0o600)

    def test_disks_are_sparse(self):
        archive = generate(self.dir / "x.vma", "--disk", "drive-scsi0=256M", "--zero-fraction", "1")
        [result] = self.succeed_json("extract", archive, self.dir / "out")
        status = (self.dir / "out/disk-drive-scsi0.raw").stat()
        self.assertEqual((status.st_size, status.st_blocks), (256 << 20, 0))
        self.assertLess(result["written_bytes"], 65536)

    def test_one_disk(self):
        archive = OFFICIAL / "c-three-disks-fw.vma"
        hashes = {disk["name"]: disk["sha256"] for disk in official_manifest()[archive.name]["disks"]}
        self.succeed("extract", "--device", "drive-ide2", archive, self.dir / "one")
        self.assertEqual(self.names(self.dir / "one"), ["disk-drive-ide2.raw"])
        self.assertEqual(sha256(self.dir / "one/disk-drive-ide2.raw"), hashes["drive-ide2"])
        self.succeed("extract", archive, self.dir / "two", "--device", "drive-ide2", "--device", "drive-scsi0")
        self.assertEqual(self.names(self.dir / "two"), ["disk-drive-ide2.raw", "disk-drive-scsi0.raw"])

    def test_an_unknown_disk(self):
        message = self.refuse(2, "extract", OFFICIAL / "c-three-disks-fw.vma", self.dir / "out", "--device", "scsi9")
        self.assertEqual(message,
                         "the archive has no device scsi9; it has drive-efidisk0, drive-scsi0, drive-ide2")
        self.assertEqual(self.names(), [])

    def test_a_disk_may_be_named_as_in_the_config(self):
        self.succeed("extract", OFFICIAL / "c-three-disks-fw.vma", self.dir, "--device", "ide2")
        self.assertEqual(self.names(), ["disk-drive-ide2.raw"])

    def test_no_empty_directory_is_left(self):
        damaged = self.dir / "damaged.vma"
        damaged.write_bytes((OFFICIAL / "a-one-disk.vma").read_bytes()[:-1])
        self.refuse(6, "extract", damaged, self.dir / "out")
        self.assertEqual(self.names(), ["damaged.vma"])
        (self.dir / "out").mkdir()
        self.refuse(6, "extract", damaged, self.dir / "out")
        self.assertEqual(self.names(), ["damaged.vma", "out"])

    def test_existing_files_are_kept(self):
        archive = OFFICIAL / "a-one-disk.vma"
        (self.dir / "qemu-server.conf").write_text("mine")
        self.assertEqual(self.refuse(2, "extract", archive, self.dir),
                         f"{self.dir}/qemu-server.conf exists; --force replaces it")
        self.assertEqual(self.names(), ["qemu-server.conf"])
        self.assertEqual((self.dir / "qemu-server.conf").read_text(), "mine")
        self.succeed("extract", "--force", archive, self.dir)
        [config] = official_manifest()[archive.name]["configs"]
        self.assertEqual(sha256(self.dir / "qemu-server.conf"), config["sha256"])

    def test_names_that_lead_elsewhere(self):
        (self.dir / "data").write_text("data")
        for arguments in (("--disk", "../x=4096"), ("--disk", "x/y=4096"), ("--config", f"../x={self.dir}/data"),
                          ("--config", f"..={self.dir}/data"), ("--config", f"/tmp/x={self.dir}/data")):
            with self.subTest(arguments=arguments):
                archive = generate(self.dir / "x.vma", *arguments)
                self.assertIn("is not a valid file name", self.refuse(6, "extract", archive, self.dir / "out"))
                self.assertEqual(self.names(), ["data", "x.vma"])

    def test_a_directory_that_cannot_be(self):
        archive = OFFICIAL / "a-one-disk.vma"
        self.assertIn("No such file or directory", self.refuse(1, "extract", archive, self.dir / "no/such"))
        (self.dir / "file").write_text("")
        self.assertIn("Not a directory", self.refuse(1, "extract", archive, self.dir / "file"))

    def test_a_signal_leaves_nothing(self):
        archive = generate(self.dir / "x.vma", *LARGE)
        for number in STOP_SIGNALS:
            process = self.start_vmactl("extract", archive, self.dir / "out")
            wait_for(lambda process=process: unnamed_file_size(process))
            process.send_signal(number)
            self.assertEqual(process.wait(support.HANG_SECONDS), 128 + number)
            self.assertEqual(self.names(), ["x.vma"])


class RepackTest(ProcessTest):
    def test_official_samples(self):
        for name in official_manifest():
            with self.subTest(name=name):
                copy = self.dir / name
                line = self.succeed("repack", OFFICIAL / name, copy)
                self.assertRegex(line, re.escape(f"{copy}: ") +
                                 r"[\d.]+ [KM]iB → [\d.]+ [KM]iB at .*/s, verified, digest [0-9a-f]{32}\n\Z")
                [before], [after] = (self.succeed_json("verify", path) for path in (OFFICIAL / name, copy))
                self.assertEqual((after["canonical"], after["digest"]), (True, before["digest"]))
                self.assertIn(after["digest"], line)
                self.succeed("repack", copy, self.dir / "again", "--force")
                self.assertEqual(sha256(self.dir / "again"), sha256(copy))

    def test_official_samples_by_another_reader(self):
        for name in official_manifest():
            with self.subTest(name=name):
                copy = self.dir / name
                self.succeed("repack", OFFICIAL / name, copy)
                contents = []
                for options, path in (((), OFFICIAL / name), (("--canonical",), copy)):
                    result = subprocess.run(["python3", VMACHECK, "--json", *options, path], capture_output=True,
                                            text=True, check=False, timeout=60)
                    self.assertEqual(result.returncode, 0, result.stdout)
                    found = json.loads(result.stdout)
                    contents.append((found["configs"], found["ctime"],
                                     {device: (told["size"], told["digest"]) for device, told in found["devices"].items()}))
                self.assertEqual(contents[0], contents[1])

    def test_the_result_is_the_reference_with_any_options(self):
        for seed in range(6):
            archive = generate(self.dir / "x.vma", "--random-guest", "--guest-seed", str(seed), "--dump-seed",
                               str(seed), "--reference", self.dir / "reference", *(["--shuffle"] if seed % 2 else []))
            for options in ((), ("--threads", "1", "--memory", "16M"), ("--threads", "7", "--memory", "17M"),
                            ("--no-verify", "--memory", "1G")):
                self.succeed("repack", archive, self.dir / "y.vma", "--force", *options)
                self.assertEqual(sha256(self.dir / "y.vma"), sha256(self.dir / "reference"))

    def test_json_and_verbose(self):
        archive = generate(self.dir / "x.vma", "--disk", "drive-scsi0=96M", "--shuffle")
        [result] = self.succeed_json("repack", archive, self.dir / "y.vma", "--memory", "16M")
        self.assertEqual((result["source"], result["destination"]), (str(archive), str(self.dir / "y.vma")))
        self.assertEqual((result["source_bytes"], result["result_bytes"]),
                         (archive.stat().st_size, (self.dir / "y.vma").stat().st_size))
        self.assertTrue(result["verified"])
        self.assertGreater(result["reread_bytes"], 0)
        self.assertRegex(self.succeed("repack", archive, self.dir / "z.vma", "-v", "--no-verify", "--memory", "16M"),
                         r", not verified, digest [0-9a-f]{32}, [\d.]+ MiB read twice, [\d.]+ ([KM]i)?B spilled\n\Z")

    def test_destinations(self):
        source = self.dir / "x.vma"
        shutil.copy(OFFICIAL / "a-one-disk.vma", source)
        (self.dir / "mine").write_text("mine")
        os.link(source, self.dir / "same")
        for code, destination in ((2, "mine"), (2, "x.vma"), (2, "same"), (2, "."), (1, "no/such")):
            with self.subTest(destination=destination):
                self.refuse(code, "repack", source, self.dir / destination)
        for code, destination in ((2, "x.vma"), (2, "same"), (2, ".")):
            self.refuse(code, "repack", "--force", source, self.dir / destination)
        self.assertEqual((self.dir / "mine").read_text(), "mine")
        self.assertEqual(self.names(), ["mine", "same", "x.vma"])
        self.assertEqual(sha256(source), sha256(OFFICIAL / "a-one-disk.vma"))
        self.succeed("repack", "--force", source, "mine", cwd=self.dir)
        self.assertIn("valid, canonical", self.succeed("verify", self.dir / "mine"))

    def test_a_signal_leaves_nothing(self):
        archive = generate(self.dir / "x.vma", *LARGE)
        for number in STOP_SIGNALS:
            process = self.start_vmactl("repack", archive, self.dir / "y.vma")
            wait_for(lambda process=process: unnamed_file_size(process))
            process.send_signal(number)
            self.assertEqual(process.wait(support.HANG_SECONDS), 128 + number)
            self.assertEqual(self.names(), ["x.vma"])


class InPlaceTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.state = self.dir / "state"
        self.dump = self.dir / "dump"
        self.dump.mkdir()

    def in_place(self, *arguments):
        return self.vmactl("repack", "--in-place", "--state-dir", self.state, *arguments)

    def copy(self, name):
        """An official sample that has been there for an hour."""
        path = self.dump / name
        shutil.copy(OFFICIAL / name, path)
        make_old(path)
        return path

    def assert_recovered(self):
        for name in ("in-place", "locks"):
            if (self.state / name).exists():
                self.assertEqual(self.names(self.state / name), [])

    def test_official_samples(self):
        paths = [self.copy(name) for name in sorted(official_manifest())]
        for path in paths:
            path.chmod(0o640)
        references = []
        for path in paths:
            self.succeed("repack", path, self.dir / "reference", "--force")
            references.append(sha256(self.dir / "reference"))
        result = self.in_place(*paths)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for path, reference, line in zip(paths, references, result.stdout.splitlines()):
            self.assertEqual(sha256(path), reference)
            self.assertRegex(line, re.escape(f"{path}: done, ") + r"[\d.]+ [KM]iB → [\d.]+ [KM]iB at .*, verified\Z")
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
            self.assertLess(path.stat().st_mtime, time.time() - 1800)
        result = self.in_place(*paths)
        self.assertEqual((result.returncode, result.stdout),
                         (0, "".join(f"{path}: {sentences.ALREADY_CANONICAL}\n" for path in paths)))
        self.assertEqual(self.names(self.dump), sorted(official_manifest()))
        self.assert_recovered()

    def test_bit_rot_is_found_and_has_no_offset(self):
        """A digest tells that something has changed, not where."""
        path = self.copy("b-two-disks-odd.vma")
        self.assertEqual(self.in_place(path).returncode, 0)
        if "user.vmad" not in os.listxattr(path):
            self.skipTest("the file system has no extended attributes")
        before = path.stat()
        [good] = self.succeed_json("verify", path)
        with open(path, "r+b") as file:
            file.seek(1426332)
            byte = file.read(1)[0]
            file.seek(1426332)
            file.write(bytes([byte ^ 1]))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        result = self.vmactl("--json", "verify", path)
        self.assertEqual(result.returncode, 6)
        found = json.loads(result.stdout)
        error = found.pop("error")
        self.assertIn(good["digest"], error)
        self.assertRegex(error, "^content digest mismatch: drive-[a-z0-9]+ was damaged since vmad wrote it ")
        self.assertEqual(found, {"path": str(path), "result": "invalid", "rule": "content-digest",
                                 "damage": [{"disk": error.split()[3], "offset": 0, "bytes": 1048576}],
                                 "damage_note": "nothing tells which regions: no checksums of them are known"})
        self.assertTrue(self.vmactl("verify", path).stdout.startswith(f"{path}: invalid: content digest mismatch"))

    def test_a_name_that_says_another_format_is_warned_of(self):
        """Proxmox VE chooses the program that decompresses by the name."""
        archive = generate(self.dir / "x.vma", "--disk", "drive-scsi0=1M")
        wrong = self.dir / "x.vma.gz"
        self.succeed("repack", archive, self.dir / "x.vma.zst")
        (self.dir / "x.vma.zst").rename(wrong)
        result = self.vmactl("verify", wrong)
        self.assertEqual(result.returncode, 0)
        self.assertIn(f"vmactl: {wrong}: it is zstd, and its name says gzip: ", result.stderr)
        [found] = self.succeed_json("verify", wrong)
        self.assertIn("Proxmox VE cannot restore it under this name", found["warning"])
        self.assertEqual(self.vmactl("verify", archive).stderr, "")

    def test_relative_paths_and_json(self):
        path = self.copy("a-one-disk.vma")
        size = path.stat().st_size
        result = self.vmactl("--json", "repack", "--in-place", "--state-dir", "state", "dump/a-one-disk.vma", cwd=self.dir)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        outcome = json.loads(result.stdout)
        self.assertEqual((outcome["path"], outcome["outcome"], outcome["size_before"], outcome["size_after"]),
                         ("dump/a-one-disk.vma", "done", size, path.stat().st_size))

    def test_it_goes_on_and_the_worst_counts(self):
        good = [self.copy(name) for name in ("a-one-disk.vma", "d-config-only.vma")]
        bad = self.dump / "bad.vma"
        bad.write_text("junk")
        make_old(bad)
        young = self.dump / "young.vma"
        shutil.copy(OFFICIAL / "a-one-disk.vma", young)
        missing = self.dump / "missing.vma"
        result = self.in_place(good[0], young, missing, bad, good[1])
        self.assertEqual(result.returncode, 6)
        self.assertEqual(len(result.stdout.splitlines()), 2)
        self.assertEqual([line.split(": ")[1] for line in result.stderr.splitlines()],
                         [str(young), str(missing), str(bad)])
        self.assertEqual(bad.read_text(), "junk")
        self.assertEqual(self.in_place(young, missing).returncode, 1)
        self.assertEqual(self.in_place(young).returncode, 7)
        result = self.vmactl("--json", "repack", "--in-place", "--state-dir", self.state, young, missing, bad)
        self.assertEqual([json.loads(line)["outcome"] for line in result.stdout.splitlines()],
                         ["too_recent", "vanished", "invalid"])
        self.assertEqual(result.stderr, "")
        self.assert_recovered()

    def test_what_may_not_be_replaced(self):
        path = self.copy("a-one-disk.vma")
        (self.dump / "link.vma").symlink_to("a-one-disk.vma")
        os.link(path, self.dump / "second")
        for name in ("a-one-disk.vma", "link.vma", ".", "no/such.vma"):
            with self.subTest(name=name):
                self.assertEqual(self.in_place(self.dump / name).returncode, 1)
        self.assertEqual(sha256(path), sha256(OFFICIAL / "a-one-disk.vma"))

    def test_busy(self):
        path = self.copy("a-one-disk.vma")
        (self.state / "locks").mkdir(parents=True)
        status = path.stat()
        with open(self.state / "locks" / f"{status.st_dev:x}-{status.st_ino}", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = self.in_place(path)
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (7, "", f"vmactl: {sentences.locked(path)}\n"))
        self.assertEqual(sha256(path), sha256(OFFICIAL / "a-one-disk.vma"))

    def test_the_state_directory_of_a_plain_user(self):
        if os.geteuid() == 0:
            self.dir.chmod(0o777)
            for path in (self.dump, self.copy("a-one-disk.vma")):
                os.chown(path, 65534, 65534)
        else:
            self.copy("a-one-disk.vma")
        for variables, state in (({}, ".local/state/vmad"), ({"XDG_STATE_HOME": str(self.dir / "xdg")}, "xdg/vmad")):
            environment = {**self.environment, **variables}
            self.succeed("repack", "--in-place", self.dump / "a-one-disk.vma", env=environment, **support.run_as_nobody())
            self.assertEqual(self.names(self.dir / state), ["in-place", "locks"])

    def test_a_signal_leaves_the_archive_and_nothing_else(self):
        archive = generate(self.dump / "x.vma", *LARGE)
        make_old(archive)
        before = archive.stat()
        for number in STOP_SIGNALS:
            process = self.start_vmactl("repack", "--in-place", "--state-dir", self.state, archive)
            wait_for(lambda process=process: unnamed_file_size(process))
            process.send_signal(number)
            self.assertEqual(process.wait(support.HANG_SECONDS), 128 + number)
            self.assertEqual(self.names(self.dump), ["x.vma"])
            self.assertEqual((archive.stat().st_ino, archive.stat().st_mtime_ns), (before.st_ino, before.st_mtime_ns))
            self.assert_recovered()

    def test_a_killed_run_leaves_the_archive_and_nothing_else(self):
        archive = generate(self.dump / "x.vma", *LARGE)
        make_old(archive)
        before = archive.stat()
        process = self.start_vmactl("repack", "--in-place", "--state-dir", self.state, archive)
        wait_for(lambda: unnamed_file_size(process))
        result = self.in_place(archive)
        self.assertEqual((result.returncode, result.stderr),
                         (7, f"vmactl: {sentences.locked(archive)}\n"))
        process.kill()
        process.wait(support.HANG_SECONDS)
        self.assertEqual(archive.stat().st_ino, before.st_ino)
        self.assertEqual(self.names(self.dump), ["x.vma"])
        result = self.in_place(archive)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.names(self.dump), ["x.vma"])
        self.assert_recovered()

    def leave_behind(self, archive, copy, phase):
        """What a run that was killed in this phase leaves where files cannot be unnamed."""
        def mark(path):
            status = path.stat()
            return {"inode": status.st_ino, "size": status.st_size, "modified": status.st_mtime_ns, "content": 0}
        status = archive.stat()
        record = {"name": archive.name, "temporary": copy.name, "old": copy.stem + ".old", "phase": phase,
                  "original": {**mark(archive), "device": status.st_dev, "changed": status.st_ctime_ns},
                  "access": {"mode": status.st_mode, "owner": status.st_uid, "group": status.st_gid},
                  "replacement": mark(copy)}
        (self.state / "in-place").mkdir(parents=True, exist_ok=True)
        (self.state / "in-place/0123456789abcdef.json").write_text(json.dumps({"path": str(archive), "record": record}))

    def test_what_a_killed_run_left_the_next_recovers(self):
        other = self.copy("d-config-only.vma")
        archive = self.copy("a-one-disk.vma")
        copy = self.dump / ".vmad-fedcba9876543210.tmp"
        old = sha256(archive)
        for phase, exchanged, outcome in (
                ("preparing", False, "original archive kept"),
                ("publishing", False, "original archive kept"),
                ("publishing", True, "repacked archive in place")):
            with self.subTest(phase=phase, exchanged=exchanged):
                copy.unlink(missing_ok=True)
                self.succeed("repack", archive, copy)
                new = sha256(copy)
                self.leave_behind(archive, copy, phase)
                if exchanged:
                    archive.rename(self.dump / "third")
                    copy.rename(archive)
                    (self.dump / "third").rename(copy)
                result = self.in_place(other)
                self.assertEqual((result.returncode, result.stderr),
                                 (0, sentences.recovered(archive, outcome)))
                self.assertTrue(result.stdout.startswith(f"{other}: "))
                self.assertEqual(sha256(archive), new if exchanged else old)
                self.assertEqual(self.names(self.dump), ["a-one-disk.vma", "d-config-only.vma"])
                self.assert_recovered()

    def test_what_a_running_run_keeps_is_left_alone(self):
        archive = self.copy("a-one-disk.vma")
        copy = self.dump / ".vmad-fedcba9876543210.tmp"
        shutil.copy(archive, copy)
        self.leave_behind(archive, copy, "preparing")
        with open(self.state / "in-place/0123456789abcdef.lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = self.in_place(self.copy("d-config-only.vma"))
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertTrue(copy.exists())

    def test_verbose(self):
        result = self.in_place("-v", self.copy("a-one-disk.vma"))
        self.assertRegex(result.stdout, r", verified, 0 B read twice, 0 B spilled\n\Z")

    def test_leftovers_of_a_storage_that_is_not_mounted_wait(self):
        archive = self.copy("a-one-disk.vma")
        copy = self.dump / ".vmad-fedcba9876543210.tmp"
        shutil.copy(archive, copy)
        self.leave_behind(archive, copy, "preparing")
        self.dump.rename(self.dir / "away")
        other = self.dir / "other.vma"
        shutil.copy(OFFICIAL / "d-config-only.vma", other)
        make_old(other)
        result = self.in_place(other)
        self.assertEqual((result.returncode, result.stderr), (
            0, sentences.not_recovered(
                archive, f"the directory {self.dump} is not there: is its storage mounted?\n")))
        (self.dir / "away").rename(self.dump)
        result = self.in_place(other)
        self.assertEqual((result.returncode, result.stderr), (
            0, sentences.recovered(archive)))
        self.assertEqual(self.names(self.dump), ["a-one-disk.vma"])
        self.assert_recovered()

    def test_a_path_that_is_not_utf8(self):
        path = os.fsencode(self.dump) + b"/\xe4.vma"
        shutil.copy(OFFICIAL / "a-one-disk.vma", path)
        make_old(path)
        result = self.in_place(path)
        self.assertEqual((result.returncode, result.stderr), (
            1, f"vmactl: the path {self.dump}/\\xe4.vma is not UTF-8: rename it, or repack it to a new file\n"))

    def test_a_damaged_record_is_named(self):
        (self.state / "in-place").mkdir(parents=True)
        (self.state / "in-place/0123456789abcdef.json").write_text("{}")
        result = self.in_place(self.copy("a-one-disk.vma"))
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"{self.state}/in-place/0123456789abcdef.json is damaged: ", result.stderr)


class DamageTest(ProcessTest):
    def test_every_damaged_archive_is_refused_by_all_and_left_as_it_is(self):
        dump = self.dir / "dump"
        dump.mkdir()
        path = dump / "x.vma"
        for damage in support.damage_ids():
            with self.subTest(damage=damage):
                generate(path, "--damage", damage)
                make_old(path)
                digest = sha256(path)
                result = self.vmactl("verify", path)
                self.assertEqual((result.returncode, result.stderr), (6, ""))
                self.assertRegex(result.stdout, re.escape(f"{path}: ") + r"(invalid: at byte \d+|unsupported): .+\n\Z")
                # The others say the same of it.
                reason = re.sub(r"^.*?: (invalid|unsupported): ", "", result.stdout).rstrip("\n")
                for arguments in (("extract", path, dump / "out"), ("repack", path, dump / "y.vma"),
                                  ("repack", "--in-place", "--state-dir", self.dir / "state", path)):
                    self.assertEqual(self.refuse(6, *arguments), f"{path}: {reason}")
                self.assertIn(self.names(dump), (["x.vma"], ["out", "x.vma"]))
                if (dump / "out").exists():
                    self.assertEqual(self.names(dump / "out"), [])
                self.assertEqual(sha256(path), digest)


if __name__ == "__main__":
    unittest.main()
