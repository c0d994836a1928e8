"""Jobs of a daemon that is killed at its system calls, or whose calls fail; and of one whose workers are."""

import contextlib
import os
import pathlib
import re
import signal
import time

from call_errors import failures
from daemon_process import ENDS, send, wait_until
from support import VMAD
from traced_place import GOOD, PATIENCE, Part, demand, may_die

CRASHES = tuple(-number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE,
                                       signal.SIGPIPE, signal.SIGSYS, signal.SIGTRAP))
# After which what cannot end, because calls fail for ever, is stopped.
LONG_ENOUGH = 3
PATIENCE_WITH_TRACER = 30


def kills(calls):
    return [f"kill any {number}" for number in range(1, calls["any"] + 1)]


def explains(reason, rule):
    """Whether a job that did not end well says so: what was done to what, and the error."""
    errors = [os.strerror(int(value)) for value in rule.split()[3:]]
    if "Cannot allocate memory" in errors:
        errors += ["out of memory", "cannot start a thread: Resource temporarily unavailable"]
    if rule.startswith("fail flock"):
        errors += ["another process is working on", "another vmad is using"]
    if " fcntl " in rule:  # by the refusal of a lease
        errors.append("open for writing")
    return any(error in reason for error in errors)


class OfJobs(Part):
    """`kind` of the job, `ending` of the archive; `times` in how many runs the same rule holds."""

    kind = "repack"
    ending = ""
    times = 1
    cases = staticmethod(kills)

    def start_afresh(self):
        self.place.forget()
        self.reset()

    def reset(self):
        """The archive before the job."""
        self.place.reset()
        if self.kind == "verify":
            self.place.path.write_bytes(self.place.archive.new)

    def add(self):
        with self.place.daemon.client() as client:
            return client.call("org.vmad.Queue.Enqueue", path=str(self.place.path), announced=True,
                               kind=self.kind)["job"]["id"]

    def demand_whole(self):
        if self.kind == "verify":
            demand(self.place.content() == self.place.archive.new, "a verify job changed the archive")
        self.place.demand_whole()

    def finish(self, job):
        """It ends well when nothing interferes any more."""
        self.place.drive(job)
        self.place.demand_clean(self.place.archive.new)


class Workers(OfJobs):
    """One daemon, whose workers are interfered with."""

    def prepare(self):
        self.place.use(self.ending)
        self.start_afresh()
        self.place.run_daemon("worker")
        # The second one finds what the first has left for it.
        for _ in range(2):
            reports, job = self.run_once("")
            demand(job["state"] in GOOD, f"undisturbed: {job['state']}: {job.get('reason')}")
        self.place.clean_state = self.place.state_names()
        self.calls = reports[-1]["calls"]
        return list(self.cases(self.calls))

    def run_once(self, *rules):
        """What is reported of the workers that had these rules, and the job."""
        place = self.place
        if not place.daemon.is_running():
            place.run_daemon("worker")
        self.reset()
        place.tracer.plan(*rules)
        found = place.wait(self.add())
        return [place.tracer.report() for _ in range(len(rules) - place.tracer.take_back())], found

    def round(self, rule):
        reports, job = self.run_once(*self.times * (rule,))
        self.demand_whole()
        self.check(reports, job, rule)
        self.finish(job["id"])
        return any(report["hit"] for report in reports)

    def check(self, reports, job, rule):
        if job["state"] == "failed" and self.times > 1:
            demand(job["reason"] == "worker died (signal 9)", job["reason"])
        else:
            demand(job["state"] in GOOD, f"{job['state']}: {job.get('reason')}")


class WorkersThrice(Workers):
    times = 3


class WorkerCalls(Workers):
    cases = staticmethod(failures)

    def check(self, reports, job, rule):
        demand(not reports or reports[-1]["end"] not in CRASHES, f"a worker crashed: {reports and reports[-1]['end']}")
        demand(job["state"] in GOOD or explains(job.get("reason", ""), rule), f"{job['state']}: {job.get('reason')}")


class Daemons(OfJobs):
    """A daemon in an empty state directory for each round."""

    def prepare(self):
        place = self.place
        place.use(self.ending)
        self.start_afresh()
        place.tracer.plan("")
        place.run_daemon("command")
        place.wait(self.add())
        place.clean_state = place.state_names()
        self.send_daemon(signal.SIGTERM)
        self.calls = place.tracer.report()["calls"]
        return list(self.cases(self.calls))

    def round(self, rule):
        place = self.place
        self.start_afresh()
        self.job, is_met = None, False
        for _ in range(self.times):
            place.tracer.plan(rule)
            said = os.path.getsize(place.dir / "log") if (place.dir / "log").exists() else 0
            with may_die():
                place.run_daemon("command")
                self.wait_a_while()
            report = self.stop()
            is_met = is_met or bool(report["hit"])
            self.check(report, (place.dir / "log").read_bytes()[said:].decode(errors="replace"), rule)
            self.demand_whole()
        place.run_daemon()
        if self.job is None:
            self.job = self.add()
        self.finish(self.job)
        return is_met

    def wait_a_while(self):
        """For the end of the job, or of the daemon; not longer where it may never be. The daemon answers."""
        if self.job is None:
            self.job = self.add()
        begin = time.monotonic()
        wait_until(lambda: self.place.daemon.job(self.job)["state"] in (*ENDS, "waiting")
                   or time.monotonic() > begin + LONG_ENOUGH, "the job ends", PATIENCE)

    def stop(self):
        """Kills the daemon, if it still runs; what is reported of it."""
        daemon = self.place.daemon
        if daemon is not None and daemon.is_running():
            self.send_daemon(signal.SIGKILL)
            daemon.process.wait(PATIENCE_WITH_TRACER)
        return self.place.tracer.report(PATIENCE_WITH_TRACER)

    def send_daemon(self, number):
        """The child of the tracer that is the daemon."""
        for pid in self.place.daemon.workers():
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().startswith(os.fsencode(VMAD) + b"\0"):
                    send(pid, number)

    def check(self, report, said, rule):
        demand(report["end"] not in CRASHES, f"the daemon crashed ({report['end']}): {said}")
        end = report["end"]
        demand(end == -signal.SIGKILL or (end > 0 and explains(said, rule)), f"exit code {end}: {said}")


class DaemonsThrice(Daemons):
    times = 3


class DaemonCalls(Daemons):
    @staticmethod
    def cases(calls):
        # Whom nobody can reach has nothing to tell.
        return [rule for rule in failures(calls) if not re.match(r"fail (accept4|epoll_add|getsockopt|recvfrom|sendto) \d+\+", rule)]


def of(part, **attributes):
    return type(part.__name__, (part,), attributes)


PARTS = {
    "worker-killed": Workers,
    "worker-killed-thrice": WorkersThrice,
    "worker-calls": WorkerCalls,
    "daemon-killed": Daemons,
    "daemon-killed-thrice": DaemonsThrice,
    "daemon-calls": DaemonCalls,
}
PARTS |= {f"verify-{name}": of(part, kind="verify") for name, part in PARTS.items()}
# With threads that unpack and pack, and with another program that does.
for ending in ("zst", "gz", "lzo"):
    PARTS |= {f"{ending}-worker-killed": of(Workers, ending=f".{ending}"),
              f"{ending}-worker-calls": of(WorkerCalls, ending=f".{ending}")}
