"""hung_share.py DIRECTORY PROGRAM…: mounts a file system that never answers, then becomes the program.

As a share whose server is gone: whoever touches it waits in the kernel, where not even SIGKILL reaches him. The
process that pretends to serve it, and with it the hang, ends with the program. In a mount namespace of the
caller's, so that nothing stays mounted.
"""

import ctypes
import os
import signal
import struct
import sys

FUSE_INIT = 26
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def mount(fuse, directory):
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0"
    if LIBC.mount(b"hung", os.fsencode(directory), b"fuse", 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def serve(fuse):
    """Answers what mounting asks, and nothing else."""
    while True:
        request = os.read(fuse, 1 << 20)
        _, opcode, unique = struct.unpack_from("<IIQ", request)
        if opcode != FUSE_INIT:
            continue
        answer = struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 1, 1, 1 << 16, 1, 16, 0, 0)
        os.write(fuse, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)


def main():
    fuse = os.open("/dev/fuse", os.O_RDWR)
    mount(fuse, sys.argv[1])
    program = os.getpid()
    if os.fork() == 0:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == program:
            serve(fuse)
        os._exit(0)
    os.close(fuse)
    os.execvp(sys.argv[2], sys.argv[2:])


main()
