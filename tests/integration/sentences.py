"""The sentences of vmad's programs that tests compare, in one place, so that better English costs one edit.

Tests compare ids, states, exit codes and numbers where they can; a sentence that only one test compares may stand
there.
"""

HOOK_SILENT = "vmad: daemon not responding"


def hook_saved(incoming, why=HOOK_SILENT):
    """What vzdump-announce prints when the request is left for later."""
    return f"{why}; request saved in {incoming}\n"



def hook_not_saved(incoming, why=HOOK_SILENT):
    return f"{why}; cannot write to {incoming}: not queued\n"


OPEN_FOR_WRITING = "another process has the archive open for writing"
DAMAGED = "this backup cannot be restored as it is; make another"

# Of vmactl, about the daemon and its jobs.

UNREACHABLE = "cannot reach the daemon"
NOT_ROOT = "permission denied: only root may control the daemon"
INVALID_SETTINGS = "invalid settings, keeping the current ones: "
NO_FAILED_JOBS = "no failed jobs"
NO_JOBS_NAMED = "name jobs, or use --failed to retry all failed jobs"
PAUSED = 'paused; resume with "vmactl resume"'
OUTSIDE_WINDOW = "no jobs start outside start_window"
VZDUMP_RUNS = "no jobs start while vzdump is running (defer_while_vzdump_runs)"
NO_PENDING_JOBS = "no pending jobs"

# What a job waits for, by its field waiting_for.
WAITING_FOR = {
    "retry": "a retry after a transient error",
    "space": "enough free space",
    "storage": "the storage to become available",
    "locked": "the archive to be released by another process",
    "too_recent": "the archive to be unmodified for a minute",
    "grace_period": "the end of the grace period; the archive is already canonical",
}


def no_job(job):
    return f"no job {job}: it does not exist, or it finished long ago"


def no_job_for(path):
    return f"no job for {path}"


def already_finished(job, state):
    return f"job {job} has already finished: {state}"


def superseded(job, newer):
    return f"job {job}: superseded by job {newer}, "


def until(clock, relative):
    return f"no jobs start until {clock}, {relative} (start_window)"


# Of vmactl, about archives.

ALREADY_CANONICAL = "already canonical"
VERIFIED = "verified"
NOT_VERIFIED = "not verified"


def recovered(path, outcome="original archive kept"):
    return f"vmactl: {path}: recovered from an interrupted run: {outcome}\n"


def not_recovered(path, why):
    return f"vmactl: {path}: cannot recover from an interrupted run yet: {why}"


def changed_meanwhile(path):
    return f"{path}: changed by another process meanwhile, left unchanged: try again"


def locked(path):
    return f"{path}: another process is working on it: try again later"


def held_open(path):
    return f'{path}: another process has it open for writing ("fuser -v" shows it): try again later'


def too_recent(path):
    return f"{path}: modified within the last minute, may still be written: try again later"


def gone(path):
    return f"{path}: no such file"
