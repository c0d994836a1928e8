"""Gives a daemon a /run of its own, which makes it believe what a test wants about the system."""

import subprocess
import unittest


def with_run(script, *arguments):
    """Wraps a command of root's: it gets a mount namespace, which ends with it, in which a shell has run `script`
    with these arguments on an empty /run."""
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        raise unittest.SkipTest("there are no mount namespaces here, as in a plain chroot")
    return ("unshare", "--mount", "--propagation", "private", "sh", "-euc",
            f'mount -t tmpfs none /run; {script}; shift {len(arguments)}; exec "$@"', "sh", *arguments)
