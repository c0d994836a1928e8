#include "daemon/worker_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/child_start.hpp"
#include "base/error.hpp"
#include "daemon/log.hpp"

namespace vmad::daemon {
namespace {

/// Between SIGTERM and SIGKILL, and from then on until it must hang in the kernel.
constexpr std::uint64_t kPatienceUsec = 2'000'000;
constexpr std::uint64_t kLastPatienceUsec = 3'000'000;

/// The running program itself, even after an upgrade has replaced its file.
constexpr const char* kSelf = "/proc/self/exe";

/// Writes all of it or throws; never waits, so the text must fit the pipe.
void write_at_once(const base::UniqueFd& pipe, std::string_view text) {
    // 64 KiB fit without asking, more where the kernel gives it.
    if (text.size() > 65536) (void)::fcntl(pipe.get(), F_SETPIPE_SZ, static_cast<int>(text.size()));
    const auto count = ::write(pipe.get(), text.data(), text.size());
    if (count < 0) base::throw_errno("write", "to a worker");
    if (static_cast<std::size_t>(count) != text.size()) throw base::Error("an order to a worker is too long");
}

std::vector<std::string> our_environment() {
    std::vector<std::string> result;
    for (char** entry = environ; *entry != nullptr; ++entry) result.emplace_back(*entry);
    return result;
}

/// What an event loop must not see: the exception becomes a line of the log.
template <typename Action>
int guarded(Action action) noexcept {
    try {
        action();
    } catch (const std::exception& error) {
        log_error("worker", error.what());
    }
    return 0;
}

}  // namespace

WorkerProcess::WorkerProcess(sd_event* event, const api::WorkerOrder& order, const io::RateLimit& rate,
                             Callbacks callbacks)
    : event_(event), callbacks_(std::move(callbacks)) {
    auto orders = base::make_pipe();
    auto events = base::make_pipe();
    auto errors = base::make_pipe();
    base::set_non_blocking(orders.write);
    base::set_non_blocking(events.read);
    base::set_non_blocking(errors.read);
    write_at_once(orders.write, api::to_line(order));
    orders_ = std::move(orders.write);
    events_ = std::move(events.read);
    errors_ = std::move(errors.read);
    watch(events_, on_events, events_source_);
    watch(errors_, on_errors, errors_source_);

    base::ChildStart child;
    child.give(errors.write.get(), STDERR_FILENO);
    child.give(orders.read.get(), api::kWorkerOrderFd);
    child.give(events.write.get(), api::kWorkerEventFd);
    child.give(rate.fd(), api::kWorkerRateFd);
    pid_ = child.run(kSelf, {"vmad", "worker", std::to_string(::getpid())}, our_environment());
    sd_event_source* source = nullptr;
    int added = sd_event_add_child(event_, &source, pid_, WEXITED, on_exit, this);
    exit_source_.reset(source);
    // While somebody traces it, its end shows before we may wait for it, so one look is not enough. Only a
    // source that was off takes the new mode over.
    for (const int enabled : {SD_EVENT_OFF, SD_EVENT_ON})
        if (added >= 0) added = sd_event_source_set_enabled(source, enabled);
    if (added < 0) {
        ::kill(pid_, SIGKILL);
        (void)::waitpid(pid_, nullptr, WNOHANG);
    }
    varlink::check_event(added, "watch a worker");
}

WorkerProcess::~WorkerProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    leave_to_kernel();
}

/// It may hang in a share, so it is not waited for: it is reaped when it ends, by the loop, or after that by
/// whoever comes after us.
void WorkerProcess::leave_to_kernel() noexcept {
    sd_event_source* source = exit_source_.release();
    sd_event_source_set_userdata(source, nullptr);
    (void)sd_event_source_set_floating(source, 1);
    sd_event_source_unref(source);
}

void WorkerProcess::watch(const base::UniqueFd& fd, sd_event_io_handler_t handler,
                          varlink::EventSource& source) {
    sd_event_source* added = nullptr;
    varlink::check_event(sd_event_add_io(event_, &added, fd.get(), EPOLLIN, handler, this),
                         "sd_event_add_io");
    source.reset(added);
}

