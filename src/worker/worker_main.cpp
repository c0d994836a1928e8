#include "worker/worker_main.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.hpp"
#include "io/rate_limit.hpp"
#include "worker/daemon_link.hpp"
#include "worker/run_job.hpp"

namespace vmad::worker {
namespace {

base::CancelFlag cancel;

void on_terminate(int) { cancel.request(); }

void prepare_signals() {
    struct sigaction action {};
    action.sa_handler = on_terminate;
    if (::sigaction(SIGTERM, &action, nullptr) != 0) base::throw_errno("sigaction", "SIGTERM");
    // A daemon that is gone shows as an error of write.
    action.sa_handler = SIG_IGN;
    if (::sigaction(SIGPIPE, &action, nullptr) != 0) base::throw_errno("sigaction", "SIGPIPE");
}

/// On a hypervisor the guests come first: for the processor, for the disks, and when memory runs out. What
/// cannot be had is done without.
void lower_priority() {
    constexpr int kIoprioWhoProcess = 1;
    constexpr int kIoprioIdle = 3 << 13;
    (void)::setpriority(PRIO_PROCESS, 0, 10);
    (void)::syscall(SYS_ioprio_set, kIoprioWhoProcess, 0, kIoprioIdle);
    if (std::FILE* score = std::fopen("/proc/self/oom_score_adj", "we")) {
        std::fputs("1000", score);
        std::fclose(score);
    }
}

/// Without the daemon nobody keeps the record that recovery needs. It may have died before this was set.
void die_with(pid_t daemon) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) base::throw_errno("prctl", "PR_SET_PDEATHSIG");
    if (::getppid() != daemon) throw base::Error("the daemon is gone");
}

}  // namespace

int worker_main(pid_t daemon) {
    try {
        die_with(daemon);
        // It was started as /proc/self/exe.
        (void)::prctl(PR_SET_NAME, "vmad-worker");
        prepare_signals();
        lower_priority();
        for (const int fd : {api::kWorkerOrderFd, api::kWorkerEventFd, api::kWorkerRateFd})
            if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
                base::throw_errno("fcntl", "what the daemon passes on");
        const auto rate = io::RateLimit::attach(base::UniqueFd(api::kWorkerRateFd));
        DaemonLink link{base::UniqueFd(api::kWorkerOrderFd), base::UniqueFd(api::kWorkerEventFd)};
        const auto order = link.receive_order();
        io::RateLimitedFileSystem fs(rate, cancel);
        const JobReports reports{
            .record = [&](const api::WorkerRecord& record) { link.record(record); },
            .progress = [&](const api::JobProgress& progress) { link.send(progress); },
            .guest = [&](const std::string& name) { link.send(api::WorkerGuest{name}); },
            // The daemon puts it into the journal, with the job's fields; the prefix is that of sd-daemon(3).
            .log = [](const std::string& line) { std::fprintf(stderr, "<6>%s\n", line.c_str()); },
            .debug = [](const std::string& line) { std::fprintf(stderr, "<7>%s\n", line.c_str()); }};
        link.send(run_job(fs, order, cancel, reports));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "vmad worker: %s\n", error.what());
        return 1;
    }
}

}  // namespace vmad::worker
