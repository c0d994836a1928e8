#include "ctl/commands/job_wait.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/path.hpp"
#include "base/units.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"
#include "pve/hook_caller.hpp"

namespace vmad::ctl {
namespace {

/// Shows on a terminal what the daemon is doing, over a connection of its own, until it is destroyed.
class JobWatch {
  public:
    /// So many jobs are waited for.
    JobWatch(Context& context, std::size_t count) : context_(context), count_(count) {
        if (context_.console.shows_progress()) thread_ = std::thread([this] { watch(); });
    }
    JobWatch(const JobWatch&) = delete;
    JobWatch& operator=(const JobWatch&) = delete;
    ~JobWatch() {
        {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
        }
        stop_.notify_one();
        if (thread_.joinable()) thread_.join();
        show({});
    }

    /// One of the jobs has ended: calls `print` while the line is away.
    template <typename Print>
    void without_line(Print print) {
        const std::lock_guard lock(mutex_);
        show({});
        ++ended_;
        print();
    }

  private:
    void watch() {
        try {
            // A connection each, since the daemon may be restarted.
            for (std::unique_lock lock(mutex_); !stopped_; stop_.wait_for(lock, std::chrono::seconds(1))) {
                lock.unlock();
                const auto text = line();
                lock.lock();
                show(text);
            }
        } catch (const std::exception&) {
            // Whoever waits for the jobs meets the same trouble and reports it.
        }
    }

    [[nodiscard]] std::string line() const {
        try {
            return line(context_.daemon().status());
        } catch (const base::Error&) {
            return "waiting for the daemon";
        }
    }

    [[nodiscard]] std::string line(const api::Status& status) const {
        if (!status.active.empty()) {
            auto view = progress_view(status.active.front());
            view.label = numbered_label(std::min<std::size_t>(ended_ + 1, count_), count_, view.label);
            return progress_line(view, context_.console.width());
        }
        return fmt::format("{} queued, {} waiting", status.counts[api::JobState::queued],
                           status.counts[api::JobState::waiting]);
    }

    void show(const std::string& text) {
        if (context_.console.shows_progress()) context_.console.show_line(text);
    }

