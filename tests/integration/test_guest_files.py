#!/usr/bin/env python3
"""vmactl ls and vmactl cp: files of a guest, as they are on its disks; and nothing else of what a disk can hold."""

import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import stat
import subprocess
import unittest

from archive_formats import SeekTable
from support import ProcessTest, generate, run_as_nobody, sha256

SECTOR = 512
MIB = 1 << 20
REGION = 2 * MIB


def without(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    return f"{missing[0]} is not installed" if missing else None


def why_no_loop():
    if os.geteuid() != 0:
        return "only root can set up loop devices"
    if missing := without("losetup", "pvcreate", "vgcfgrestore"):
        return missing
    result = subprocess.run(["losetup", "--find"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return None if result.returncode == 0 else "there are no loop devices here"


def run(*command, **options):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, **options)


def described(root, owners=True):
    """{path: all that a copy keeps} of a tree."""
    found, inodes = {}, {}
    for path in sorted(pathlib.Path(root).rglob("*")):
        name = str(path.relative_to(root))
        status = path.lstat()
        facts = [stat.S_IFMT(status.st_mode)]
        if not path.is_symlink():
            facts.append(stat.S_IMODE(status.st_mode) & (0o7777 if owners else 0o1777))
        if owners:
            facts += [status.st_uid, status.st_gid, status.st_rdev]
        facts.append(status.st_mtime_ns)
        if path.is_symlink():
            facts.append(os.readlink(path))
        elif path.is_file():
            facts += [sha256(path), inodes.setdefault(status.st_ino, name)]
        found[name] = facts
    return found


def ext_image(path, tree, size, *options):
    with path.open("wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-I", "256", *options, "-d", tree, path)
    return path


@unittest.skipIf(without("mkfs.ext4", "debugfs", "sfdisk"), "e2fsprogs or fdisk is not installed")
class GuestFilesTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.tree = self.dir / "tree"
        self.tree.mkdir()
        self.out = self.dir / "out"
        self.out.mkdir()

    def fill_tree(self):
        """One file of each kind, and what a system has."""
        for name in ("etc", "usr/bin", "srv/deep/er", "srv/many"):
            (self.tree / name).mkdir(parents=True)
        (self.tree / "etc/hostname").write_text("guest\n")
        os.link(self.tree / "etc/hostname", self.tree / "etc/other-name")
        (self.tree / "etc/empty").touch()
        (self.tree / "etc/secret").write_text("x" * 100)
        (self.tree / "etc/secret").chmod(0o400)
        (self.tree / "usr/bin/program").write_bytes(os.urandom(3 * MIB + 17))
        (self.tree / "usr/bin/program").chmod(0o755)
        (self.tree / "bin").symlink_to("usr/bin")
        (self.tree / "srv/far").symlink_to("/etc/" + "long/" * 30)
        (self.tree / "srv/absolute").symlink_to("/etc/hostname")
        (self.tree / "srv" / "na\u00efve \u2603").write_text("unicode\n")
        (pathlib.Path(os.fsdecode(os.fsencode(self.tree) + b"/srv/\xff\xfe"))).write_text("bytes\n")
        with (self.tree / "srv/sparse").open("wb") as file:
            for offset in (0, 5 * MIB, 9 * MIB + 1000):
                file.seek(offset)
                file.write(os.urandom(5000))
        for i in range(600):
            (self.tree / f"srv/many/{i:04}-{'n' * (i % 60)}").write_text(str(i))
        os.mkfifo(self.tree / "srv/fifo")
        self.set_times()

    def set_times(self):
        """Whole seconds: what mkfs.ext4 keeps."""
        for i, path in enumerate(sorted(self.tree.rglob("*"))):
            os.utime(path, ns=(0, 10**18 + i * 10**9), follow_symlinks=False)

    def archive(self, *disks, form="vma"):
        """Of these images; a .vma as vzdump writes it, a .vma.zst in canonical form."""
        options = [word for i, image in enumerate(disks) for word in ("--disk", f"drive-scsi{i}=@{image}")]
        raw = generate(self.dir / "guest.vma", *options)
        if form == "vma":
            return raw
        self.vmactl("repack", "--force", raw, self.dir / "guest.vma.zst")
        return self.dir / "guest.vma.zst"

    def assert_copied(self, archive, *options, owners=os.geteuid() == 0):
        """All of the guest is what the tree is."""
        self.succeed("cp", *options, *(["--owner"] if owners else []), f"{archive}:/", self.out)
        (self.out / "lost+found").rmdir()
        self.assertEqual(described(self.out, owners), described(self.tree, owners))

    def partitioned(self, script, **images):
        """A disk with these partitions, by the script of sfdisk; images by the number of the partition."""
        disk = self.dir / "disk"
        with disk.open("wb") as file:
            file.truncate(96 * MIB)
        run("sfdisk", "-q", disk, input=script)
        table = json.loads(subprocess.run(["sfdisk", "--json", disk], check=True, stdout=subprocess.PIPE).stdout)
        parts = {part["node"].removeprefix(str(disk)): part for part in table["partitiontable"]["partitions"]}
        with disk.open("r+b") as file:
            for number, image in images.items():
                file.seek(parts[number.lstrip("p")]["start"] * SECTOR)
                file.write(image.read_bytes())
        return disk


class CopyTest(GuestFilesTest):
    def test_a_copy_is_what_the_guest_has(self):
        self.fill_tree()
        if os.geteuid() == 0:
            os.mknod(self.tree / "srv/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            os.chown(self.tree / "etc/hostname", 70000, 33)
            (self.tree / "usr/bin/program").chmod(0o6755)
            self.set_times()
        for form, options in (("vma.zst", ("-O", "inline_data")), ("vma", ("-O", "^extents,^64bit,^metadata_csum"))):
            with self.subTest(form):
                image = ext_image(self.dir / "image", self.tree, 64 * MIB, *options)
                shutil.rmtree(self.out)
                self.out.mkdir()
                self.assert_copied(self.archive(image, form=form))

    def test_holes_stay_holes(self):
        with (self.tree / "sparse").open("wb") as file:
            file.truncate(1 << 40)
            file.seek(1 << 39)
            file.write(b"in the middle")
        archive = self.archive(ext_image(self.dir / "image", self.tree, 8 * MIB))
        self.succeed("cp", f"{archive}:/sparse", self.out)
        self.assertLess((self.out / "sparse").stat().st_blocks * SECTOR, MIB)
        with (self.out / "sparse").open("rb") as file:
            file.seek(1 << 39)
            self.assertEqual(file.read(13), b"in the middle")

    def test_where_a_copy_goes(self):
        (self.tree / "etc/a").mkdir(parents=True)
        (self.tree / "etc/a/file").write_text("content\n")
        (self.tree / "link").symlink_to("etc/a")
        archive = self.archive(ext_image(self.dir / "image", self.tree, 8 * MIB))
        for source, target, found in (
                ("/etc/a/file", "out", "out/file"), ("/etc/a/file", "new", "new"), ("/etc/a/", "out", "out/a/file"),
                ("/etc", "copy", "copy/a/file"), ("/link", "out", "out/link/file"), ("/link/../a/file", "n", "n")):
            self.succeed("cp", f"{archive}:{source}", self.dir / target)
            self.assertEqual((self.dir / found).read_text(), "content\n", source)
        self.assertEqual(self.succeed("cp", f"{archive}:/etc/a/file", "-"), "content\n")
        self.assertEqual(self.succeed_json("cp", f"{archive}:/etc/a/file", f"{archive}:/link/file", "--force", self.out),
                         [{"path": str(archive), "directory": str(self.out), "files": 2, "failed": 0}])

    def test_existing_files_stay(self):
        self.fill_tree()
        archive = self.archive(ext_image(self.dir / "image", self.tree, 64 * MIB))
        (self.out / "etc").mkdir(mode=0o711)
        (self.out / "etc/hostname").write_text("mine\n")
        elsewhere = self.dir / "elsewhere"
        elsewhere.mkdir()
        (self.out / "srv").symlink_to(elsewhere)
        (self.out / "usr").mkdir()
        (self.out / "usr/bin").write_text("no directory\n")
        result = self.vmactl("cp", *(f"{archive}:/{name}" for name in ("etc", "srv", "usr")), self.out)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(sorted(result.stderr.splitlines()),
                         [f"vmactl: create {self.out}/etc/hostname: File exists",
                          f"vmactl: open {self.out}/srv: Too many levels of symbolic links",
                          f"vmactl: open {self.out}/usr/bin: Not a directory"])
        self.assertEqual((self.out / "etc/hostname").read_text(), "mine\n")
        self.assertEqual((self.out / "etc").stat().st_mode & 0o777, 0o711)
        self.assertEqual(self.names(elsewhere), [])
        self.assertEqual(self.names(self.out / "etc"), ["empty", "hostname", "other-name", "secret"])
        self.succeed("cp", "--force", f"{archive}:/etc", self.out)
        self.assertEqual((self.out / "etc/hostname").read_text(), "guest\n")

    def test_without_owner_nothing_gives_rights(self):
        (self.tree / "suid").write_text("")
        (self.tree / "suid").chmod(0o7755)
        image = ext_image(self.dir / "image", self.tree, 8 * MIB)
        run("debugfs", "-w", "-R", "mknod sda b 8 0", image)
        archive = self.archive(image)
        result = self.vmactl("cp", f"{archive}:/suid", f"{archive}:/sda", self.out)
        self.assertEqual((result.returncode, result.stderr),
                         (1, f"vmactl: {self.out}/sda: device nodes are copied only with --owner\n"))
        self.assertEqual(self.names(self.out), ["suid"])
        self.assertEqual((self.out / "suid").stat().st_mode & 0o7777, 0o1755)

    def test_a_plain_user_can_copy(self):
        (self.tree / "file").write_text("content\n")
        archive = self.archive(ext_image(self.dir / "image", self.tree, 8 * MIB))
        self.dir.chmod(0o755)
        self.out.chmod(0o777)
        self.succeed("cp", f"{archive}:/file", self.out, **run_as_nobody())
        self.assertEqual((self.out / "file").read_text(), "content\n")

    @unittest.skipIf(os.geteuid() != 0, "only root can start a process beyond its own limit")
    def test_a_copy_needs_no_threads(self):
        (self.tree / "large").write_bytes(os.urandom(24 * MIB))
        archive = self.archive(ext_image(self.dir / "image", self.tree, 64 * MIB))
        self.succeed("cp", f"{archive}:/large", self.out,
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)))
        self.assertEqual(sha256(self.out / "large"), sha256(self.tree / "large"))

    def test_a_signal_ends_a_copy_whose_reader_hangs(self):
        (self.tree / "large").write_bytes(os.urandom(24 * MIB))
        archive = self.archive(ext_image(self.dir / "image", self.tree, 64 * MIB))
        process = self.start_vmactl("cp", f"{archive}:/large", self.out)
        children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (readers := children.read_text().split()):
            self.assertIsNone(process.poll())
        os.kill(int(readers[0]), signal.SIGSTOP)
        self.addCleanup(subprocess.run, ["kill", "-KILL", readers[0]], stderr=subprocess.DEVNULL, check=False)
        status = pathlib.Path(f"/proc/{process.pid}/status")
        while int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) >> signal.SIGTERM - 1 & 1 == 0:
            self.assertIsNone(process.poll())
        process.terminate()
        self.assertEqual(process.wait(timeout=60), 128 + signal.SIGTERM)
        self.assertFalse(pathlib.Path("/proc", readers[0]).exists())
        self.assertEqual(self.names(self.out), [])

    def test_a_full_disk_leaves_no_part(self):
        (self.tree / "large").write_bytes(os.urandom(3 * MIB))
        archive = self.archive(ext_image(self.dir / "image", self.tree, 8 * MIB))
        if os.geteuid() != 0:
            self.skipTest("only root can mount")
        run("mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", self.out)
        self.addCleanup(run, "umount", self.out)
        message = self.refuse(1, "cp", f"{archive}:/large", self.out)
        self.assertEqual(message, f"write {self.out}/large: No space left on device")
        self.assertEqual(self.names(self.out), [])


