// call-tracer command|worker COMMAND...: runs COMMAND, and interferes with chosen system calls of it
// ("command"), or of each worker that it starts ("worker", by its first argument). strace can do that only
// for the n-th call of one kind of each thread, in all processes alike.
//
// Each watched process takes one line from standard input when it starts, if there is one: rules, separated
// by ";", each of them "ACTION CALL NUMBER [VALUE]". CALL is a name of kCalls, "tmpfile" (an openat of an
// unnamed file), "epoll_add" (an epoll_ctl that adds), "any", or "any@CALL": any call of the first thread,
// but those that only wait or manage memory, counted from the first CALL on. NUMBER is which one of the
// process, from 1; with "+" behind it, all from there on; 0: each. Not counted is what the dynamic linker
// does at the start. ACTION is
//   kill   before the call is made
//   fail   with the errno value VALUE: it is not made
//   late   with the errno value VALUE: it is made
//   short  half of what is asked for, of a read or write; of several slices, half of the first one
//   pause  prints {"plan": the line, "at": CALL}, and goes on when there is another line on standard input
// Other actions do nothing. When a watched process ends, it prints {"plan": the line, "end": exit code or
// -signal, "hit": [CALL...], "calls": {CALL: count...}, "order": [CALL...]}, the last one of the first
// thread, without what "any@" leaves out. What it started is killed when it ends itself. The exit code is
// that of the first COMMAND; 77 where nobody can trace.
#ifndef __x86_64__

#include <cstdio>

int main() {
    std::fputs("call-tracer: it does not know the registers of this processor\n", stderr);
    return 77;
}

#else

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

