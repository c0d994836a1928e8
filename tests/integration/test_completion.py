"""What the completion of vmactl offers in bash, called as bash calls it, and in zsh and fish.

Run as: VMAD_BUILD=builddir python3 test_completion.py
"""

import fnmatch
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import termios
import unittest

from daemon_process import PATIENCE, DaemonTest
from support import SOURCE, VMACTL, generate

COMPLETION = SOURCE / "src/ctl/vmactl.bash"
FOR_ZSH = SOURCE / "src/ctl/_vmactl"
FOR_FISH = SOURCE / "src/ctl/vmactl.fish"
INSTALLED = "/usr/share/bash-completion/completions/vmactl"  # where the other two expect it
BACKUP_NAME = SOURCE / "src/pve/backup_name.hpp"

# Prints what is offered, NUL-terminated, and then whether they are names of files.
CALL = r"""
declare -F _comp_initialize _init_completion >/dev/null && echo "the completion is not alone" >&2
files=no
compopt() { [[ $* != '-o filenames' ]] || files=yes; }
source "$COMPLETION"
_vmactl "$VMACTL" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\0' "${COMPREPLY[@]}" "$files"
"""


def bash_words(line):
    """As readline takes a line apart with its usual COMP_WORDBREAKS: at white space, and "=" and ":" are words of
    their own, but not within quotes."""
    return re.findall(r"""[=:]+|(?:\\.|'[^']*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|[^\s=:'"\\])+""", line)


def completion(line, behind="", directory=None, breaks="=:", prelude="", program=VMACTL, **environment):
    """The words that are offered with the cursor between `line` and `behind`, whether they are names of files, and
    what is printed on stderr."""
    words = bash_words if breaks else str.split
    before = words(line)
    if line[-1] in " =:":
        before.append("")
    if before[-1] == "" and line[-1] in "=:":  # the separator is the word itself
        before.pop()
    all_words = before + words(behind)
    script = prelude + "".join(f"{name}={value}\n" for name, value in {
        "COMP_LINE": shlex.quote(line + behind), "COMP_POINT": len(line), "COMP_CWORD": len(before) - 1,
        "COMP_WORDS": "(" + " ".join(map(shlex.quote, all_words)) + ")",
        "VMACTL": shlex.quote(str(program)), "COMPLETION": shlex.quote(str(COMPLETION)),
    }.items()) + CALL
    result = subprocess.run(["bash", "--norc", "--noprofile", "-c", script], cwd=directory, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, check=True,
                            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environment})
    *offered, files, _ = os.fsdecode(result.stdout).split("\0")
    return sorted(filter(None, offered)), files == "yes", result.stderr.decode()


def uninstalled(source, path):
    """A completion for another shell, which takes that for bash from the source."""
    text = source.read_text()
    assert text.count(INSTALLED) == 1, source
    path.write_text(text.replace(INSTALLED, str(COMPLETION)))
    return path


class InteractiveShell:
    """A shell on a terminal, with the completion that `setup` loads."""

    def __init__(self, test, directory, command, setup):
        self.setup = setup
        try:
            self.terminal, follower = pty.openpty()
        except OSError as error:  # a chroot without /dev/pts
            test.skipTest(f"there are no terminals here: {error}")
        termios.tcsetwinsize(follower, (24, 1000))
        environment = {"PATH": f"{VMACTL.parent}:{os.environ['PATH']}", "TERM": "dumb", "LC_ALL": "C.UTF-8",
                       "INPUTRC": "/dev/null", "HISTFILE": "", "PS1": "$ ", "VMAD_SOCKET": "/none"}
        self.shell = subprocess.Popen(command, cwd=directory, env=environment, stdin=follower, stdout=follower,
                                      stderr=follower, start_new_session=True)
        os.close(follower)

    def __enter__(self):
        self.output_of(self.setup)
        return self

    def __exit__(self, *_):
        self.shell.kill()
        self.shell.wait(PATIENCE)
        os.close(self.terminal)

    def output_of(self, line):
        # Put together by the shell, so that the echo of the line is not it.
        os.write(self.terminal, f"{line}; echo E''ND\n".encode())
        output = b""
        while b"END\r\n" not in output:
            if not select.select([self.terminal], [], [], PATIENCE)[0]:
                raise AssertionError(f"the shell says no more than {output}")
            output += os.read(self.terminal, 65536)
        return output.decode()

    def words_of(self, typed):
        """The words that the line has after these keys."""
        # To the beginning of the line, and there a command that prints its words.
        return re.findall("<<(.*?)>>", self.output_of(f"{typed}\x01printf '<''<%s>''>' \x05"))


