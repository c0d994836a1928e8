"""vmactl create: archives out of disk images. What it writes is what repacking a dump of the same content gives, and
extracting it gives the images back.

Run as: VMAD_BUILD=builddir python3 test_create.py
"""

import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import unittest

from support import HANG_SECONDS, OFFICIAL, VMACTL, ProcessTest, generate, official_manifest, sha256, unnamed_file_size, wait_for

NOT_RESTORABLE = "vmactl: there is no qemu-server.conf: Proxmox VE cannot restore this archive\n"
MIB = 1 << 20


def write_sparse(path, size, pieces):
    """A file of holes, but for pieces: {offset: bytes}."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)
    return path


def why_no_loop_devices():
    if os.geteuid() != 0:
        return "only root can attach loop devices"
    if subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode != 0:
        return "there are no loop devices here"
    return None


class CreateTest(ProcessTest):
    def parts_of(self, archive):
        """The options of create that give the same archive."""
        parts = self.dir / "parts"
        shutil.rmtree(parts, ignore_errors=True)
        [extracted] = self.succeed_json("extract", archive, parts)
        [info] = self.succeed_json("info", archive)
        self.assertEqual(len(extracted["files"]), len(info["devices"]) + len(info["configs"]))
        options = ["--time", str(info["ctime"])]
        for config in info["configs"]:
            options += ["--config", f"{config['name']}={parts / config['name']}"]
        # In any order.
        for device in sorted(info["devices"], key=lambda device: device["size_bytes"]):
            options += ["--disk", f"{device['name']}={parts / ('disk-' + device['name'] + '.raw')}"]
        return options

    def create(self, *arguments):
        """Creates an archive that Proxmox VE may not be able to restore."""
        result = self.vmactl("create", *arguments)
        self.assertEqual(result.returncode, 0, result)
        return result

    def create_disk(self, name, image, *options):
        """The hash of an archive with this disk only."""
        result = self.create(self.dir / name, "--force", "--time", "1", "--disk", f"scsi0={image}", *options)
        self.assertEqual(result.stderr, NOT_RESTORABLE)
        return sha256(self.dir / name)


class LawTest(CreateTest):
    def assert_creates_what_repack_makes(self, archive, ending):
        options = self.parts_of(archive)
        made = self.dir / f"made{ending}"
        self.create(made, "--force", *options)
        self.succeed("repack", archive, self.dir / f"repacked{ending}", "--force")
        self.assertEqual(sha256(made), sha256(self.dir / f"repacked{ending}"))
        self.assertEqual(stat.S_IMODE(made.stat().st_mode), 0o600)
        first = {path.name: sha256(path) for path in (self.dir / "parts").iterdir()}
        self.parts_of(made)
        self.assertEqual({path.name: sha256(path) for path in (self.dir / "parts").iterdir()}, first)

    def test_official_samples(self):
        for number, name in enumerate(sorted(official_manifest())):
            with self.subTest(name=name):
                self.assert_creates_what_repack_makes(OFFICIAL / name, (".vma", ".vma.zst", ".vma.gz")[number % 3])

    def test_made_up_guests(self):
        for seed, disks in enumerate((("drive-scsi0=9M", "drive-scsi10=2097664", "drive-virtio1=512"),
                                      ("drive-tpmstate0-backup=4M", "odd name=3M", "drive-efidisk0=540672"))):
            archive = generate(self.dir / "x.vma", "--guest-seed", str(seed), "--shuffle",
                               *(word for disk in disks for word in ("--disk", disk)))
            for ending in (".vma", ".vma.zst"):
                self.assert_creates_what_repack_makes(archive, ending)

    @unittest.skipUnless(shutil.which("lzop"), "lzop is not installed")
    def test_lzo(self):
        options = self.parts_of(OFFICIAL / "b-two-disks-odd.vma")
        self.create(self.dir / "x.vma.lzo", *options)
        self.create(self.dir / "x.vma", *options)
        self.succeed("repack", self.dir / "x.vma.lzo", self.dir / "y.vma")
        self.assertEqual(sha256(self.dir / "x.vma"), sha256(self.dir / "y.vma"))

    def test_standard_output(self):
        options = self.parts_of(OFFICIAL / "c-three-disks-fw.vma")
        for form, ending in (((), ".vma"), (("--format", "zstd"), ".vma.zst"), (("--format", "gzip"), ".vma.gz")):
            self.create(self.dir / f"x{ending}", *options)
            with open(self.dir / "y", "wb") as file:
                result = subprocess.run([VMACTL, "create", "-", *form, *options], stdout=file, check=True,
                                        stderr=subprocess.DEVNULL, env=self.environment, timeout=HANG_SECONDS)
            self.assertEqual(result.returncode, 0)
            self.assertEqual(sha256(self.dir / "y"), sha256(self.dir / f"x{ending}"))

    def test_the_time(self):
        image = write_sparse(self.dir / "x.raw", MIB, {})
        self.environment["SOURCE_DATE_EPOCH"] = "1700000000"
        self.create(self.dir / "x.vma", "--disk", f"scsi0={image}")
        [info] = self.succeed_json("info", self.dir / "x.vma")
        self.assertEqual(info["ctime"], 1700000000)
        self.create(self.dir / "x.vma", "--force", "--time", "5", "--disk", f"scsi0={image}")
        [info] = self.succeed_json("info", self.dir / "x.vma")
        self.assertEqual(info["ctime"], 5)
        del self.environment["SOURCE_DATE_EPOCH"]
        self.create(self.dir / "x.vma", "--force", "--disk", f"scsi0={image}")
        [info] = self.succeed_json("info", self.dir / "x.vma")
        self.assertGreaterEqual(info["ctime"], int(image.stat().st_mtime))

    def test_what_it_says(self):
        archive = generate(self.dir / "x.vma", "--disk", "drive-scsi0=4M")
        options = self.parts_of(archive)
        self.assertRegex(self.succeed("create", self.dir / "y.vma", *options),
                         r"/y\.vma: [\d.]+ MiB → [\d.]+ MiB, verified, digest [0-9a-f]{32}\n\Z")
        self.assertIn(", not verified, ", self.succeed("create", self.dir / "y.vma", "--force", "--no-verify", *options))
        [told] = self.succeed_json("create", self.dir / "z.vma", *options)
        [verified] = self.succeed_json("verify", self.dir / "z.vma")
        self.assertEqual((told["destination"], told["disk_bytes"], told["verified"], told["digest"]),
                         (str(self.dir / "z.vma"), 4 * MIB, True, verified["digest"]))
        self.assertEqual((told["archive_bytes"] >= told["read_bytes"], told["result_bytes"]),
                         (True, (self.dir / "z.vma").stat().st_size))

    def test_what_proxmox_would_not_restore_is_warned_of(self):
        image = write_sparse(self.dir / "x.raw", MIB, {})
        conf = self.dir / "conf"
        conf.write_text("name: web\n#qmdump#map:scsi0:drive-scsi0:local:raw:\n")
        disk = ("--disk", f"scsi0={image}", "--config", f"qemu-server.conf={conf}", "--force")
        self.succeed("create", self.dir / "x.vma", *disk)
        self.assertEqual(self.create(self.dir / "x.vma", *disk, "--disk", f"virtio1={image}").stderr,
                         'vmactl: qemu-server.conf has no line "#qmdump#map:DISK:drive-virtio1:STORAGE:FORMAT:": '
                         "Proxmox VE cannot restore this archive\n")


class ImageTest(CreateTest):
    def test_holes_cost_nothing(self):
        image = write_sparse(self.dir / "x.raw", 64 << 30, {5: b"a", 40 << 30: os.urandom(MIB), (64 << 30) - 1: b"z"})
        [told] = [json.loads(self.create("--json", self.dir / "x.vma.zst", "--disk", f"scsi0={image}").stdout)]
        self.assertEqual(told["disk_bytes"], 64 << 30)
        self.assertLess(told["read_bytes"], 2 * MIB)
        self.assertLess(told["result_bytes"], 5 * MIB)
        self.assertEqual(self.vmactl("extract", "--device", "scsi0", self.dir / "x.vma.zst", self.dir / "out").returncode, 0)
        copy = self.dir / "out/disk-drive-scsi0.raw"
        self.assertEqual(copy.stat().st_size, 64 << 30)
        with open(image, "rb") as one, open(copy, "rb") as other:
            for offset in (0, 40 << 30, (64 << 30) - MIB):
                one.seek(offset)
                other.seek(offset)
                self.assertEqual(one.read(MIB), other.read(MIB))

    def test_names_of_any_characters(self):
        write_sparse(self.dir / "x.raw", MIB, {4096: b"x"})
        expected = self.create_disk("x.vma", self.dir / "x.raw")
        for name in ("a=b:c.raw", "qcow3:x", "raw:x", "sp ace\n\udcff"):
            shutil.copy(self.dir / "x.raw", self.dir / name)
            self.assertEqual(self.create_disk("y.vma", self.dir / name), expected)
        result = self.vmactl("create", "y.vma", "--force", "--time", "1", "--disk", "drive-scsi0=raw:raw:x", cwd=self.dir)
        self.assertEqual((result.returncode, sha256(self.dir / "y.vma")), (0, expected))

    def test_block_device(self):
        if why := why_no_loop_devices():
            self.skipTest(why)
        image = write_sparse(self.dir / "x.raw", 5 * MIB + 512, {4096: b"x" * 9000, 5 * MIB: b"end"})
        expected = self.create_disk("x.vma", image)
        device = subprocess.run(["losetup", "--find", "--show", "--read-only", image], check=True, text=True,
                                stdout=subprocess.PIPE).stdout.strip()
        try:
            self.assertEqual(self.create_disk("y.vma", device), expected)
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)

    def test_an_image_that_changes_meanwhile(self):
        image = self.dir / "x.raw"
        for change, message in (
                (lambda: os.truncate(image, MIB), f"{image} became shorter while it was read"),
                (lambda: os.truncate(image, 129 * MIB),
                 f"the size of {image} changed from {128 * MIB} to {129 * MIB} while it was read"),
                (lambda: os.utime(image, (1, 1)),
                 f"{image} was written to while it was read: stop the guest, or use a snapshot of its disk")):
            image.write_bytes(os.urandom(MIB) * 128)
            with subprocess.Popen([VMACTL, "create", "-", "--disk", f"scsi0={image}"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env=self.environment) as process:
                # It cannot be at the end as long as nobody reads on.
                process.stdout.read(MIB)
                change()
                _, told = process.communicate(timeout=HANG_SECONDS)
                self.assertEqual((process.returncode, told.decode()), (1, f"vmactl: {message}\n"))

    def test_refused(self):
        write_sparse(self.dir / "x.raw", MIB, {})
        (self.dir / "odd").write_bytes(b"x" * 1000)
        (self.dir / "empty").write_bytes(b"")
        (self.dir / "long").write_bytes(b"x" * 65536)
        (self.dir / "mine.vma").write_text("mine")
        shutil.copy(self.dir / "x.raw", self.dir / "disk.vma")
        os.mkfifo(self.dir / "fifo")
        disk = ("--disk", "scsi0=x.raw")
        names = self.names()
        for code, arguments, message in (
                (2, ("y.vma",), "nothing to put into the archive: give --disk or --config"),
                (2, ("y.vma", "--disk", "x.raw"), '--disk: write NAME=IMAGE or NAME=FORMAT:IMAGE, not "x.raw"'),
                (2, ("y.vma", "--disk", "scsi0="), '--disk: write NAME=IMAGE or NAME=FORMAT:IMAGE, not "scsi0="'),
                (2, ("y.vma", "--disk", "scsi0=qcow2:"),
                 '--disk: write NAME=IMAGE or NAME=FORMAT:IMAGE, not "scsi0=qcow2:"'),
                (2, ("y.vma", "--config", "=x"), '--config: write NAME=FILE, not "=x"'),
                (2, ("y.vma", "--disk", "scsi0=odd"),
                 'odd has 1000 bytes, which is not a multiple of 512: "truncate -s %512 FILE" pads it with zeros'),
                (2, ("y.vma", "--disk", "scsi0=empty"), "empty is empty: no disk has 0 bytes"),
                (2, ("y.vma", "--disk", "scsi0=fifo"), "fifo is neither a regular file nor a block device"),
                (2, ("y.vma", "--disk", "scsi0=."), ". is neither a regular file nor a block device"),
                (1, ("y.vma", "--disk", "scsi0=none"), "open none: No such file or directory"),
                (1, ("y.vma", "--config", "x=none"), "open none: No such file or directory"),
                (2, ("y.vma", "--config", "x=long"),
                 "long has more than 65535 bytes, the most that an archive holds of a config"),
                (2, ("y.vma", *disk, "--disk", "drive-scsi0=x.raw"), "two disks have the name drive-scsi0"),
                (2, ("y.vma", "--config", "x=empty", "--config", "x=empty"), "two configs have the name x"),
                (2, ("y.vma", "--disk", "a/b=x.raw"), '"a/b" cannot name a disk: it is not a valid file name'),
                (2, ("y.vma", "--config", "..=empty"), '".." cannot name a config: it is not a valid file name'),
                (2, ("y.vma", "--disk", "vmstate=x.raw"),
                 "a disk cannot be called vmstate: that is the guest's RAM in an archive"),
                (2, ("y.vma", *disk, "--time", "now"),
                 '--time or SOURCE_DATE_EPOCH is "now": write seconds since 1970, as "date +%s" prints'),
                (2, ("y.vma", *disk, "--format", "raw"),
                 "--format is for standard output; the ending of OUT tells the format of a file"),
                (2, ("y", *disk), "y does not tell its format: end the name in .vma, .vma.zst, .vma.gz or .vma.lzo"),
                (2, ("y.qcow2", *disk), 'y.qcow2: ".qcow2" is not a format that can be written: end the name in .vma, '
                                        ".vma.zst, .vma.gz or .vma.lzo"),
                (2, ("mine.vma", *disk), "./mine.vma exists; --force replaces it"),
                (2, ("disk.vma", "--force", "--disk", "scsi0=disk.vma"), "disk.vma is one of the images"),
                (1, ("none/y.vma", *disk), "open none: No such file or directory")):
            with self.subTest(arguments=arguments):
                self.assertEqual(self.refuse(code, "create", *arguments, cwd=self.dir), message)
        result = self.vmactl("create", "--json", "-", *disk, cwd=self.dir)
        self.assertEqual((result.returncode, json.loads(result.stderr)["error"]),
                         (2, "--json cannot be combined with an archive on standard output"))
        self.assertEqual(self.names(), names)
        self.assertEqual((self.dir / "mine.vma").read_text(), "mine")

    def test_a_full_disk(self):
        image = self.dir / "x.raw"
        image.write_bytes(os.urandom(MIB) * 4)
        with open("/dev/full", "w", encoding="ascii") as full:
            result = self.vmactl("create", "-", "--disk", f"scsi0={image}", stdout=full)
        self.assertEqual((result.returncode, result.stderr),
                         (1, "vmactl: write standard output: No space left on device\n"))


@unittest.skipUnless(shutil.which("qemu-img"), "qemu-img is not installed")
class QemuImageTest(CreateTest):
    def setUp(self):
        super().setUp()
        self.raw = write_sparse(self.dir / "x.raw", 5 * MIB, {0: b"a" * 70000, 3 * MIB + 77: b"b"})

    def convert(self, form, name, *options):
        subprocess.run(["qemu-img", "convert", "-O", form, *options, self.raw, self.dir / name], check=True)

    def test_every_format_gives_the_disk(self):
        expected = self.create_disk("x.vma", self.raw)
        for form in ("qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx"):
            self.convert(form, "image")
            self.assertEqual(self.create_disk("y.vma", f"{form}:{self.dir}/image"), expected, form)
        # That rounds the size up to its geometry.
        self.convert("vpc", "image", "-o", "force_size")
        self.assertEqual(self.create_disk("y.vma", f"vpc:{self.dir}/image"), expected)

    def test_names_of_any_characters_and_backing_files(self):
        expected = self.create_disk("x.vma", self.raw)
        (self.dir / "sub,x=y").mkdir()
        self.convert("qcow2", "sub,x=y/nbd:base,=", "-c")
        result = self.vmactl("create", "../y.vma", "--time", "1", "--disk", "scsi0=qcow2:nbd:base,=",
                             cwd=self.dir / "sub,x=y")
        self.assertEqual((result.returncode, sha256(self.dir / "y.vma")), (0, expected), result)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "x.raw", "top"], cwd=self.dir,
                       check=True)
        self.assertEqual(self.create_disk("y.vma", f"qcow2:{self.dir}/top"), expected)

    def test_the_format_is_never_guessed(self):
        """A guest can write whatever it likes to its disk."""
        self.convert("qcow2", "image")
        size = (self.dir / "image").stat().st_size
        self.create_disk("y.vma", self.dir / "image")
        [info] = self.succeed_json("info", self.dir / "y.vma")
        self.assertEqual(info["devices"][0]["size_bytes"], size)
        (self.dir / "y.vma").unlink()
        self.assertEqual(self.refuse(1, "create", self.dir / "y.vma", "--disk", f"scsi0=qcow2:{self.raw}"),
                         f"qemu-img: Could not open '{self.raw}': Image is not in qcow2 format")
        self.assertEqual(self.refuse(1, "create", self.dir / "y.vma", "--disk", f"scsi0=qcow2:{self.dir}/none"),
                         f"open {self.dir}/none: No such file or directory")
        self.assertEqual(self.names(), ["image", "x.raw"])

    def test_what_would_be_lost_is_refused(self):
        self.convert("qcow2", "image.vma")
        before = sha256(self.dir / "image.vma")
        self.assertEqual(self.refuse(2, "create", self.dir / "image.vma", "--force", "--disk",
                                     f"scsi0=qcow2:{self.dir}/image.vma"), f"{self.dir}/image.vma is one of the images")
        self.assertEqual(sha256(self.dir / "image.vma"), before)

    def test_an_image_that_changes_while_it_is_converted(self):
        self.convert("qcow2", "image")
        program = self.dir / "bin/qemu-img"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\n[ "$1" != convert ] || touch -d @1 "{self.dir}/image"\n'
                           f'exec "{shutil.which("qemu-img")}" "$@"\n')
        program.chmod(0o755)
        self.environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
        self.assertEqual(self.refuse(1, "create", self.dir / "y.vma", "--disk", f"scsi0=qcow2:{self.dir}/image"),
                         f"{self.dir}/image was written to while it was read: stop the guest, or use a snapshot of its "
                         "disk")
        self.assertEqual(self.names(), ["bin", "image", "x.raw"])

    def test_without_qemu_img(self):
        self.environment["PATH"] = str(self.dir)
        self.assertEqual(self.refuse(1, "create", self.dir / "y.vma", "--disk", f"scsi0=qcow2:{self.raw}"),
                         "qemu-img is needed for images that are not raw and is not installed: apt install qemu-utils")

    def test_a_kill_while_it_converts_leaves_nothing(self):
        """By a qemu-img that never ends."""
        program = self.dir / "bin/qemu-img"
        program.parent.mkdir()
        program.write_text('#!/bin/sh\n[ "$1" != info ] || { echo \'{"virtual-size": 1048576}\'; exit; }\n'
                           f'echo $$ > "{self.dir}/bin/pid.new"\nmv "{self.dir}/bin/pid.new" "{self.dir}/bin/pid"\n'
                           "exec sleep 1000\n")
        program.chmod(0o755)
        self.environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
        pid_file = self.dir / "bin/pid"
        for number in (signal.SIGKILL, signal.SIGTERM):
            process = self.start_vmactl("create", self.dir / "y.vma", "--disk", f"scsi0=qcow2:{self.raw}")
            wait_for(pid_file.exists)
            child = pathlib.Path("/proc") / pid_file.read_text().strip()
            process.send_signal(number)
            self.assertEqual(process.wait(HANG_SECONDS), -number if number == signal.SIGKILL else 128 + number)
            wait_for(lambda child=child: not child.exists() or "State:\tZ" in (child / "status").read_text())
            pid_file.unlink()
            self.assertEqual(self.names(), ["bin", "x.raw"])


class InterruptedTest(CreateTest):
    def test_a_kill_or_a_signal_leaves_the_old_file_and_nothing_else(self):
        with open(self.dir / "x.raw", "wb") as image:
            for _ in range(512):
                image.write(os.urandom(4096) * 256)
        (self.dir / "y.vma").write_text("mine")
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start_vmactl("create", self.dir / "y.vma", "--force", "--disk", f"scsi0={self.dir}/x.raw")
            wait_for(lambda process=process: unnamed_file_size(process))
            process.send_signal(number)
            self.assertEqual(process.wait(HANG_SECONDS), -number if number == signal.SIGKILL else 128 + number)
            self.assertEqual(self.names(), ["x.raw", "y.vma"])
            self.assertEqual((self.dir / "y.vma").read_text(), "mine")


if __name__ == "__main__":
    unittest.main()