    Context& context_;
    std::size_t count_;
    std::atomic<std::size_t> ended_ = 0;
    std::mutex mutex_;  ///< of the terminal's last line too
    std::condition_variable stop_;
    bool stopped_ = false;
    std::thread thread_;
};

/// For a restart, or an upgrade; with a timeout, that is the limit.
constexpr auto kLongestAbsence = std::chrono::minutes(10);

void check_caller() {
    if (pve::hook_is_abandoned())
        throw base::Error("vzdump has died, so nobody waits for these jobs any more");
}

api::QueueClient connect(Context& context) {
    auto daemon = context.daemon();
    daemon.set_idle(check_caller);
    return daemon;
}

/// What is not named is waited for if something comes after it that wants repacked archives: verify jobs are
/// not.
bool concerns_all(const api::Job& job) {
    return job.kind == api::JobKind::repack && !api::is_final(job.state) &&
           job.waiting_for != api::WaitReason::grace_period;
}

std::set<std::uint64_t> unfinished_jobs(api::QueueClient& daemon,
                                        const std::function<bool(const api::Job&)>& concerns = {}) {
    using api::JobState;
    std::set<std::uint64_t> ids;
    for (const auto& job :
         daemon.list({JobState::queued, JobState::running, JobState::publishing, JobState::waiting}))
        if (concerns_all(job))
            if (!concerns || concerns(job)) ids.insert(job.id);
    return ids;
}

std::string unfinished_line(const api::Job& job, bool paused) {
    auto line = fmt::format("job {} has not finished: {}: {}", job.id, api::to_string(job.state), job.path);
    if (paused && job.state == api::JobState::queued) line += ": the queue is paused";
    if (!job.reason.empty()) line += ": " + job.reason;
    return line;
}

/// Says which jobs have not finished, and why. How many there are; none when the daemon does not answer.
std::size_t report_unfinished(Context& context, const api::WaitCall& call) {
    const auto is_one_of = [](const auto& list, const auto& value) {
        return std::find(list.begin(), list.end(), value) != list.end();
    };
    std::size_t count = 0;
    try {
        api::QueueClient daemon(context.options.socket, std::chrono::seconds(2));
        const bool paused = daemon.status().hold == api::Hold::paused;
        for (const auto& job : daemon.list({})) {
            const bool is_over = api::is_final(job.state) || job.waiting_for == api::WaitReason::grace_period;
            const bool all = call.ids.empty() && call.paths.empty();
            const bool is_named = is_one_of(call.ids, job.id) || is_one_of(call.paths, job.path);
            if (is_over || !(all ? concerns_all(job) : is_named)) continue;
            context.console.message(unfinished_line(job, paused));
            ++count;
        }
    } catch (const base::Error&) {
        // That it took too long is told all the same.
    }
    return count;
}

void print(Context& context, const api::Job& job) {
    if (context.options.json) return print_json(context.console, job);
    auto line = fmt::format("job {}: {}: {}", job.id, state_text(job), job.path);
    const auto result = result_text(job, now());
    if (!result.empty() && (job.state == api::JobState::done || job.since))
        line += fmt::format(", {}", result);
    if (!job.reason.empty()) line += ": " + job.reason;
    context.console.print(context.console.paint(colour_of(job.state), printable(line)) + "\n");
}

}  // namespace

JobWait::JobWait(Context& context, std::int64_t timeout_seconds)
    : context_(context), timeout_seconds_(timeout_seconds) {
    if (timeout_seconds != 0) end_ = Clock::now() + std::chrono::seconds(timeout_seconds);
}

ExitCode JobWait::run(api::WaitCall call) {
    auto daemon = connect(context_);
    const bool all = call.ids.empty() && call.paths.empty();
    // Of all jobs, those that end while the daemon is away must not be missed.
    auto left = all ? unfinished_jobs(daemon) : std::set<std::uint64_t>();
    JobWatch watch(context_, all ? left.size() : call.ids.size() + call.paths.size());
    const auto on_end = [&](const api::Job& job) {
        watch.without_line([&] { print(context_, job); });
        left.erase(job.id);
        std::erase(call.ids, job.id);
        std::erase(call.paths, job.path);
        if (job.state == api::JobState::failed || job.state == api::JobState::cancelled)
            code_ = ExitCode::failed;
    };
    try {
        while (!wait_once(daemon, call, on_end)) {
            daemon = connect_again();
            if (all) call.ids = {left.begin(), left.end()};
            if (call.ids.empty() && call.paths.empty()) break;
        }
    } catch (const varlink::TimedOut&) {
        std::size_t count = 0;
        watch.without_line([&] { count = report_unfinished(context_, call); });
        if (count == 0) throw;
        const auto text =
            fmt::format("{} {} not finished within {}", count, count == 1 ? "job has" : "jobs have",
                        base::spell_duration(timeout_seconds_));
        context_.console.error(text, {{"exit_code", static_cast<int>(ExitCode::timed_out)}});
        return ExitCode::timed_out;
    }
    return code_;
}

ExitCode JobWait::run_below(const std::vector<std::string>& directories) {
    auto daemon = connect(context_);
    const auto ids = unfinished_jobs(daemon, [&](const api::Job& job) {
        return std::any_of(directories.begin(), directories.end(),
                           [&](const std::string& directory) { return base::is_below(job.path, directory); });
    });
    api::WaitCall call;
    call.ids = {ids.begin(), ids.end()};
    return ids.empty() ? ExitCode::done : run(std::move(call));
}

api::QueueClient JobWait::connect_again() const {
    const auto end = end_.value_or(Clock::now() + kLongestAbsence);
    for (;; std::this_thread::sleep_for(std::chrono::milliseconds(500))) {
        check_caller();
        try {
            auto daemon = connect(context_);
            (void)daemon.status();
            return daemon;
        } catch (const varlink::Unreachable&) {
            if (Clock::now() >= end) throw;
        } catch (const varlink::Disconnected&) {
            if (Clock::now() >= end) throw;
        } catch (const varlink::TimedOut&) {
            if (Clock::now() >= end) throw;
        }
    }
}

bool JobWait::wait_once(api::QueueClient& daemon, const api::WaitCall& call,
                        const api::QueueClient::OnJob& on_end) const {
    varlink::Client::Limit limit;
    if (end_) limit = std::chrono::ceil<std::chrono::milliseconds>(*end_ - Clock::now());
    try {
        // `on_end` changes the call.
        daemon.wait(api::WaitCall(call), limit, on_end);
        return true;
    } catch (const varlink::Disconnected&) {
        return false;
    }
}

}  // namespace vmad::ctl
