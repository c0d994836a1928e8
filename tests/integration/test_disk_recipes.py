"""README's recipes for what is in a backup, as text taken from there: files by loop devices, boots, other formats."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

from support import HANG_SECONDS, SOURCE, VMACTL, ProcessTest, generate, sha256

ARCHIVE = "local:backup/vzdump-qemu-100-2026_01_31-02_00_00.vma.zst"
MIB = 1 << 20
SECTOR = 512
FSTAB = "/dev/sda1 / auto defaults 0 1\n"


def without(*programs):
    return next((f"{name} is not installed" for name in programs if not shutil.which(name)), None)


def needs(*programs):
    return unittest.skipIf(without(*programs), without(*programs))


def no_kernel_has(file_system):
    names = pathlib.Path("/proc/filesystems").read_text().split()
    return None if file_system in names else f"the kernel here has no {file_system}"


def no_loop_devices():
    if os.geteuid() != 0:
        return "only root can mount"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse here"
    result = subprocess.run(["losetup", "--find"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return None if result.returncode == 0 else "there are no loop devices here"


def section():
    text = (SOURCE / "README.md").read_text()
    return re.search(r"^## Files, disks and boots from a backup\n(.*?)^## ", text, re.M | re.S)[1]


def block(word):
    """The indented lines of which one begins with a word."""
    [found] = [text for text in re.findall(r"(?:^    .*\n)+", section(), re.M) if f"\n    {word}" in f"\n{text}"]
    return found


def inline(beginning):
    """What stands in backquotes and begins so, in one line."""
    [found] = re.findall(rf"`({beginning}[^`]*)`", section())
    return " ".join(found.split())


class DiskRecipeTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.at, self.guest = self.dir / "backup", self.dir / "guest"
        self.at.mkdir()
        self.guest.mkdir()
        self.addCleanup(self.clean_up)

    def clean_up(self):
        for path in (self.guest, self.at):
            if os.path.ismount(path):
                subprocess.run(["umount", "--lazy", path], check=False)

    def archive(self, disk):
        """A canonical archive of a disk."""
        path = self.dir / "archive.vma.zst"
        self.succeed("repack", generate(self.dir / "dumped.vma", "--disk", f"drive-scsi0=@{disk}"), path)
        self.before = sha256(path)
        return path

    def run_recipe(self, text, archive, *replacements):
        """Runs it with the test's own places and programs. Returns its output; it leaves no mount and no change."""
        for old, new in ((ARCHIVE, archive), *replacements):
            self.assertIn(old, text)
            text = text.replace(old, str(new))
        text = re.sub(r"^    |(?<=&& )(?=vmactl )", "", text, flags=re.M).replace("vmactl ", f"{VMACTL} ")
        command = ["timeout", str(HANG_SECONDS), "bash", "-euxc", text]
        result = subprocess.run(command, cwd=self.dir, env=self.environment,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        self.assertEqual(result.returncode, 0, result)
        self.assertFalse(os.path.ismount(self.at) or os.path.ismount(self.guest))
        self.assertEqual(sha256(archive), self.before)
        return result.stdout.decode()


@unittest.skipIf(no_loop_devices(), no_loop_devices())
class FileTest(DiskRecipeTest):
    def disk(self, size_bytes, *command):
        """A partition of this size, made into a file system, in a disk with a table."""
        part, disk = self.dir / "part", self.dir / "disk"
        for path, size in ((part, size_bytes), (disk, size_bytes + 2 * MIB)):
            with path.open("wb") as file:
                file.truncate(size)
        subprocess.run([*command, part], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run(["sfdisk", "--quiet", disk], input=f"label: gpt\nstart=2048, size={size_bytes // SECTOR}\n",
                       text=True, check=True)
        subprocess.run(["dd", f"if={part}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"],
                       check=True)
        return disk

    def tree(self):
        tree = self.dir / "tree"
        (tree / "etc").mkdir(parents=True)
        (tree / "etc/fstab").write_text(FSTAB)
        return tree

    def assert_copied(self, disk, line=None):
        """The recipe, with another way to mount, gets the file."""
        text = block("mount -o ro,norecovery")
        if line:
            text = re.sub(r'^    mount .*$', lambda _: "    " + line, text, count=1, flags=re.M)
        replacements = [("/mnt/backup", self.at), ("/mnt/guest", self.guest)]
        if not self.has_partitions(disk):
            # A kernel that knows no partitions, or a container without udev.
            replacements += [("losetup -rP", f"losetup -r --offset {MIB}"), ('"${loop}p1"', '"$loop"')]
        self.run_recipe(text, self.archive(disk), *replacements)
        self.assertEqual((self.dir / "fstab").read_text(), FSTAB)

    def has_partitions(self, disk):
        loop = subprocess.run(["losetup", "-rP", "--find", "--show", disk], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()
        try:
            return os.path.exists(f"{loop}p1")
        finally:
            subprocess.run(["losetup", "--detach", loop], check=True)

    @needs("mkfs.ext4", "sfdisk")
    def test_without_a_mount(self):
        disk = self.disk(8 * MIB, "mkfs.ext4", "-q", "-d", self.tree())
        output = self.run_recipe(block("vmactl ls"), self.archive(disk))
        self.assertIn("scsi0/p1", output)
        self.assertIn("fstab", output)
        self.assertEqual((self.dir / "fstab").read_text(), FSTAB)

    @needs("mkfs.xfs", "sfdisk")
    @unittest.skipIf(no_kernel_has("xfs"), no_kernel_has("xfs"))
    def test_xfs(self):
        (self.dir / "fstab.xfs").write_text(FSTAB)
        (self.dir / "proto").write_text("/\n0 0\nd--755 0 0\netc d--755 0 0\n"
                                        f"fstab ---644 0 0 {self.dir}/fstab.xfs\n$\n$\n")
        self.assert_copied(self.disk(320 * MIB, "mkfs.xfs", "-q", "-p", self.dir / "proto"))

    @needs("mkfs.ext4", "sfdisk")
    @unittest.skipIf(no_kernel_has("ext4"), no_kernel_has("ext4"))
    def test_ext4(self):
        self.assert_copied(self.disk(8 * MIB, "mkfs.ext4", "-q", "-d", self.tree()), inline("mount -o ro,noload"))

    @needs("mkfs.btrfs", "sfdisk")
    @unittest.skipIf(no_kernel_has("btrfs"), no_kernel_has("btrfs"))
    def test_btrfs(self):
        self.assert_copied(self.disk(64 * MIB, "mkfs.btrfs", "-q", "--mixed", "--rootdir", self.tree()),
                           inline("mount -o ro,rescue"))

    @needs("mkntfs", "ntfs-3g", "sfdisk")
    def test_ntfs(self):
        disk = self.disk(8 * MIB, "mkntfs", "--quick", "--force", "--partition-start", "2048",
                         "--sectors-per-track", "63", "--heads", "255")
        loop = subprocess.run(["losetup", "--offset", str(MIB), "--find", "--show", disk], check=True, text=True,
                              stdout=subprocess.PIPE).stdout.strip()
        try:
            subprocess.run(["ntfs-3g", loop, self.guest], check=True)
            (self.guest / "etc").mkdir()
            (self.guest / "etc/fstab").write_text(FSTAB)
            subprocess.run(["umount", self.guest], check=True)
        finally:
            subprocess.run(["losetup", "--detach", loop], check=True)
        self.assert_copied(disk, inline("ntfs-3g -o ro"))


def boot_sector(text):
    """One that writes a line to the first serial port, then itself to sector 100, and switches the machine off."""
    code = bytes.fromhex(
        "52"            # push dx: the drive
        "31C0" "8ED8"   # ds = 0
        "BE0000"        # si = text
        "AC" "84C0"     # next: al = the next character; none left?
        "7411"          # to write
        "88C4" "BAFD03" # wait until the port takes it
        "EC" "A820" "74FB"
        "B2F8" "88E0" "EE"
        "EBEA"          # to next
        "5A" "BE0000"   # write: the drive, si = address packet
        "B80043" "CD13"
        "B80753" "BB0100" "B90300" "CD15"   # APM: power off
        "F4" "EBFD")
    packet_at = 0x7C00 + len(code)
    packet = b"\x10\0\1\0" + (0x7C00).to_bytes(4, "little") + (100).to_bytes(8, "little")
    code = code.replace(b"\xBE\0\0", b"\xBE" + (packet_at + len(packet)).to_bytes(2, "little"), 1)
    code = code.replace(b"\xBE\0\0", b"\xBE" + packet_at.to_bytes(2, "little"), 1)
    return (code + packet + text + b"\0").ljust(510, b"\0") + b"\x55\xAA"


@unittest.skipIf(no_loop_devices(), no_loop_devices())
class QemuTest(DiskRecipeTest):
    def disk(self, size_bytes=4 * MIB):
        path = self.dir / "disk"
        content = boot_sector(b"the guest is up\r\n")
        path.write_bytes(content.ljust(MIB, b"\0") + os.urandom(MIB))
        os.truncate(path, size_bytes)
        return path

    @needs("qemu-img", "qemu-system-x86_64")
    def test_boot(self):
        disk, overlay = self.disk(), self.dir / "overlay.qcow2"
        text = block("qemu-system-x86_64")
        self.assertIn("rm /var/tmp/vm-100.qcow2 && ", text)
        output = self.run_recipe(text.replace("rm /var/tmp/vm-100.qcow2 && ", ""), self.archive(disk),
                                 ("/mnt/backup", self.at), ("/var/tmp/vm-100.qcow2", overlay),
                                 ("-accel kvm -accel tcg", "-accel tcg"),
                                 ("-m 2G", "-m 32M"), ("-vnc 127.0.0.1:1", f"-vnc unix:{self.dir}/vnc"))
        self.assertIn("the guest is up\r\n", output)
        # What the guest wrote is in the overlay, on the backup's disk.
        disk.rename(self.at / "drive-scsi0.raw")
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", overlay, self.dir / "raw"], check=True)
        expected = bytearray((self.at / "drive-scsi0.raw").read_bytes())
        expected[100 * SECTOR:101 * SECTOR] = expected[:SECTOR]
        self.assertTrue((self.dir / "raw").read_bytes() == expected)

    @needs("qemu-img")
    def test_other_hypervisors(self):
        disk = self.disk(64 * MIB)
        archive = self.archive(disk)
        for ending, options in (("qcow2", "-O qcow2"), ("vmdk", inline("-O vmdk")), ("vhdx", inline("-O vhdx"))):
            with self.subTest(ending):
                image = self.dir / f"image.{ending}"
                self.run_recipe(block("qemu-img convert").replace("-O qcow2", options), archive,
                                ("/mnt/backup", self.at), ("/srv/images/vm-100.qcow2", image))
                subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", ending, disk, image], check=True)
                self.assertLess(image.stat().st_blocks * SECTOR, 16 * MIB)


if __name__ == "__main__":
    unittest.main()
