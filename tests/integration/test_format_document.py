#!/usr/bin/env python3
"""The test vectors in src/canon/FORMAT.md are what the program writes.

With --write they are printed as they must stand there.
"""
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

from support import HANG_SECONDS, OFFICIAL, SOURCE, VMACTL

FORMAT = SOURCE / "src/canon/FORMAT.md"
HEADING = "## 5. Test vectors\n"
SAMPLES = sorted(path.stem for path in OFFICIAL.glob("*.vma"))
DETAILED = "b-two-disks-odd"
NAMES = ["drive-ide0", "drive-scsi0", "drive-virtio15", "drive-sata5", "drive-efidisk0", "drive-tpmstate0",
         "drive-tpmstate0-backup", "drive-scsi31", "drive-nvme0", "drive-other", "x", "drive-ide4"]


def vmactl(*arguments):
    run = subprocess.run([VMACTL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         timeout=HANG_SECONDS)
    if run.returncode != 0:
        raise AssertionError(run.stderr)
    return run.stdout


def table(columns, rows):
    return "\n".join(["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)] +
                     ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]) + "\n"


def header_of(archive):
    """(size, {id: (name, size)}) of a header."""
    base, blob_size, size = struct.unpack_from(">III", archive, 48)
    devices = {}
    for number in range(256):
        name, device_size = struct.unpack_from(">I4xQ", archive, 4096 + 32 * number)
        if name:
            length = struct.unpack_from("<H", archive, base + name)[0]
            devices[number] = (archive[base + name + 2:base + name + 1 + length].decode(), device_size)
    return size, blob_size, devices


def extents_of(archive):
    """(offset, block count, device id or 0, first cluster) of each extent."""
    at = header_of(archive)[0]
    while at < len(archive):
        blocks, = struct.unpack_from(">H", archive, at + 6)
        slot, = struct.unpack_from(">Q", archive, at + 40)
        yield at, blocks, slot >> 32 & 0xff, slot & 0xffffffff
        at += 512 + 4096 * blocks


def frames_of(stored):
    """(content size, checksum) of each frame, by the seek table."""
    count, = struct.unpack_from("<I", stored, len(stored) - 9)
    begin = len(stored) - 9 - 12 * count
    return [struct.unpack_from("<II", stored, begin + 12 * i + 4) for i in range(count)]


def archive_of_names(names):
    """A valid archive with a disk of 512 zero bytes for each name, in the order given."""
    blobs = bytearray(1)
    devices = bytearray(32 * 256)
    for number, name in enumerate(names, 1):
        struct.pack_into(">I4xQ", devices, 32 * number, len(blobs), 512)
        blobs += struct.pack("<H", len(name) + 1) + name.encode() + b"\0"
    size = 12288 + -(-len(blobs) // 512) * 512
    header = bytearray(struct.pack(">4sI16sQ16sIII", b"VMA\0", 1, bytes(16), 0, bytes(16), 12288, len(blobs), size))
    header += bytes(4096 - len(header)) + devices + blobs
    header += bytes(size - len(header))
    header[32:48] = hashlib.md5(header).digest()
    extent = bytearray(struct.pack(">4sHH16s16s", b"VMAE", 0, 0, bytes(16), bytes(16)))
    for number in range(1, len(names) + 1):
        extent += struct.pack(">Q", number << 32)
    extent += bytes(512 - len(extent))
    extent[24:40] = hashlib.md5(extent).digest()
    return bytes(header + extent)


def vectors(directory):
    """The section with the test vectors."""
    rows = []
    for sample in SAMPLES:
        raw = directory / (sample + ".vma")
        vmactl("repack", OFFICIAL / raw.name, raw)
        archive = raw.read_bytes()
        digest = json.loads(vmactl("verify", "--json", raw))
        digest = (digest[0] if isinstance(digest, list) else digest)["digest"]
        rows.append([f"`{sample}`", header_of(archive)[0], len(list(extents_of(archive))), len(archive),
                     f"`{hashlib.sha256(archive).hexdigest()}`", f"`{digest}`"])
    text = (HEADING + "\nThe sources are the archives in `tests/data/official`, which Proxmox's own code has written.\n\n"
            "### Archives\n\n" +
            table(["source", "header_size", "extents", "bytes", "SHA-256 of the canonical `.vma`", "content digest"], rows))

    archive = (directory / (DETAILED + ".vma")).read_bytes()
    size, blob_size, devices = header_of(archive)
    text += (f"\n### Header of `{DETAILED}`\n\nThe first 64 bytes, and where its {blob_size} bytes of blobs begin:\n\n" +
             "".join(f"    {at:6}  {archive[at:at + 16].hex(' ')}\n" for at in [*range(0, 64, 16), 12288]) +
             "\nIts devices:\n\n" +
             table(["id", "name", "size", "offset in dev_info"],
                   [[number, f"`{name}`", device_size, 32 * number] for number, (name, device_size) in devices.items()]))
    rows = [[number, f"`{devices[device][0]}`" if device else "", cluster // 32 if device else "", at, blocks]
            for number, (at, blocks, device, cluster) in enumerate(extents_of(archive))]
    text += (f"\n### Extents of `{DETAILED}`\n\nThose without a device fill it up to a multiple of eight.\n\n" +
             table(["extent", "device", "region", "offset", "blocks"], rows))

    stored = directory / (DETAILED + ".vma.zst")
    vmactl("repack", OFFICIAL / (DETAILED + ".vma"), stored)
    rows = [[number, content, f"`{checksum:08x}`", "header" if number == 0 else
             f"{content // 512} extents without payload" if content <= 4096 else "one region"]
            for number, (content, checksum) in enumerate(frames_of(stored.read_bytes()))]
    text += (f"\n### Frames of `{DETAILED}.vma.zst`\n\nContent sizes and checksums as in the seek table.\n\n" +
             table(["frame", "content", "checksum", "holds"], rows))

    source = directory / "names.vma"
    source.write_bytes(archive_of_names(NAMES))
    vmactl("repack", source, directory / "names.canonical.vma")
    ids = {name: number for number, (name, _) in header_of((directory / "names.canonical.vma").read_bytes())[2].items()}
    text += ("\n### Device ids\n\nOf devices that stand in one archive:\n\n" +
             table(["name", "id"], [[f"`{name}`", ids[name]] for name in sorted(NAMES)]))
    return text


class Vectors(unittest.TestCase):
    maxDiff = None

    def test_the_document_has_the_vectors_of_the_program(self):
        document = FORMAT.read_text()
        self.assertIn(HEADING, document)
        with tempfile.TemporaryDirectory() as directory:
            self.assertEqual(document[document.index(HEADING):], vectors(pathlib.Path(directory)))


if __name__ == "__main__":
    if "--write" in sys.argv:
        with tempfile.TemporaryDirectory() as scratch:
            print(vectors(pathlib.Path(scratch)), end="")
    else:
        unittest.main()