def help_of(*command):
    return subprocess.run([VMACTL, *command, "--help"], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=PATIENCE).stdout


def part_of_help(text, heading):
    """The names in one part of a help text."""
    part = re.search(rf"^{heading}:\n((?:  .*\n)+)", text, re.M)
    return re.findall(r"^  (\S+)", part[1], re.M) if part else []


@unittest.skipUnless(shutil.which("bash"), "bash is not installed")
class CompletionTest(DaemonTest):
    """With a directory to work in; a daemon only where a test starts one."""

    def offered(self, line, behind="", **options):
        options = {"VMAD_SOCKET": str(self.socket), "VMAD_ROOT": str(self.dir), "HOME": str(self.dir),
                   "directory": self.dir, **options}
        offered, self.are_files, messages = completion(line, behind, **options)
        self.assertEqual(messages, "", line)
        return offered

    def test_commands(self):
        commands = part_of_help(help_of(), "Commands")
        self.assertIn("scan", commands)
        self.assertEqual(self.offered("vmactl "), sorted(commands))
        self.assertEqual(self.offered("vmactl sc"), ["scan"])
        self.assertEqual(self.offered("vmactl --json --socket /x/y sc"), ["scan"])
        self.assertEqual(self.offered("vmactl --socket=/x/y sc"), ["scan"])
        self.assertEqual(self.offered("vmactl nonsense"), [])
        self.assertFalse(self.are_files)

    def test_the_word_before_the_cursor_counts(self):
        self.assertEqual(self.offered("vmactl sc", "an"), ["scan"])
        self.assertEqual(self.offered("vmactl sc", "an --dry-run"), ["scan"])
        self.assertEqual(self.offered("vmactl scan --dr", " --limit 3"), ["--dry-run"])

    def test_subcommands(self):
        for command in part_of_help(help_of(), "Commands"):
            actions = part_of_help(help_of(command), "Commands")
            if actions:
                self.assertEqual(self.offered(f"vmactl {command} "), sorted(actions))
        self.assertEqual(self.offered("vmactl settings s"), ["show"])
        self.assertEqual(self.offered("vmactl --json settings c"), ["check"])

    def test_options_of_every_command(self):
        of_all = re.findall(r"--[a-z-]+", " ".join(part_of_help(help_of(), "Options")))
        self.assertEqual(self.offered("vmactl --"), sorted(of_all))
        for command in part_of_help(help_of(), "Commands"):
            with self.subTest(command):
                words = ",".join(part_of_help(help_of(command), "Options")).split(",")
                self.assertEqual(self.offered(f"vmactl {command} -"), sorted({*words, *of_all, "-h"}))
        self.assertEqual(self.offered("vmactl list --s"), ["--since", "--socket", "--state", "--storage"])
        self.assertEqual(self.offered("vmactl list -- --s"), [])

    def test_states(self):
        interface = (SOURCE / "src/api/org.vmad.Queue.varlink").read_text()
        states = re.findall(r"\w+", re.search(r"type JobState \(([^)]*)\)", interface)[1])
        self.assertEqual(self.offered("vmactl list --state "), sorted(states))
        self.assertEqual(self.offered("vmactl list --state don"), ["done"])
        self.assertEqual(self.offered("vmactl list --state done --state q"), ["queued"])
        self.assertEqual(self.offered("vmactl list --state="), sorted(states))
        self.assertEqual(self.offered("vmactl list --state=fa"), ["failed"])
        # Where bash does not part words at "=".
        self.assertEqual(self.offered("vmactl list --state=fa", breaks=""), ["--state=failed"])

    def test_values_that_nobody_can_guess(self):
        (self.dir / "3.vma").touch()
        for line in ("scan --limit ", "log -n ", "repack --level ", "repack --memory ", "status "):
            self.assertEqual(self.offered(f"vmactl {line}"), [], line)
        self.assertEqual(self.offered("vmactl scan --since 7"), ["7d"])
        self.assertEqual(self.offered("vmactl wait --timeout 1"), ["15min", "1h"])
        self.assertEqual(self.offered("vmactl status --watch="), ["1s", "30s", "5s"])

    def test_every_operand_and_value_is_known(self):
        """What the help calls by a new name needs a line in the completion."""
        cases = COMPLETION.read_text().split('case "$1 ${commands[*]}" in\n')[1].split("\n    esac\n")[0]
        known = [pattern for labels in re.findall(r"^    ('.*?)\)(?: |$)", cases, re.M)
                 for pattern in re.sub(r"'([^']*)'", r"\1", labels).replace("[", "[[]").split(" | ")]
        nobody_can_guess = {"N", "SIZE", "LINES", "SECONDS"}
        commands = [[command] for command in part_of_help(help_of(), "Commands")]
        for command in commands:
            text = help_of(*command)
            commands += [[*command, action] for action in part_of_help(text, "Commands")]
            options = re.search(r"^Options:\n((?:  .*\n)+)", text, re.M)[1]
            values = re.findall(r"^  (?:-\w,)?--[\w-]+ (\S+)", options, re.M)
            for word in {*part_of_help(text, "Operands"), *values} - nobody_can_guess:
                self.assertTrue(any(fnmatch.fnmatchcase(f"{word} {' '.join(command)}", pattern) for pattern in known),
                                f"{word} of vmactl {' '.join(command)}")

    def test_commands_to_be_helped_with(self):
        self.assertEqual(self.offered("vmactl help "), sorted(part_of_help(help_of(), "Commands")))
        self.assertEqual(self.offered("vmactl help sc"), ["scan"])

    def test_storages(self):
        self.assertEqual(self.offered("vmactl scan --storage "), [])
        (self.dir / "etc/pve").mkdir(parents=True)
        (self.dir / "etc/pve/storage.cfg").write_text(
            "dir: local\n\tpath /var/lib/vz\n\nnfs: nas\n\tserver 10.0.0.1\n\nzfspool: tank\n\tpool tank\n\n"
            "pbs: offsite\n\tserver 10.0.0.2\n\ncifs: nas-old\n\tserver 10.0.0.3\n")
        self.assertEqual(self.offered("vmactl scan --storage "), ["all", "local", "nas", "nas-old"])
        self.assertEqual(self.offered("vmactl scan --storage nas"), ["nas", "nas-old"])
        self.assertEqual(self.offered("vmactl add --storage "), ["local", "nas", "nas-old"])
        for line in ("mount --all ", "mount --all local "):
            self.assertEqual(self.offered(f"vmactl {line}na", directory=self.dump), ["nas", "nas-old"])
        self.assertEqual(self.offered("vmactl mount na", directory=self.dump), [])

    def test_archives(self):
        for name in ("a.vma", "b.vma.zst", "c.vma.gz", "d.vma.lzo", "e.vma.bz2", "f.log", ".hidden.vma", "b.vma.notes"):
            (self.dump / name).touch()
        (self.dump / "sub dir").mkdir()
        names = ["a.vma", "b.vma.zst", "c.vma.gz", "d.vma.lzo", "sub dir"]
        for command in ("add", "info", "verify", "repack", "repack --in-place", "repack a.vma", "extract", "mount",
                        "diff", "diff a.vma", "scan", "share", "repair", "repair a.vma --from",
                        "wait"):
            with self.subTest(command):
                self.assertEqual(self.offered(f"vmactl {command} dump/"), [f"dump/{name}" for name in names])
                self.assertTrue(self.are_files)
        self.assertEqual(self.offered("vmactl info ", directory=self.dump), names)
        self.assertEqual(self.offered("vmactl info ~/dump/a"), [str(self.dump / "a.vma")])
        self.assertEqual(self.offered("vmactl info a.vma ", directory=self.dump), [])
        self.assertEqual(self.offered("vmactl verify a.vma b", directory=self.dump), ["b.vma.zst"])
        for line in ("extract a.vma", "mount a.vma"):
            self.assertEqual(self.offered(f"vmactl {line} ", directory=self.dump), ["sub dir"], line)
        # Mounts, when another test has one just now.
        offered = self.offered("vmactl umount ", directory=self.dump)
        self.assertTrue(offered == ["sub dir"] or all(name.startswith("/") for name in offered), offered)
        self.assertEqual(self.offered("vmactl repack --spill-dir ", directory=self.dump), ["sub dir"])
        self.assertEqual(self.offered("vmactl settings check f", directory=self.dump), ["f.log"])
        self.assertEqual(self.offered("vmactl --socket f", directory=self.dump), ["f.log"])

    def test_archive_endings_are_those_of_vzdump(self):
        endings = re.findall(r'"(\.vma[.a-z]*)"', BACKUP_NAME.read_text())
        self.assertEqual(re.findall(r"'\*(\.vma[.a-z]*)'", COMPLETION.read_text()), endings)

    def test_names_with_odd_characters(self):
        names = ["My backup [1].vma", "My backup 'of' $HOME.vma", "my=back:up.vma", "back\nup.vma"]
        for name in names:
            (self.dump / name).touch()
        spaced = sorted(f"dump/{name}" for name in names[:2])
        self.assertEqual(self.offered(r"vmactl info dump/My\ ba"), spaced)
        self.assertEqual(self.offered("vmactl info 'dump/My ba"), spaced)
        self.assertEqual(self.offered('vmactl info "dump/My ba'), spaced)
        self.assertEqual(self.offered(r"vmactl info dump/My\ backup\ \["), ["dump/My backup [1].vma"])
        self.assertEqual(self.offered(r'vmactl info "dump/My backup \$'), [])
        self.assertEqual(self.offered(r'''vmactl info "dump/My backup 'of' \$'''), ["dump/My backup 'of' $HOME.vma"])
        self.assertEqual(self.offered("vmactl info dump/back"), ["dump/back\nup.vma"])
        # Without what bash has cut off.
        self.assertEqual(self.offered("vmactl info dump/my="), ["back:up.vma"])
        self.assertEqual(self.offered("vmactl info dump/my=back:u"), ["up.vma"])
        self.assertEqual(self.offered(r"vmactl info dump/my\=back\:u"), ["dump/my=back:up.vma"])

    def test_settings_of_the_shell_do_not_matter(self):
        (self.dump / "a.vma").touch()
        for prelude in ("set -f", "shopt -s failglob", "shopt -s nullglob", "shopt -s dotglob nocaseglob", "set -u",
                        "set -u; shopt -s failglob", "IFS=/a"):
            with self.subTest(prelude):
                self.assertEqual(self.offered("vmactl info dump/", prelude=prelude + "\n"), ["dump/a.vma"])
                self.assertEqual(self.offered("vmactl info dump/x", prelude=prelude + "\n"), [])
                self.assertEqual(self.offered("vmactl settings sh", prelude=prelude + "\n"), ["show"])
                self.assertEqual(self.offered("vmactl list --state qu", prelude=prelude + "\n"), ["queued"])
                self.assertEqual(self.offered("vmactl wait ", prelude=prelude + "\n")[:1], ["dump"])

    def test_devices(self):
        archive = self.dump / "a b.vma"
        generate(archive, "--disk", "drive-scsi0=1M", "--disk", "drive-scsi1=1M", "--disk", "drive-efidisk0=528K")
        devices = ["drive-efidisk0", "drive-scsi0", "drive-scsi1"]
        self.assertEqual(self.offered(r"vmactl extract dump/a\ b.vma out --device "), devices)
        self.assertFalse(self.are_files)
        self.assertEqual(self.offered("vmactl extract 'dump/a b.vma' --device=drive-s"), devices[1:])
        self.assertEqual(self.offered("vmactl extract --device ", r" dump/a\ b.vma out"), devices)
        self.assertEqual(self.offered("vmactl extract --threads 2 --device drive-scsi0 --device drive-e",
                                      r" dump/a\ b.vma out"), devices[:1])
        for line in ("vmactl extract --device ", "vmactl extract - out --device ", "vmactl extract dump --device ",
                     "vmactl extract none.vma out --device "):
            self.assertEqual(self.offered(line), [], line)

    def test_parts_of_an_archive(self):
        archive = self.dump / "x.vma"
        generate(archive, "--disk", "drive-scsi0=1M")
        (self.dump / "y.qcow2").touch()
        (self.dump / "y:z").touch()
        self.assertEqual(self.offered("vmactl config dump/x.vma "), ["qemu-server.conf"])
        self.assertEqual(self.offered("vmactl config dump/x.vma --remove q"), ["qemu-server.conf"])
        self.assertEqual(self.offered("vmactl config dump/x.vma --set new=du"), ["dump"])
        self.assertEqual(self.offered("vmactl create --disk scsi0=dump/y"), ["dump/y.qcow2", "dump/y:z"])
        self.assertEqual(self.offered("vmactl create --disk scsi0=qcow2:dump/y.q"), ["dump/y.qcow2"])
        self.assertEqual(self.offered("vmactl create --disk=scsi0=qcow2:dump/y.q"), ["dump/y.qcow2"])
        self.assertEqual(self.offered("vmactl create --disk scsi0=qcow2:dump/y.q", breaks=""),
                         ["scsi0=qcow2:dump/y.qcow2"])
        self.assertEqual(self.offered("vmactl create --disk sc"), [])
        self.assertEqual(self.offered("vmactl create --format "), ["gzip", "lzo", "raw", "zstd"])
        self.assertEqual(self.offered("vmactl repack --verify-source "), ["always", "auto", "off"])
        self.assertEqual(self.offered("vmactl create dump/"), ["dump/x.vma"])

    def test_jobs(self):
        daemon = self.start()
        with daemon.client() as client:
            client.call("org.vmad.Queue.Pause")
        ids = [str(daemon.add(self.dump / name)) for name in ('a "id":77,.vma', "b.vma", "c.vma")]
        with daemon.client() as client:
            client.call("org.vmad.Queue.Cancel", id=int(ids[1]))
        for command in ("show", "log", "retry"):
            self.assertEqual(self.offered(f"vmactl {command} "), [*ids, "dump", "etc", "state"], command)
        for command in ("wait", "cancel"):
            self.assertEqual(self.offered(f"vmactl {command} "), [ids[0], ids[2], "dump", "etc", "state"], command)
        self.assertEqual(self.offered(f"vmactl wait {ids[0]} {ids[2]}"), [ids[2]])
        self.assertEqual(self.offered("vmactl wait --timeout 5 3"), ["3"])
        # The line names the daemon.
        self.assertEqual(self.offered(f"vmactl --socket {self.socket} wait 1", VMAD_SOCKET="/none"), ["1"])
        self.assertEqual(self.offered(f"vmactl wait --socket={self.socket} 1", VMAD_SOCKET="/none"), ["1"])

    def test_without_a_daemon(self):
        (self.dump / "a.vma").touch()
        for command in ("show", "log", "retry", "wait", "cancel"):
            self.assertEqual(self.offered(f"vmactl {command} "), ["dump", "etc", "state"], command)
            self.assertEqual(self.offered(f"vmactl {command} 1"), [], command)
            self.assertEqual(self.offered(f"vmactl {command} dump/"), ["dump/a.vma"], command)

    def test_a_daemon_that_hangs(self):
        # A socket at which nobody answers.
        hung = subprocess.Popen(["python3", "-c", "import socket, sys, time\ns = socket.socket(socket.AF_UNIX)\n"
                                 "s.bind(sys.argv[1]); s.listen(); print(flush=True); time.sleep(1000)", self.socket],
                                stdout=subprocess.PIPE)
        self.addCleanup(hung.stdout.close)
        self.addCleanup(hung.wait)
        self.addCleanup(hung.kill)
        hung.stdout.readline()
        self.assertEqual(self.offered("vmactl wait "), ["dump", "etc", "state"])

    def test_without_vmactl(self):
        for line in ("vmactl ", "vmactl list -", "vmactl wait "):
            self.assertEqual(self.offered(line, program=self.dir / "none"), [], line)

    def test_in_an_interactive_shell(self):
        generate(self.dump / "My 'old' backup.vma", "--disk", "drive-scsi0=1M")
        (self.dump / "other.vma").touch()
        with InteractiveShell(self, self.dir, ["bash", "--norc", "--noprofile", "-i"],
                              f"source {shlex.quote(str(COMPLETION))}; bind 'set bell-style none'") as shell:
            for typed, words in {
                    "vmactl info dump/My\t": ["vmactl", "info", "dump/My 'old' backup.vma"],
                    "vmactl info 'dump/oth\t": ["vmactl", "info", "dump/other.vma"],
                    "vmactl info du\toth\t": ["vmactl", "info", "dump/other.vma"],
                    "vmactl se\tch\t": ["vmactl", "settings", "check"],
                    "vmactl list --sta\tdon\t": ["vmactl", "list", "--state", "done"],
                    "vmactl list --state=don\t": ["vmactl", "list", "--state=done"],
                    "vmactl extract dump/My\t out --dev\t\t": ["vmactl", "extract", "dump/My 'old' backup.vma", "out",
                                                              "--device", "drive-scsi0"],
            }.items():
                with self.subTest(typed):
                    self.assertEqual(shell.words_of(typed), words)

    def test_it_is_registered(self):
        script = 'source "$0" && complete -p vmactl'
        result = subprocess.run(["bash", "--norc", "-c", script, COMPLETION], text=True, capture_output=True,
                                check=True)
        self.assertEqual((result.stdout, result.stderr), ("complete -F _vmactl vmactl\n", ""))

    @unittest.skipUnless(shutil.which("shellcheck"), "shellcheck is not installed")
    def test_shellcheck(self):
        subprocess.run(["shellcheck", COMPLETION], check=True)