class HostileTest(GuestFilesTest):
    def image_with(self, *commands):
        (self.tree / "d").mkdir()
        (self.tree / "d/file").write_text("content\n")
        image = ext_image(self.dir / "image", self.tree, 8 * MIB, "-O", "^metadata_csum,^dir_index")
        for command in commands:
            run("debugfs", "-w", "-R", command, image)
        return image

    def renamed(self, image, old, new):
        """Changes a name in a directory, where debugfs would not."""
        data = image.read_bytes()
        self.assertEqual((data.count(old), len(old)), (1, len(new)))
        image.write_bytes(data.replace(old, new))
        return image

    def test_names_cannot_leave_the_target(self):
        image = self.image_with("write /dev/null xx-escape", "write /dev/null good")
        for name in (b"../escape", b"/./escape", b"xx\0escape"):
            with self.subTest(name):
                archive = self.archive(self.renamed(image, b"xx-escape", name))
                self.renamed(image, name, b"xx-escape")
                result = self.vmactl("cp", f"{archive}:/", self.out)
                self.assertEqual(result.returncode, 1)
                self.assertIn("is no name of a file", result.stderr)
                self.assertEqual(self.names(self.out), [])
                self.assertNotIn("escape", self.names())

    def test_a_link_in_the_tree_is_not_followed(self):
        """A directory and a link of one name: what is in the directory would land where the link points at."""
        elsewhere = self.dir / "elsewhere"
        elsewhere.mkdir()
        image = self.image_with(f"symlink xxlink {elsewhere}", "mkdir dir", "mkdir zz", "write /dev/null zz/evil")
        self.renamed(image, b"xxlink", b"zz\0\0\0\0")
        data = bytearray(image.read_bytes())
        at = data.index(b"zz\0\0\0\0")
        data[at - 2] = 2  # the length of the name
        image.write_bytes(data)
        result = self.vmactl("cp", f"{self.archive(image)}:/", self.out)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(self.names(elsewhere), [])

    def test_a_loop_of_directories_ends(self):
        image = self.image_with("link d d/loop")
        result = self.vmactl("cp", f"{self.archive(image)}:/", self.out)
        self.assertEqual((result.returncode, result.stderr),
                         (1, "vmactl: /d/loop: the file system is damaged: a directory has two names\n"))
        self.assertEqual((self.out / "d/file").read_text(), "content\n")

    def test_control_characters_do_not_reach_the_terminal(self):
        image = self.renamed(self.image_with("write /dev/null xxx2J"), b"xxx2J", b"\x1b[x2J")
        archive = self.archive(image)
        self.assertIn("\\x1b[x2J", self.succeed("ls", f"{archive}:/"))

    def test_random_damage_gives_errors_only(self):
        """Of the parts that are parsed: no crash, no hang, at most an error for each file."""
        self.fill_tree()
        archive = self.archive(ext_image(self.dir / "image", self.tree, 16 * MIB, "-O", "^metadata_csum"))
        good = archive.read_bytes()
        numbers = random.Random(5)
        for _ in range(8):
            data = bytearray(good)
            for _ in range(60):
                # The raw archive has no checksums of its content.
                data[numbers.randrange(64 << 10, len(data))] = numbers.randrange(256)
            archive.write_bytes(data)
            shutil.rmtree(self.out)
            self.out.mkdir()
            for arguments in (("ls", archive), ("ls", f"{archive}:/"), ("cp", f"{archive}:/", self.out)):
                result = self.vmactl(*arguments)
                self.assertIn(result.returncode, (0, 1, 2, 6), result.stderr[-1000:])
                self.assertNotIn("signal", result.stderr)


