#include "daemon/worker_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/error.hpp"

extern char** environ;

namespace vmad::daemon {
namespace {

constexpr std::uint64_t kPatienceUsec = 2'000'000;

/// The running program itself, even after an upgrade has replaced its file.
constexpr const char* kSelf = "/proc/self/exe";

struct Pipe {
    base::UniqueFd read;
    base::UniqueFd write;
};

Pipe make_pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC) != 0) base::throw_errno("create", "a pipe");
    return {base::UniqueFd(fds[0]), base::UniqueFd(fds[1])};
}

void set_non_blocking(const base::UniqueFd& fd) {
    if (::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) base::throw_errno("fcntl", "a pipe");
}

/// Writes all of it or throws; never waits, so the text must fit the pipe.
void write_at_once(const base::UniqueFd& pipe, std::string_view text) {
    // 64 KiB fit without asking, more where the kernel gives it.
    if (text.size() > 65536) (void)::fcntl(pipe.get(), F_SETPIPE_SZ, static_cast<int>(text.size()));
    const auto count = ::write(pipe.get(), text.data(), text.size());
    if (count < 0) base::throw_errno("write", "to a worker");
    if (static_cast<std::size_t>(count) != text.size()) throw base::Error("an order to a worker is too long");
}

std::string how_it_ended(const siginfo_t& info) {
    if (info.si_code == CLD_EXITED) return fmt::format("exit code {}", info.si_status);
    return fmt::format("signal {}", info.si_status);
}

class SpawnActions {
  public:
    SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
    ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
    SpawnActions(const SpawnActions&) = delete;
    SpawnActions& operator=(const SpawnActions&) = delete;
    [[nodiscard]] posix_spawn_file_actions_t* get() noexcept { return &actions_; }

  private:
    posix_spawn_file_actions_t actions_;
};

class SpawnAttributes {
  public:
    SpawnAttributes() { ::posix_spawnattr_init(&attributes_); }
    ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
    SpawnAttributes(const SpawnAttributes&) = delete;
    SpawnAttributes& operator=(const SpawnAttributes&) = delete;
    [[nodiscard]] posix_spawnattr_t* get() noexcept { return &attributes_; }

  private:
    posix_spawnattr_t attributes_;
};

/// What an event loop must not see: the exception becomes a line of the log.
template <typename Action>
int guarded(Action action) noexcept {
    try {
        action();
    } catch (const std::exception& error) {
        spdlog::error("worker: {}", error.what());
    }
    return 0;
}

}  // namespace

WorkerProcess::WorkerProcess(sd_event* event, const api::WorkerOrder& order, Callbacks callbacks)
    : event_(event), callbacks_(std::move(callbacks)) {
    auto orders = make_pipe();
    auto events = make_pipe();
    set_non_blocking(orders.write);
    set_non_blocking(events.read);
    write_at_once(orders.write, api::to_line(order));
    orders_ = std::move(orders.write);
    events_ = std::move(events.read);
    sd_event_source* source = nullptr;
    varlink::check_event(sd_event_add_io(event_, &source, events_.get(), EPOLLIN, on_events, this),
                         "sd_event_add_io");
    events_source_.reset(source);
    spawn(orders.read.get(), events.write.get());
    const int added = sd_event_add_child(event_, &source, pid_, WEXITED, on_exit, this);
    if (added < 0) kill_now();
    varlink::check_event(added, "sd_event_add_child");
    exit_source_.reset(source);
}

WorkerProcess::~WorkerProcess() {
    if (pid_ <= 0) return;
    exit_source_.reset();
    kill_now();
}

void WorkerProcess::kill_now() noexcept {
    ::kill(pid_, SIGKILL);
    // Not waited for: it may hang in a share, and is reaped by whoever comes after us.
    (void)::waitpid(pid_, nullptr, WNOHANG);
}