void WorkerProcess::stop() {
    if (patience_ || pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    // One that stands still would never see it.
    if (halted_) ::kill(pid_, SIGCONT);
    wait_for_end(kPatienceUsec);
}

void WorkerProcess::set_halted(bool halted) {
    if (halted == halted_ || patience_ || pid_ <= 0) return;
    halted_ = halted;
    ::kill(pid_, halted ? SIGSTOP : SIGCONT);
}

void WorkerProcess::wait_for_end(std::uint64_t usec) {
    sd_event_source* source = nullptr;
    varlink::check_event(
        sd_event_add_time_relative(event_, &source, CLOCK_MONOTONIC, usec, 0, on_patience_end, this),
        "sd_event_add_time");
    patience_.reset(source);
}

int WorkerProcess::on_events(sd_event_source*, int, std::uint32_t, void* self) noexcept {
    auto& worker = *static_cast<WorkerProcess*>(self);
    return guarded([&] {
        if (!worker.read_events()) worker.events_source_.reset();
    });
}

int WorkerProcess::on_errors(sd_event_source*, int, std::uint32_t, void* self) noexcept {
    auto& worker = *static_cast<WorkerProcess*>(self);
    return guarded([&] {
        if (!worker.read_errors()) worker.errors_source_.reset();
    });
}

int WorkerProcess::on_exit(sd_event_source* source, const siginfo_t* info, void* self) noexcept {
    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    if (self == nullptr) {  // given up before; that it has been reaped is all that is left to do
        (void)sd_event_source_set_floating(source, 0);
        return 0;
    }
    auto& worker = *static_cast<WorkerProcess*>(self);
    return guarded([&] {
        while (worker.read_events()) {
        }
        worker.pid_ = -1;
        worker.end(base::describe_end(*info));
    });
}

int WorkerProcess::on_patience_end(sd_event_source*, std::uint64_t, void* self) noexcept {
    auto& worker = *static_cast<WorkerProcess*>(self);
    return guarded([&] {
        if (!worker.killed_) {
            worker.killed_ = true;
            ::kill(worker.pid_, SIGKILL);
            worker.wait_for_end(kLastPatienceUsec);
            return;
        }
        worker.leave_to_kernel();
        worker.pid_ = -1;
        worker.end("killed, but it hangs in the kernel: its storage may not answer");
    });
}

bool WorkerProcess::read_events() {
    std::array<char, 65536> bytes;
    const auto count = ::read(events_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) return true;
    if (count < 0) kill_if_unreadable();
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

/// A worker that nobody hears would wait for ever when its pipe is full. That is a death like any other.
void WorkerProcess::kill_if_unreadable() noexcept {
    if (errno == EAGAIN || pid_ <= 0) return;
    log_error("worker", base::SystemError(errno, "read", "what the worker says").what());
    ::kill(pid_, SIGKILL);
}

bool WorkerProcess::read_errors() {
    std::array<char, 4096> bytes;
    const auto count = ::read(errors_.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) return true;
    if (count < 0) kill_if_unreadable();
    if (count <= 0) return false;
    said_.add({bytes.data(), static_cast<std::size_t>(count)});
    return true;
}

void WorkerProcess::take(const std::string& line) {
    const auto event = api::worker_event_from_line(line);
    if (const auto* progress = std::get_if<api::JobProgress>(&event)) {
        callbacks_.progress(*progress);
    } else if (const auto* record = std::get_if<api::WorkerRecord>(&event)) {
        callbacks_.record(*record);
        answer(api::kRecordedLine);
    } else if (const auto* guest = std::get_if<api::WorkerGuest>(&event)) {
        callbacks_.guest(*guest);
    } else {
        result_ = std::get<api::WorkerResult>(event);
    }
}

/// One that has died since it asked needs none: its end says how.
void WorkerProcess::answer(std::string_view line) {
    try {
        write_at_once(orders_, line);
    } catch (const base::SystemError& error) {
        if (error.number() != EPIPE) throw;
    }
}

void WorkerProcess::end(const std::string& how) {
    while (read_errors()) {
    }
    said_.finish();
    events_source_.reset();
    errors_source_.reset();
    patience_.reset();
    // That it was killed for what we could not do is no death of its own.
    if (!result_ && !fault_.empty())
        result_ = api::WorkerResult{
            .state = api::JobState::waiting, .waiting_for = api::WaitReason::retry, .reason = fault_};
    // The callback may destroy this object: nothing of it is used afterwards.
    const auto ended = std::move(callbacks_.ended);
    const auto result = std::move(result_);
    ended(result, how);
}

}  // namespace vmad::daemon