class DamagedArchiveTest(GuestFilesTest):
    def test_a_damaged_region_fails_its_files_only(self):
        for name in "abc":
            (self.tree / name).write_bytes(os.urandom(4 * MIB))
        archive = self.archive(ext_image(self.dir / "image", self.tree, 32 * MIB), form="vma.zst")
        data = bytearray(archive.read_bytes())
        table = SeekTable(data)
        # The frame with a block in the middle of "b".
        block = (self.tree / "b").read_bytes()[2 * MIB:2 * MIB + 4096]
        for i, (stored, content, _) in enumerate(table.entries):
            offset = table.frame_offset(i)
            frame = subprocess.run(["zstd", "-dcq"], input=data[offset:offset + stored], stdout=subprocess.PIPE,
                                   check=False).stdout
            if block in frame:
                data[offset + stored // 2] ^= 1
        archive.write_bytes(data)
        result = self.vmactl("cp", *(f"{archive}:/{name}" for name in "abc"), self.out)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\Avmactl: /b: drive-scsi0: bytes \d+ to \d+ are damaged in the archive\n\Z")
        self.assertEqual(self.names(self.out), ["a", "c"])
        for name in "ac":
            self.assertEqual((self.out / name).read_bytes(), (self.tree / name).read_bytes())

    def test_an_archive_that_is_to_be_repacked_first(self):
        (self.tree / "file").write_text("content\n")
        archive = self.archive(ext_image(self.dir / "image", self.tree, 8 * MIB))
        run("zstd", "-q", archive)
        message = self.refuse(6, "ls", f"{archive}.zst:/")
        self.assertIn("vmactl repack", message)

    def test_a_path_without_a_slash(self):
        message = self.refuse(2, "ls", "backup.vma.zst:etc")
        self.assertEqual(message, "backup.vma.zst:etc: a path in the guest begins with a slash: backup.vma.zst:/etc")


class VolumeTest(GuestFilesTest):
    def test_partitions(self):
        self.fill_tree()
        root = ext_image(self.dir / "image", self.tree, 48 * MIB)
        empty = self.dir / "empty"
        empty.mkdir()
        boot = ext_image(self.dir / "boot-image", empty, 8 * MIB, "-L", "boot")
        disk = self.partitioned("label: gpt\nsize=8MiB\nsize=8MiB,type=linux\nsize=48MiB,type=linux\n", p2=boot, p3=root)
        archive = self.archive(disk)
        self.assertEqual([(line["volume"], line["file_system"], line["label"], line["readable"])
                          for line in self.succeed_json("ls", archive)],
                         [("scsi0/p1", "", "", False), ("scsi0/p2", "ext4", "boot", True),
                          ("scsi0/p3", "ext4", "", True)])
        self.assert_copied(archive)
        self.assertEqual([line["name"] for line in self.succeed_json("ls", "--volume", "scsi0/p2", archive)],
                         ["lost+found"])
        self.assertEqual(self.refuse(2, "ls", "--volume", "scsi0/p9", f"{archive}:/"),
                         "no volume scsi0/p9; there are: scsi0/p1, scsi0/p2 (ext4), scsi0/p3 (ext4)")

    def test_two_systems_want_a_name(self):
        for name in ("etc", "usr"):
            (self.tree / name).mkdir()
        image = ext_image(self.dir / "image", self.tree, 8 * MIB)
        archive = self.archive(image, image)
        self.assertEqual(self.refuse(2, "ls", f"{archive}:/etc"),
                         "several volumes hold a system; name one with --volume: scsi0 (ext4), scsi1 (ext4)")
        self.assertEqual(self.succeed("ls", "--volume", "scsi1", f"{archive}:/etc"), "")

    def test_logical_partitions_of_an_mbr(self):
        self.fill_tree()
        root = ext_image(self.dir / "image", self.tree, 48 * MIB)
        script = "label: dos\nsize=4MiB\n,,Ex\nsize=4MiB\nsize=48MiB\n"
        self.assert_copied(self.archive(self.partitioned(script, p6=root)))

    @unittest.skipIf(without("mkfs.vfat"), "dosfstools is not installed")
    def test_a_file_system_that_cannot_be_read(self):
        image = self.dir / "image"
        with image.open("wb") as file:
            file.truncate(16 * MIB)
        run("mkfs.vfat", image)
        self.assertEqual(self.refuse(6, "ls", f"{self.archive(image)}:/"),
                         f'{self.dir}/guest.vma: scsi0: vmactl cannot read vfat; use "vmactl mount", and '
                         "guestmount(1) on its disks")

    @unittest.skipIf(without("mkfs.ntfs", "ntfscp"), "ntfs-3g is not installed")
    def test_ntfs(self):
        image = self.dir / "image"
        with image.open("wb") as file:
            file.truncate(16 * MIB)
        run("mkfs.ntfs", "-F", "-q", image)
        content = os.urandom(2 * MIB + 5)
        (self.dir / "file").write_bytes(content)
        run("ntfscp", image, self.dir / "file", "na\u00efve \u2603.bin")
        (self.dir / "small").write_text("resident\n")
        run("ntfscp", image, self.dir / "small", "Small.txt")
        archive = self.archive(image)
        self.assertEqual([(line["name"], line["type"], line["size_bytes"])
                          for line in self.succeed_json("ls", f"{archive}:/")],
                         [("Small.txt", "file", 9), ("na\u00efve \u2603.bin", "file", len(content))])
        self.succeed("cp", f"{archive}:/", self.out)
        self.assertEqual((self.out / "na\u00efve \u2603.bin").read_bytes(), content)
        self.assertEqual(self.succeed("cp", f"{archive}:/small.TXT", "-"), "resident\n")

    def test_a_file_system_in_use_has_a_warning(self):
        (self.tree / "file").write_text("content\n")
        image = ext_image(self.dir / "image", self.tree, 8 * MIB)
        run("debugfs", "-w", "-R", "feature needs_recovery", image)
        result = self.vmactl("cp", f"{self.archive(image)}:/file", "-")
        self.assertEqual((result.returncode, result.stdout), (0, "content\n"))
        self.assertRegex(result.stderr, r"\Avmactl: the file system was in use, and its journal is not replayed: .*\n\Z")


LVM = """
contents = "Text Format Volume Group"
version = 1
vg {{
    id = "a1hUmQ-8v1c-0mNx-hxfH-nEQN-aJNd-VrnAQx"
    seqno = 7
    format = "lvm2"
    status = ["RESIZEABLE", "READ", "WRITE"]
    flags = []
    extent_size = 8192
    max_lv = 0
    max_pv = 0
    metadata_copies = 0
    physical_volumes {{
        pv0 {{
            id = "7OeBmu-d2Qd-lpgw-vaUQ-gctJ-IAdZ-e6icbL"
            device = "{0}"
            status = ["ALLOCATABLE"]
            flags = []
            dev_size = 131072
            pe_start = 2048
            pe_count = 15
        }}
        pv1 {{
            id = "yRKGMn-ua2S-BTFF-wAqV-RYVe-E3rs-g3gNkq"
            device = "{1}"
            status = ["ALLOCATABLE"]
            flags = []
            dev_size = 131072
            pe_start = 2048
            pe_count = 15
        }}
    }}
    logical_volumes {{
        root {{
            id = "cccccc-8v1c-0mNx-hxfH-nEQN-aJNd-VrnAQx"
            status = ["READ", "WRITE", "VISIBLE"]
            flags = []
            segment_count = 2
            segment1 {{
                start_extent = 0
                extent_count = 5
                type = "striped"
                stripe_count = 1
                stripes = [ "pv1", 3 ]
            }}
            segment2 {{
                start_extent = 5
                extent_count = 6
                type = "striped"
                stripe_count = 2
                stripe_size = 128
                stripes = [ "pv0", 2, "pv1", 0 ]
            }}
        }}
        mirrored {{
            id = "dddddd-8v1c-0mNx-hxfH-nEQN-aJNd-VrnAQx"
            status = ["READ", "WRITE", "VISIBLE"]
            flags = []
            segment_count = 1
            segment1 {{
                start_extent = 0
                extent_count = 1
                type = "mirror"
                mirror_count = 2
                region_size = 1024
                mirrors = [ "pv0", 10, "pv1", 10 ]
            }}
        }}
    }}
}}
"""
EXTENT = 4 * MIB
STRIPE = 64 << 10


@unittest.skipIf(why_no_loop(), why_no_loop())
class LogicalVolumeTest(GuestFilesTest):
    def physical_volumes(self):
        """Two, with metadata that LVM itself wrote."""
        images = [self.dir / f"pv{i}" for i in range(2)]
        loops = []
        for image in images:
            with image.open("wb") as file:
                file.truncate(64 * MIB)
            loops.append(subprocess.run(["losetup", "--find", "--show", image], check=True, text=True,
                                        stdout=subprocess.PIPE).stdout.strip())
            self.addCleanup(subprocess.run, ["losetup", "--detach", loops[-1]], check=False, stderr=subprocess.DEVNULL)
        text = self.dir / "metadata"
        text.write_text(LVM.format(*loops))
        (self.dir / "lvm").mkdir()
        options = {"env": {**os.environ, "LVM_SYSTEM_DIR": str(self.dir / "lvm")}}
        for loop, uuid in zip(loops, ("7OeBmu-d2Qd-lpgw-vaUQ-gctJ-IAdZ-e6icbL", "yRKGMn-ua2S-BTFF-wAqV-RYVe-E3rs-g3gNkq")):
            run("pvcreate", "--uuid", uuid, "--restorefile", text, loop, **options)
        run("vgcfgrestore", "-f", text, "vg", **options)
        for loop in loops:
            run("losetup", "--detach", loop)
        return images

    def write_root(self, images, content):
        """As the kernel would, by the two segments of root."""
        disks = [bytearray(image.read_bytes()) for image in images]
        start = 2048 * SECTOR
        disks[1][start + 3 * EXTENT:start + 8 * EXTENT] = content[:5 * EXTENT]
        for i in range(6 * EXTENT // STRIPE):
            disk, first = ((0, 2), (1, 0))[i % 2]
            to = start + first * EXTENT + i // 2 * STRIPE
            disks[disk][to:to + STRIPE] = content[5 * EXTENT + i * STRIPE:][:STRIPE]
        for image, disk in zip(images, disks):
            image.write_bytes(disk)

    def test_linear_and_striped_segments_over_two_disks(self):
        self.fill_tree()
        for i in range(7):  # all over the volume
            (self.tree / f"srv/{i}").write_bytes(os.urandom(4 * MIB))
        self.set_times()
        images = self.physical_volumes()
        self.write_root(images, ext_image(self.dir / "image", self.tree, 11 * EXTENT, "-m", "0", "-O", "^has_journal").read_bytes())
        archive = self.archive(*images)
        self.assertEqual([(line["volume"], line["file_system"], line.get("problem"))
                          for line in self.succeed_json("ls", archive)],
                         [("scsi0", "LVM2_member", None), ("scsi1", "LVM2_member", None),
                          ("vg/mirrored", "", "vmactl cannot read LVM's mirror"), ("vg/root", "ext4", None)])
        self.assert_copied(archive)
        # One of the disks alone.
        self.assertEqual([(line["volume"], line.get("problem")) for line in
                          self.succeed_json("ls", self.archive(images[0]))][1:],
                         [("vg/mirrored", "vmactl cannot read LVM's mirror"),
                          ("vg/root", "one of its physical volumes is missing")])


if __name__ == "__main__":
    unittest.main()