void WorkerProcess::spawn(int orders, int events) {
    SpawnActions actions;
    SpawnAttributes attributes;
    // Above both targets first: one of the pipes may have the number that the other one is to get.
    const base::UniqueFd high_orders(::fcntl(orders, F_DUPFD_CLOEXEC, 10));
    const base::UniqueFd high_events(::fcntl(events, F_DUPFD_CLOEXEC, 10));
    if (!high_orders || !high_events) base::throw_errno("duplicate", "a pipe");
    ::posix_spawn_file_actions_adddup2(actions.get(), high_orders.get(), api::kWorkerOrderFd);
    ::posix_spawn_file_actions_adddup2(actions.get(), high_events.get(), api::kWorkerEventFd);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    ::posix_spawnattr_setsigmask(attributes.get(), &none);
    ::posix_spawnattr_setsigdefault(attributes.get(), &all);
    ::posix_spawnattr_setflags(attributes.get(), POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    auto parent = std::to_string(::getpid());
    char program[] = "vmad";
    char command[] = "worker";
    char* const argv[] = {program, command, parent.data(), nullptr};
    const int error = ::posix_spawn(&pid_, kSelf, actions.get(), attributes.get(), argv, environ);
    if (error != 0) {
        pid_ = -1;
        throw base::SystemError(error, "start", "a worker");
    }
}

void WorkerProcess::stop() {
    if (patience_) return;
    ::kill(pid_, SIGTERM);
    sd_event_source* source = nullptr;
    varlink::check_event(
        sd_event_add_time_relative(event_, &source, CLOCK_MONOTONIC, kPatienceUsec, 0, on_patience_end, this),
        "sd_event_add_time");
    patience_.reset(source);
}

int WorkerProcess::on_events(sd_event_source*, int, std::uint32_t, void* self) noexcept {
    auto& worker = *static_cast<WorkerProcess*>(self);
    return guarded([&] {
        if (!worker.read_some()) worker.events_source_.reset();
    });
}

int WorkerProcess::on_exit(sd_event_source*, const siginfo_t* info, void* self) noexcept {
    auto& worker = *static_cast<WorkerProcess*>(self);
    return guarded([&] {
        while (worker.read_some()) {
        }
        worker.end(*info);
    });
}

int WorkerProcess::on_patience_end(sd_event_source*, std::uint64_t, void* self) noexcept {
    ::kill(static_cast<WorkerProcess*>(self)->pid_, SIGKILL);
    return 0;
}

bool WorkerProcess::read_some() {
    std::array<char, 65536> bytes;
    const auto count = ::read(events_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) return true;
    if (count <= 0) return false;
    try {
        lines_.add({bytes.data(), static_cast<std::size_t>(count)});
        while (const auto line = lines_.next()) take(*line);
    } catch (const base::Error& error) {
        // A worker that cannot be understood or answered must not go on: closing its pipe says so.
        fault_ = error.what();
        orders_.reset();
        ::kill(pid_, SIGKILL);
        return false;
    }
    return true;
}

void WorkerProcess::take(const std::string& line) {
    const auto event = api::worker_event_from_line(line);
    if (const auto* progress = std::get_if<api::JobProgress>(&event)) {
        callbacks_.progress(*progress);
    } else if (const auto* publication = std::get_if<api::WorkerPublication>(&event)) {
        callbacks_.publication(publication->record);
        write_at_once(orders_, api::kRecordedLine);
    } else {
        result_ = std::get<api::WorkerResult>(event);
    }
}

void WorkerProcess::end(const siginfo_t& info) {
    pid_ = -1;
    events_source_.reset();
    const auto how = how_it_ended(info);
    // That it was killed for what we could not do is no death of its own.
    if (!result_ && !fault_.empty())
        result_ = api::WorkerResult{api::WorkerOutcome::transient, fault_, {}, {}};
    // The callback may destroy this object: nothing of it is used afterwards.
    const auto ended = std::move(callbacks_.ended);
    const auto result = std::move(result_);
    ended(result, how);
}

}  // namespace vmad::daemon
