"""vmactl config: shows the configs of an archive, and replaces them. The result is what repacking a dump with the new
configs gives.

Run as: VMAD_BUILD=builddir python3 test_config.py
"""

import os
import shutil
import signal
import stat
import subprocess
import unittest

from support import (HANG_SECONDS, OFFICIAL, VMACTL, ProcessTest, generate, make_old, official_manifest, sha256,
                     unnamed_file_size, wait_for)

LARGE = ("--disk", "drive-scsi0=1G", "--shuffle")


class ShowTest(ProcessTest):
    def test_official_samples(self):
        for name, expected in official_manifest().items():
            archive = OFFICIAL / name
            names = [config["name"] for config in expected["configs"]]
            self.assertEqual(self.succeed("config", archive), "".join(f"{name}\n" for name in names))
            self.assertEqual(self.succeed_json("config", archive),
                             [{"configs": [{"name": config["name"], "size_bytes": config["size"]}
                                           for config in expected["configs"]]}])
            self.succeed("extract", archive, self.dir / "out", "--force")
            for config in names:
                data = (self.dir / "out" / config).read_text()
                self.assertEqual(self.succeed("config", archive, config), data)
                self.assertEqual(self.succeed_json("config", archive, config), [{"name": config, "data": data}])

    def test_bytes_are_printed_as_they_are_but_not_on_a_terminal(self):
        (self.dir / "conf").write_bytes(b"a\x1b[2J\n\xff\r\n\nend")
        archive = generate(self.dir / "x.vma", "--disk", "drive-scsi0=4K", "--config", f"x={self.dir}/conf")
        shown = subprocess.run([VMACTL, "config", archive, "x"], stdout=subprocess.PIPE, check=True, env=self.environment)
        self.assertEqual(shown.stdout, b"a\x1b[2J\n\xff\r\n\nend")
        code, output = self.vmactl_on_terminal("config", archive, "x")
        self.assertEqual((code, output), (0, "a\\x1b[2J\r\n\\xff\\x0d\r\n\r\nend\r\n"))

    def test_standard_input(self):
        with open(OFFICIAL / "a-one-disk.vma", "rb") as file:
            result = subprocess.run([VMACTL, "config", "-"], stdin=file, capture_output=True, check=True,
                                    env=self.environment)
        self.assertEqual((result.stdout, result.stderr), (b"qemu-server.conf\n", b""))

    def test_mistakes(self):
        archive = OFFICIAL / "c-three-disks-fw.vma"
        (self.dir / "junk").write_bytes(b"junk" * 5000)
        shutil.copy(archive, self.dir / "mine.vma")
        for code, arguments, message in (
                (1, (archive, "x"), "the archive has no config x; it has qemu-server.conf, qemu-server.fw"),
                (6, ("junk",), "junk: at byte 0: not a VMA archive: bad magic"),
                (1, ("none",), "open none: No such file or directory"),
                (2, (archive, "x", "--set", "x=junk"), 'unexpected operand "x" beside --set or --remove'),
                (2, (archive, "--set", "x"), '--set: write NAME=FILE, not "x"'),
                (1, (archive, "--set", "x=none"), "open none: No such file or directory"),
                (2, (archive, "--set", "a/b=junk"), '"a/b" cannot name a config: it is not a valid file name'),
                (2, (archive, "--set", "x=junk", "--set", "x=junk"), "two configs have the name x"),
                (2, (archive, "--set", "x=mine.vma"),
                 "mine.vma has more than 65535 bytes, the most that an archive holds of a config"),
                (2, (archive, "--output", "y.vma"),
                 '--output needs --set or --remove; "vmactl repack" makes a copy'),
                (2, ("-", "--set", "x=junk"), "standard input cannot be replaced; write to a file with --output"),
                (2, ("mine.vma", "--remove", "x", "--output", "y.vma"),
                 "the archive has no config x; it has qemu-server.conf, qemu-server.fw"),
                (2, ("mine.vma", "--set", "x=junk", "--output", "mine.vma"),
                 "./mine.vma is the source itself; leave out --output to replace it"),
                (2, (archive, "--set", "x=junk", "--output", "mine.vma"), "./mine.vma exists; --force replaces it")):
            with self.subTest(arguments=arguments):
                if arguments[0] == archive and "--set" in arguments and "mine.vma" not in arguments:
                    arguments = (*arguments, "--state-dir", self.dir / "state")
                said = self.refuse(code, "config", *arguments, cwd=self.dir)
                self.assertEqual(said.removeprefix(f"{archive}: "), message)
        self.assertEqual(sha256(self.dir / "mine.vma"), sha256(archive))


class SetTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.dump = self.dir / "dump"
        self.dump.mkdir()
        self.conf = self.dir / "new.conf"
        self.conf.write_text("name: renamed\n" * 100)

    def config(self, *arguments, **options):
        return self.vmactl("config", "--state-dir", self.dir / "state", *arguments, **options)

    def expected(self, archive, configs, ending):
        """The hash of an archive that create makes of the same disks and time, and these configs: (name, path)."""
        shutil.rmtree(self.dir / "parts", ignore_errors=True)
        self.succeed("extract", archive, self.dir / "parts")
        [info] = self.succeed_json("info", archive)
        made = self.dir / f"made{ending}"
        words = ["--force", "--time", str(info["ctime"])]
        for name, path in configs:
            words += ["--config", f"{name}={path}"]
        for device in info["devices"]:
            words += ["--disk", f"{device['name']}={self.dir}/parts/disk-{device['name']}.raw"]
        self.assertEqual(self.vmactl("create", made, *words).returncode, 0)
        return sha256(made)

    def put(self, source, ending, canonical):
        path = self.dump / f"x{ending}"
        if canonical or ending != ".vma":
            self.succeed("repack", source, path, "--force")
        else:
            shutil.copy(source, path)
        make_old(path)
        path.chmod(0o640)
        return path

    def test_the_result_is_what_create_makes(self):
        source = OFFICIAL / "c-three-disks-fw.vma"
        long = self.dir / "long.conf"
        long.write_bytes(b"x" * 65535)
        parts = self.dir / "parts"
        for edits, configs in (
                ((("--set", f"qemu-server.conf={self.conf}"),),
                 (("qemu-server.conf", self.conf), ("qemu-server.fw", parts / "qemu-server.fw"))),
                ((("--remove", "qemu-server.conf"), ("--set", f"new={long}")),
                 (("qemu-server.fw", parts / "qemu-server.fw"), ("new", long)))):
            for ending, canonical in ((".vma", False), (".vma", True), (".vma.zst", True), (".vma.gz", True)):
                with self.subTest(edits=edits, ending=ending, canonical=canonical):
                    path = self.put(source, ending, canonical)
                    expected = self.expected(path, configs, ending)
                    before = path.stat()
                    words = [word for edit in edits for word in edit]
                    result = self.vmactl("config", path, *words, "--output", self.dump / f"y{ending}")
                    self.assertEqual((result.returncode, result.stderr), (0, ""))
                    self.assertRegex(result.stdout, rf"/y{ending}: [\d.]+ [KM]iB, verified, digest [0-9a-f]{{32}}\n\Z")
                    self.assertEqual(sha256(self.dump / f"y{ending}"), expected)
                    (self.dump / f"y{ending}").unlink()
                    result = self.config(path, *words)
                    self.assertEqual((result.returncode, result.stderr), (0, ""))
                    self.assertRegex(result.stdout, rf"/x{ending}: done, .*, verified\n\Z")
                    self.assertEqual(sha256(path), expected)
                    after = path.stat()
                    self.assertEqual((stat.S_IMODE(after.st_mode), after.st_uid), (0o640, before.st_uid))
                    self.assertLess(after.st_mtime, before.st_mtime + 2)
                    self.assertEqual(self.names(self.dump), [path.name])
                    self.assertIn("valid, canonical", self.succeed("verify", path))
                    path.unlink()

    def test_the_disks_stay(self):
        archive = self.put(generate(self.dir / "x.vma", "--random-guest", "--guest-seed", "3"), ".vma.zst", True)
        disks = {device["name"]: device["size_bytes"] for device in self.succeed_json("info", archive)[0]["devices"]}
        [before] = self.succeed_json("verify", archive)
        self.assertEqual(self.config(archive, "--set", f"new={self.conf}").returncode, 0)
        [changed] = self.succeed_json("verify", archive)
        self.assertNotEqual(before["digest"], changed["digest"])
        self.assertEqual({device["name"]: device["size_bytes"] for device in self.succeed_json("info", archive)[0]["devices"]},
                         disks)
        make_old(archive)
        self.assertEqual(self.config(archive, "--remove", "new").returncode, 0)
        [after] = self.succeed_json("verify", archive)
        self.assertEqual(before["digest"], after["digest"])

    def test_nothing_to_change(self):
        path = self.put(OFFICIAL / "a-one-disk.vma", ".vma.zst", True)
        before = path.stat()
        same = self.dir / "same.conf"
        same.write_text(self.succeed("config", path, "qemu-server.conf"))
        result = self.config(path, "--set", f"qemu-server.conf={same}")
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, f"{path}: unchanged\n", ""))
        after = path.stat()
        self.assertEqual((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns))
        result = self.config(path, "--remove", "none")
        self.assertEqual((result.returncode, result.stderr),
                         (2, f"vmactl: {path}: the archive has no config none; it has qemu-server.conf\n"))

    def test_from_a_pipe(self):
        path = self.put(OFFICIAL / "a-one-disk.vma", ".vma", True)
        result = subprocess.run([VMACTL, "config", "--state-dir", self.dir / "state", path, "--set",
                                 "qemu-server.conf=/dev/stdin"], input=b"name: piped\n", env=self.environment,
                                capture_output=True, timeout=HANG_SECONDS, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(self.succeed("config", path, "qemu-server.conf"), "name: piped\n")

    def test_damage_is_not_published(self):
        path = self.put(OFFICIAL / "b-two-disks-odd.vma", ".vma.zst", True)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        make_old(path)
        result = self.config(path, "--set", f"qemu-server.conf={self.conf}")
        self.assertEqual((result.returncode, result.stdout), (6, ""))
        self.assertEqual(path.read_bytes(), bytes(data))
        self.assertEqual(self.names(self.dump), [path.name])

    def test_a_kill_or_a_signal_leaves_the_old_archive_and_nothing_else(self):
        archive = generate(self.dump / "x.vma", *LARGE)
        make_old(archive)
        before = archive.stat()
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start_vmactl("config", "--state-dir", self.dir / "state", archive, "--set",
                                        f"qemu-server.conf={self.conf}")
            wait_for(lambda process=process: unnamed_file_size(process))
            process.send_signal(number)
            self.assertEqual(process.wait(HANG_SECONDS), -number if number == signal.SIGKILL else 128 + number)
            after = archive.stat()
            self.assertEqual((after.st_ino, after.st_size, after.st_mtime_ns),
                             (before.st_ino, before.st_size, before.st_mtime_ns))
            self.assertEqual(self.names(self.dump), ["x.vma"])
        result = self.config(archive, "--set", f"qemu-server.conf={self.conf}")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(self.names(self.dump), ["x.vma"])
        self.assertEqual(os.listdir(self.dir / "state/in-place"), [])
        self.assertEqual(self.succeed("config", archive, "qemu-server.conf"), self.conf.read_text())


def why_no_xfs():
    if os.geteuid() != 0:
        return "only root can mount"
    if not shutil.which("mkfs.xfs"):
        return "xfsprogs is not installed"
    if subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode != 0:
        return "there are no loop devices here"
    return None


class SharedTest(ProcessTest):
    def test_the_disks_share_their_space_with_the_old_archive(self):
        if why := why_no_xfs():
            self.skipTest(why)
        image, mounted = self.dir / "image", self.dir / "mounted"
        mounted.mkdir()
        with open(image, "wb") as file:
            file.truncate(512 << 20)
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, mounted], capture_output=True, check=False).returncode != 0:
            self.skipTest("XFS cannot be mounted here")
        try:
            source = generate(self.dir / "x.vma", "--disk", "drive-scsi0=64M", "--zero-fraction", "0")
            (self.dir / "conf").write_text("name: renamed\n")
            for ending in (".vma", ".vma.zst"):
                self.succeed("repack", source, mounted / f"x{ending}")
                os.sync()
                before = os.statvfs(mounted).f_bfree
                self.succeed("config", mounted / f"x{ending}", "--set", f"qemu-server.conf={self.dir}/conf",
                             "--output", mounted / f"y{ending}")
                os.sync()
                taken = (before - os.statvfs(mounted).f_bfree) * os.statvfs(mounted).f_frsize
                self.assertLess(taken, 1 << 20)
                self.assertGreater((mounted / f"y{ending}").stat().st_blocks * 512, 16 << 20)
        finally:
            subprocess.run(["umount", mounted], check=True)


if __name__ == "__main__":
    unittest.main()
