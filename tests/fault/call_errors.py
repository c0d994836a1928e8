"""How system calls fail: the errors that fit each, as rules of call-tracer."""

import errno

# Calls that are not here do not fail, or nobody could go on after it: memory given back, signals that are masked.
DESCRIPTORS = ("EMFILE", "ENFILE", "ENOMEM")
FITTING = {
    **dict.fromkeys(("open", "openat", "openat2"), ("EIO", "EACCES", "EMFILE", "ENOMEM")),
    **dict.fromkeys(("pipe2", "socket", "socketpair", "epoll_create1", "timerfd_create", "signalfd4", "eventfd2",
                     "memfd_create", "pidfd_open", "inotify_init1"), DESCRIPTORS),
    **dict.fromkeys(("clone", "clone3", "fork", "vfork"), ("EAGAIN", "ENOMEM")),
    **dict.fromkeys(("mmap", "mprotect", "madvise"), ("ENOMEM",)),
    **dict.fromkeys(("epoll_wait", "epoll_pwait2", "poll", "ppoll", "io_getevents", "wait4", "waitid", "getrandom"),
                    ("EINTR",)),
    **dict.fromkeys(("read", "pread64", "preadv"), ("EIO", "EINTR", "short")),
    **dict.fromkeys(("write", "pwrite64", "pwritev", "writev"), ("ENOSPC", "EIO", "EINTR", "EPIPE", "short")),
    **dict.fromkeys(("recvfrom", "recvmsg"), ("ECONNRESET", "EINTR")),
    **dict.fromkeys(("fstat", "newfstatat", "statx", "getdents64", "fstatfs", "statfs", "readlink", "readlinkat"),
                    ("EIO", "ENOMEM")),
    **dict.fromkeys(("fsync", "ftruncate", "linkat", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"),
                    ("EIO", "ENOSPC", "EACCES", "late EIO")),
    **dict.fromkeys(("fchmod", "fchown", "utimensat", "fsetxattr", "fgetxattr", "flistxattr", "fremovexattr"),
                    ("EIO", "EPERM", "EOPNOTSUPP")),
    **dict.fromkeys(("fallocate", "sync_file_range", "fadvise64", "lseek", "copy_file_range"), ("EIO", "EINVAL")),
    **dict.fromkeys(("sched_getaffinity", "sched_setaffinity", "sched_setattr", "sched_setscheduler", "setpriority",
                     "ioprio_set", "kill", "prlimit64"), ("EPERM", "EINVAL")),
    **dict.fromkeys(("getsockopt", "setsockopt"), ("ENOPROTOOPT",)),
    "accept4": ("EMFILE", "ECONNABORTED", "EINTR"),
    "bind": ("EADDRINUSE", "EACCES"),
    "close": ("late EIO", "late EINTR"),
    "connect": ("ECONNREFUSED", "EACCES"),
    "epoll_add": ("ENOSPC", "ENOMEM"),
    "execve": ("ENOMEM", "EACCES", "ENOENT"),
    "fcntl": ("EINVAL", "EAGAIN"),
    "flock": ("ENOLCK", "EWOULDBLOCK", "EINTR"),
    "inotify_add_watch": ("ENOSPC", "ENOMEM"),
    "io_setup": ("EAGAIN", "ENOMEM"),
    "io_submit": ("EIO", "EAGAIN"),
    "ioctl": ("EIO", "ENOTTY"),
    "listen": ("EADDRINUSE",),
    "prctl": ("EINVAL",),
    "timerfd_settime": ("EINVAL",),
    "sendmsg": ("ENOBUFS", "EINTR"),  # to a program of our own: it has not gone
    "sendto": ("EPIPE", "ECONNRESET", "ENOBUFS", "EINTR"),
    "tmpfile": ("ENOSPC", "EOPNOTSUPP", "EMFILE"),
}


def failures(calls):
    """The rules that let each of these counted calls fail in each way, and from each of them on in the first way."""
    for call, count in sorted(calls.items()):
        for way in FITTING.get(call, ()):
            action, _, name = way.rpartition(" ")
            for number in range(1, count + 1):
                if way == "short":
                    yield f"short {call} {number}"
                    continue
                rule = f"{action or 'fail'} {call} {number}"
                yield f"{rule} {getattr(errno, name)}"
                # An interruption that stays: nobody would go on for ever.
                if way == FITTING[call][0] and name not in ("EINTR", "EAGAIN"):
                    yield f"{rule}+ {getattr(errno, name)}"


def without_errors(calls):
    """Those of the counted calls that failures() leaves alone."""
    return sorted(call for call in calls if call not in FITTING and call not in ("any", "other"))


def column(rule):
    """Call and error of a rule of failures(), for a table."""
    action, call, number, *value = rule.split()
    name = errno.errorcode[int(value[0])] if value else action
    return call, ("late " if action == "late" else "") + name + (", stays" if number.endswith("+") else "")