#define CALL(name) \
    { SYS_##name, #name }
const std::map<long, const char*> kCalls{
    CALL(accept4),
    CALL(bind),
    CALL(brk),
    CALL(chdir),
    CALL(clone),
    CALL(clone3),
    CALL(close),
    CALL(close_range),
    CALL(connect),
    CALL(copy_file_range),
    CALL(dup2),
    CALL(dup3),
    CALL(epoll_create1),
    CALL(epoll_ctl),
    CALL(epoll_pwait2),
    CALL(epoll_wait),
    CALL(eventfd2),
    CALL(execve),
    CALL(fadvise64),
    CALL(fallocate),
    CALL(fchmod),
    CALL(fchown),
    CALL(fcntl),
    CALL(fgetxattr),
    CALL(flistxattr),
    CALL(flock),
    CALL(fork),
    CALL(fremovexattr),
    CALL(fsetxattr),
    CALL(fstat),
    CALL(fstatfs),
    CALL(fsync),
    CALL(ftruncate),
    CALL(futex),
    CALL(getdents64),
    CALL(getrandom),
    CALL(getsockname),
    CALL(getsockopt),
    CALL(inotify_add_watch),
    CALL(inotify_init1),
    CALL(io_destroy),
    CALL(io_getevents),
    CALL(io_setup),
    CALL(io_submit),
    CALL(ioctl),
    CALL(ioprio_set),
    CALL(kill),
    CALL(linkat),
    CALL(listen),
    CALL(lseek),
    CALL(madvise),
    CALL(memfd_create),
    CALL(mkdir),
    CALL(mkdirat),
    CALL(mmap),
    CALL(mprotect),
    CALL(munmap),
    CALL(newfstatat),
    CALL(open),
    CALL(openat),
    CALL(openat2),
    CALL(pidfd_open),
    CALL(pipe2),
    CALL(poll),
    CALL(ppoll),
    CALL(prctl),
    CALL(pread64),
    CALL(preadv),
    CALL(prlimit64),
    CALL(pwrite64),
    CALL(pwritev),
    CALL(read),
    CALL(readlink),
    CALL(readlinkat),
    CALL(recvfrom),
    CALL(recvmsg),
    CALL(renameat),
    CALL(renameat2),
    CALL(rt_sigprocmask),
    CALL(sched_getaffinity),
    CALL(sched_setaffinity),
    CALL(sched_setattr),
    CALL(sched_setscheduler),
    CALL(sendmsg),
    CALL(sendto),
    CALL(setpriority),
    CALL(setsockopt),
    CALL(signalfd4),
    CALL(socket),
    CALL(socketpair),
    CALL(statfs),
    CALL(statx),
    CALL(sync_file_range),
    CALL(timerfd_create),
    CALL(timerfd_settime),
    CALL(unlink),
    CALL(unlinkat),
    CALL(utimensat),
    CALL(vfork),
    CALL(wait4),
    CALL(waitid),
    CALL(write),
    CALL(writev),
};
#undef CALL

struct Rule {
    std::string action, call;
    unsigned number = 0;
    bool stays = false;
    int value = 0;
};

struct Process {
    bool is_watched = false;
    bool is_loaded = false;
    std::string plan;
    std::vector<Rule> rules;
    std::map<std::string, unsigned> counts;
    std::map<std::string, unsigned>
        counts_after;  ///< of the first thread's calls, from the first of each kind on
    std::vector<std::string> order, hit;
};

/// What a call that is made shorter has asked for.
struct Request {
    unsigned long long count = 0;        ///< of bytes, or slices
    unsigned long long first_slice = 0;  ///< where its length is
    long first_length = 0;
};

struct Thread {
    pid_t process = 0;
    bool is_new = true;  ///< the SIGSTOP that it begins with is the kernel's
    int result = 0;      ///< of the call under way, when it is not the kernel's
    std::optional<Request> shortened{};
};

std::map<pid_t, Process> processes;
std::map<pid_t, Thread> threads;
bool watches_workers;

constexpr int kCannotTrace = 77;

[[noreturn]] void give_up(const char* what, int code = 1) {
    std::perror(what);
    ::_exit(code);
}

/// Empty when there is none; `waits` for one.
std::string next_line(bool waits) {
    (void)::fcntl(STDIN_FILENO, F_SETFL, waits ? 0 : O_NONBLOCK);
    std::string line;
    for (char byte = 0;;) {
        const auto count = ::read(STDIN_FILENO, &byte, 1);
        if (count <= 0 && waits) ::_exit(1);
        if (count <= 0 || byte == '\n') return line;
        line += byte;
    }
}

void print(const std::string& line) {
    const auto text = line + "\n";
    if (::write(STDOUT_FILENO, text.data(), text.size()) < 0) give_up("write");
}

std::string in_quotes(const std::vector<std::string>& words) {
    std::string text;
    for (const auto& word : words) text += (text.empty() ? "\"" : ", \"") + word + "\"";
    return "[" + text + "]";
}

void watch(Process& process) {
    process = {};
    process.is_watched = true;
    process.plan = next_line(false);
    std::istringstream rules(process.plan);
    for (std::string text; std::getline(rules, text, ';');) {
        Rule rule;
        std::string number;
        std::istringstream(text) >> rule.action >> rule.call >> number >> rule.value;
        rule.number = static_cast<unsigned>(std::atoi(number.c_str()));
        rule.stays = number.ends_with('+');
        process.rules.push_back(rule);
    }
}

/// What `more` says of the process, as a JSON object.
void report(const Process& process, const std::string& more) {
    print("{\"plan\": \"" + process.plan + "\", " + more + "}");
}

/// `end`: its exit code, or the negative number of the signal that it died of.
void report_end(const Process& process, int end) {
    std::string calls;
    for (const auto& [call, count] : process.counts)
        calls += (calls.empty() ? "\"" : ", \"") + call + "\": " + std::to_string(count);
    report(process, "\"end\": " + std::to_string(end) + ", \"hit\": " + in_quotes(process.hit) +
                        ", \"calls\": {" + calls + "}, \"order\": " + in_quotes(process.order));
}

bool only_waits_or_allocates(const std::string& call) {
    for (const char* other :
         {"futex", "brk", "mmap", "munmap", "mprotect", "madvise", "other", "rt_sigprocmask"})
        if (call == other) return true;
    return false;
}

/// Whether this call, the counts of which are up to date, is the one.
bool fits(const Rule& rule, const Process& process, const std::string& call, bool is_first_thread) {
    if (rule.call.starts_with("any@")) {
        const auto from = process.counts_after.find(rule.call.substr(4));
        return is_first_thread && !only_waits_or_allocates(call) && from != process.counts_after.end() &&
               from->second == rule.number;
    }
    if (rule.call != "any" && rule.call != call) return false;
    const auto number = process.counts.at(rule.call);
    return rule.number == 0 || number == rule.number || (rule.stays && number > rule.number);
}

/// Some calls are several.
std::string name_of(const __ptrace_syscall_info& info) {
    const auto& arguments = info.entry.args;
    if (info.entry.nr == SYS_openat && (arguments[2] & O_TMPFILE) == O_TMPFILE) return "tmpfile";
    if (info.entry.nr == SYS_epoll_ctl && arguments[1] == EPOLL_CTL_ADD) return "epoll_add";
    const auto found = kCalls.find(static_cast<long>(info.entry.nr));
    return found == kCalls.end() ? "other" : found->second;
}

void shorten(user_regs_struct& registers, pid_t id, Thread& thread, const std::string& call) {
    auto& request = thread.shortened.emplace(Request{.count = registers.rdx});
    if (!call.ends_with('v')) {
        registers.rdx = (registers.rdx + 1) / 2;
        return;
    }
    registers.rdx = 1;
    request.first_slice = registers.rsi + offsetof(iovec, iov_len);
    request.first_length = ::ptrace(PTRACE_PEEKDATA, id, request.first_slice, 0);
    (void)::ptrace(PTRACE_POKEDATA, id, request.first_slice, (request.first_length + 1) / 2);
}

void act(const Rule& rule, pid_t id, Thread& thread, const std::string& call) {
    user_regs_struct registers{};
    if (rule.action == "kill") ::kill(thread.process, SIGKILL);
    if (rule.action == "pause") {
        report(processes[thread.process], "\"at\": \"" + call + "\"");
        (void)next_line(true);
    }
    if (rule.action == "fail" || rule.action == "late") thread.result = -rule.value;
    if ((rule.action != "fail" && rule.action != "short") || ::ptrace(PTRACE_GETREGS, id, 0, &registers) != 0)
        return;
    if (rule.action == "fail") registers.orig_rax = static_cast<unsigned long long>(-1);
    if (rule.action == "short") shorten(registers, id, thread, call);
    (void)::ptrace(PTRACE_SETREGS, id, 0, &registers);
}

void on_return(pid_t id, Thread& thread) {
    user_regs_struct registers{};
    if ((thread.result == 0 && !thread.shortened) || ::ptrace(PTRACE_GETREGS, id, 0, &registers) != 0) return;
    if (thread.shortened) {
        registers.rdx = thread.shortened->count;
        if (const auto& [count, slice, length] = *thread.shortened; slice != 0)
            (void)::ptrace(PTRACE_POKEDATA, id, slice, length);
        thread.shortened.reset();
    }
    if (thread.result != 0) registers.rax = static_cast<unsigned long long>(std::exchange(thread.result, 0));
    (void)::ptrace(PTRACE_SETREGS, id, 0, &registers);
}

void on_call(pid_t id, Thread& thread) {
    __ptrace_syscall_info info{};
    if (::ptrace(PTRACE_GET_SYSCALL_INFO, id, sizeof info, &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT) on_return(id, thread);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) return;
    auto& process = processes[thread.process];
    const auto call = name_of(info);
    const bool is_first_thread = id == thread.process;
    // The last thing that the dynamic linker does is to give its cache back.
    if (!std::exchange(process.is_loaded, process.is_loaded || call == "munmap")) return;
    ++process.counts["any"];
    ++process.counts[call];
    if (is_first_thread && !only_waits_or_allocates(call)) {
        process.order.push_back(call);
        process.counts_after.try_emplace(call, 0);
        for (auto& [from, count] : process.counts_after) ++count;
    }
    for (const auto& rule : process.rules)
        if (fits(rule, process, call, is_first_thread)) {
            process.hit.push_back(call);
            act(rule, id, thread, call);
        }
}

pid_t process_of(pid_t thread) {
    std::ifstream status("/proc/" + std::to_string(thread) + "/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("Tgid:")) return std::atoi(line.c_str() + 5);
    return thread;
}

bool is_worker(pid_t process) {
    std::ifstream file("/proc/" + std::to_string(process) + "/cmdline");
    const std::string words{std::istreambuf_iterator<char>(file), {}};
    return std::string(words.c_str() + std::min(words.size(), words.find('\0') + 1)) == "worker";
}

constexpr long kOptions =
    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;

void on_stop(pid_t id, int status) {
    auto& thread = threads[id];
    const bool was_new = std::exchange(thread.is_new, false);
    if (was_new) thread.process = process_of(id);
    int signal = WSTOPSIG(status);
    const int event = status >> 16;
    if (signal == (SIGTRAP | 0x80)) {
        on_call(id, thread);
        signal = 0;
    } else if (event == PTRACE_EVENT_EXEC) {
        if (watches_workers && is_worker(thread.process)) watch(processes[thread.process]);
        signal = 0;
    } else if (event != 0 || (was_new && signal == SIGSTOP)) {
        signal = 0;
    }
    const auto request = processes[thread.process].is_watched ? PTRACE_SYSCALL : PTRACE_CONT;
    (void)::ptrace(request, id, 0, signal);  // it may have been killed meanwhile
}

void on_end(pid_t id, int status) {
    threads.erase(id);
    const auto process = processes.find(id);
    if (process == processes.end()) return;
    if (process->second.is_watched)
        report_end(process->second, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    processes.erase(process);
}

pid_t start(char** command) {
    const pid_t child = ::fork();
    if (child < 0) give_up("fork");
    if (child == 0) {
        const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        ::dup2(nothing, STDIN_FILENO);
        ::dup2(STDERR_FILENO, STDOUT_FILENO);
        if (::ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) give_up("ptrace", kCannotTrace);
        ::raise(SIGSTOP);
        ::execv(command[0], command);
        give_up(command[0]);
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child) give_up("waitpid");
    if (!WIFSTOPPED(status)) ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    const long workers = watches_workers ? PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK : 0;
    if (::ptrace(PTRACE_SETOPTIONS, child, 0, kOptions | workers) != 0) give_up("ptrace");
    threads[child] = {.process = child, .is_new = false};
    if (!watches_workers) watch(processes[child]);
    if (::ptrace(watches_workers ? PTRACE_CONT : PTRACE_SYSCALL, child, 0, 0) != 0) give_up("ptrace");
    return child;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    watches_workers = std::strcmp(argv[1], "worker") == 0;
    const pid_t first = start(argv + 2);
    for (int status = 0;;) {
        const pid_t id = ::waitpid(-1, &status, __WALL);
        if (id < 0) ::_exit(errno == ECHILD ? 0 : 1);
        if (WIFSTOPPED(status)) {
            on_stop(id, status);
            continue;
        }
        on_end(id, status);
        if (id == first) ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

#endif