class OtherShellsTest(DaemonTest):
    """What zsh and fish make of it, and what the completion for bash says to them."""

    def offers(self, line):
        """What stands before what is offered, the words with their descriptions, and the patterns of files."""
        words = line.split(" ")
        text = subprocess.run(["bash", COMPLETION, str(len(words) - 1), VMACTL, *words[1:]], text=True, check=True,
                              cwd=self.dir, capture_output=True, timeout=PATIENCE, env=self.environment()).stdout
        before, *lines = text.splitlines()
        offers = [line.split("\t") for line in lines]
        words = {word: purpose for kind, word, purpose in (offer for offer in offers if offer[0] == "WORD")}
        patterns = [offer[1:] for offer in offers if offer[0] == "PATHS"]
        return before, words, patterns[0] if patterns else None

    def environment(self):
        return {"PATH": f"{VMACTL.parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "VMAD_SOCKET": str(self.socket),
                "VMAD_ROOT": str(self.dir), "HOME": str(self.dir), "XDG_CONFIG_HOME": str(self.dir / "config")}

    def test_the_same_as_in_bash_described_by_the_help(self):
        commands = part_of_help(help_of(), "Commands")
        lines = ["vmactl ", "vmactl sc", "vmactl --", "vmactl settings ", "vmactl list --state ",
                 "vmactl list --state=do", "vmactl help s"]
        for line in lines + [f"vmactl {command} -" for command in commands]:
            with self.subTest(line):
                before, words, patterns = self.offers(line)
                expected = completion(line, breaks="", directory=self.dir, **self.environment())[0]
                self.assertEqual(sorted(before + word for word in words), expected)
                self.assertIsNone(patterns)
                if line.endswith((" ", "-")) and "--state" not in line:
                    shown = re.sub(r"\s+", " ", help_of(*line.split(" ")[1:-1]) + help_of())
                    for word, purpose in words.items():
                        self.assertTrue(purpose and purpose in shown, (word, purpose))

    def test_paths_are_left_to_the_shell(self):
        archives = ["*.vma", "*.vma.zst", "*.vma.gz", "*.vma.lzo"]
        for line, before, patterns in (("vmactl info du", "", archives), ("vmactl repack --spill-dir ", "", [""]),
                                       ("vmactl config x --set a=du", "a=", ["*"]),
                                       ("vmactl create --disk=a=qcow2:du", "--disk=a=qcow2:", ["*"])):
            self.assertEqual(self.offers(line), (before, {}, patterns), line)

    def test_jobs_are_described(self):
        daemon = self.start()
        with daemon.client() as client:
            client.call("org.vmad.Queue.Pause")
        first, second = daemon.add(self.dump / "b.vma"), daemon.add(self.dump / 'a "id":77,.vma')
        self.assertEqual(self.offers("vmactl show ")[1], {str(first): "queued: b.vma", str(second): "queued: "})

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish(self):
        generate(self.dump / "My 'old' backup.vma", "--disk", "drive-scsi0=1M")
        for name in ("other.vma", "b.vma.zst", "x.log", "sub dir/c"):
            (self.dump / name).parent.mkdir(exist_ok=True)
            (self.dump / name).touch()
        lines = {
            "vmactl settings c": ["check"], "vmactl list --state=fa": ["--state=failed"],
            "vmactl list --state fa": ["failed"], "vmactl info dump/o": ["dump/other.vma"],
            "vmactl info ~/dump/o": ["~/dump/other.vma"], r"vmactl info dump/My\ ": ["dump/My 'old' backup.vma"],
            'vmactl info "dump/My ': ["dump/My 'old' backup.vma"],
            "vmactl info dump/": ["dump/My 'old' backup.vma", "dump/b.vma.zst", "dump/other.vma", "dump/sub dir/"],
            "vmactl mount dump/b.vma.zst dump/": ["dump/sub dir/"],
            "vmactl config x --set a=dump/x": ["a=dump/x.log"],
            r"vmactl extract dump/My\ \'old\'\ backup.vma out --device ": ["drive-scsi0"],
            "vmactl nonsense": [], "vmactl scan --limit ": [],
        }
        completion_file = uninstalled(FOR_FISH, self.dir / "vmactl.fish")
        quoted = [re.sub(r"([\\'])", r"\\\1", line) for line in lines]
        script = f"source {completion_file}\n" + "".join(f"echo '>>'; complete -C '{line}'\n" for line in quoted)
        result = subprocess.run(["fish", "--no-config", "-c", script], text=True, capture_output=True, cwd=self.dir,
                                timeout=PATIENCE, check=True, env=self.environment())
        self.assertEqual(result.stderr, "")
        for (line, expected), offered in zip(lines.items(), result.stdout.split(">>\n")[1:], strict=True):
            with self.subTest(line):
                self.assertEqual(sorted(word.split("\t")[0] for word in offered.splitlines()), expected)

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh(self):
        generate(self.dump / "My 'old' backup.vma", "--disk", "drive-scsi0=1M")
        (self.dump / "other.vma").touch()
        (self.dump / "other.log").touch()
        uninstalled(FOR_ZSH, self.dir / "_vmactl")
        with InteractiveShell(self, self.dir, ["zsh", "-f", "-i"],
                              f"PS1='$ '; bindkey -e; setopt no_beep; fpath=({self.dir} $fpath); "
                              "autoload -Uz compinit; compinit -u -D") as shell:
            for typed, words in {
                    "vmactl se\tch\t": ["vmactl", "settings", "check"],
                    "vmactl info dump/My\t": ["vmactl", "info", "dump/My 'old' backup.vma"],
                    "vmactl info 'dump/oth\t": ["vmactl", "info", "dump/other.vma"],
                    "vmactl info ~+/du\toth\t": ["vmactl", "info", f"{self.dir}/dump/other.vma"],
                    "vmactl list --sta\tdon\t": ["vmactl", "list", "--state", "done"],
                    "vmactl list --state=don\t": ["vmactl", "list", "--state=done"],
                    "vmactl config x --set a=dump/other.l\t": ["vmactl", "config", "x", "--set", "a=dump/other.log"],
                    "vmactl extract dump/My\t out --dev\t\t": ["vmactl", "extract", "dump/My 'old' backup.vma", "out",
                                                              "--device", "drive-scsi0"],
            }.items():
                with self.subTest(typed):
                    self.assertEqual(shell.words_of(typed), words)


if __name__ == "__main__":
    unittest.main()
