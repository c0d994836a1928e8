// vmactl wait: waits for jobs to finish.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/job_argument.hpp"
#include "ctl/text/job_text.hpp"
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

class WaitCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("JOB", jobs_, "Job IDs or archives; default: all unfinished jobs");
        arguments
            .duration("--timeout", timeout_seconds_, {1, kMaxTimeoutSeconds},
                      "Give up after DURATION, such as 90s, 15min or 4h\n(exit code 5)")
            .help_text("DURATION");
        arguments.footer(
            "Prints a line for each job when it finishes. Exits with 1 if a job failed or was\n"
            "cancelled.");
    }

    ExitCode run(Context& context) override {
        if (timeout_seconds_ != 0) end_ = Clock::now() + std::chrono::seconds(timeout_seconds_);
        auto call = wait_call(context);
        auto daemon = connect(context);
        // Of all jobs, those that end while the daemon is away must not be missed.
        auto left = jobs_.empty() ? unfinished_jobs(daemon) : std::set<std::uint64_t>();
        JobWatch watch(context, jobs_.empty() ? left.size() : jobs_.size());
        const auto on_end = [&](const api::Job& job) {
            watch.without_line([&] { print(context, job); });
            left.erase(job.id);
            std::erase(call.ids, job.id);
            std::erase(call.paths, job.path);
            if (job.state == api::JobState::failed || job.state == api::JobState::cancelled)
                code_ = ExitCode::failed;
        };
        try {
            while (!wait_once(daemon, call, on_end)) {
                daemon = connect_again(context);
                if (jobs_.empty()) call.ids = {left.begin(), left.end()};
                if (call.ids.empty() && call.paths.empty()) break;
            }
        } catch (const varlink::TimedOut&) {
            std::size_t count = 0;
            watch.without_line([&] { count = report_unfinished(context, call); });
            if (count == 0) throw;
            const auto text =
                fmt::format("{} {} not finished within {}", count, count == 1 ? "job has" : "jobs have",
                            base::spell_duration(timeout_seconds_));
            context.console.error(text, {{"exit_code", static_cast<int>(ExitCode::timed_out)}});
            return ExitCode::timed_out;
        }
        return code_;
    }

  private:
    using Clock = std::chrono::steady_clock;
    /// For a restart, or an upgrade; with --timeout, that is the limit.
    static constexpr auto kLongestAbsence = std::chrono::minutes(10);

    static void check_caller() {
        if (pve::hook_is_abandoned())
            throw base::Error("vzdump has died, so nobody waits for these jobs any more");
    }

    [[nodiscard]] static api::QueueClient connect(Context& context) {
        auto daemon = context.daemon();
        daemon.set_idle(check_caller);
        return daemon;
    }

    /// The daemon of before, or the one that has been started since.
    [[nodiscard]] api::QueueClient connect_again(Context& context) const {
        const auto end = end_.value_or(Clock::now() + kLongestAbsence);
        for (;; std::this_thread::sleep_for(std::chrono::milliseconds(500))) {
            check_caller();
            try {
                auto daemon = connect(context);
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

    [[nodiscard]] static std::set<std::uint64_t> unfinished_jobs(api::QueueClient& daemon) {
        using api::JobState;
        std::set<std::uint64_t> ids;
        for (const auto& job :
             daemon.list({JobState::queued, JobState::running, JobState::publishing, JobState::waiting}))
            if (!api::is_final(job.state) && job.waiting_for != api::WaitReason::grace_period)
                ids.insert(job.id);
        return ids;
    }

    /// False when the daemon went away meanwhile.
    [[nodiscard]] bool wait_once(api::QueueClient& daemon, const api::WaitCall& call,
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

    static constexpr std::int64_t kMaxTimeoutSeconds = std::int64_t{366} * 24 * 3600;

    [[nodiscard]] api::WaitCall wait_call(const Context& context) const {
        api::WaitCall call;
        for (const auto& word : jobs_) {
            if (const auto id = job_id_from(word))
                call.ids.push_back(*id);
            else
                call.paths.push_back(absolute_path(archive_name(context.fs, context.console, word).path));
        }
        return call;
    }

    /// Says which jobs have not finished, and why. How many there are; none when the daemon does not answer.
    static std::size_t report_unfinished(Context& context, const api::WaitCall& call) {
        const auto is_one_of = [](const auto& list, const auto& value) {
            return std::find(list.begin(), list.end(), value) != list.end();
        };
        std::size_t count = 0;
        try {
            api::QueueClient daemon(context.options.socket, std::chrono::seconds(2));
            const bool paused = daemon.status().hold == api::Hold::paused;
            for (const auto& job : daemon.list({})) {
                const bool is_over =
                    api::is_final(job.state) || job.waiting_for == api::WaitReason::grace_period;
                const bool all = call.ids.empty() && call.paths.empty();
                if (is_over || !(all || is_one_of(call.ids, job.id) || is_one_of(call.paths, job.path)))
                    continue;
                context.console.message(unfinished_line(job, paused));
                ++count;
            }
        } catch (const base::Error&) {
            // That it took too long is told all the same.
        }
        return count;
    }

    static std::string unfinished_line(const api::Job& job, bool paused) {
        auto line =
            fmt::format("job {} has not finished: {}: {}", job.id, api::to_string(job.state), job.path);
        if (paused && job.state == api::JobState::queued) line += ": the queue is paused";
        if (!job.reason.empty()) line += ": " + job.reason;
        return line;
    }

    static void print(Context& context, const api::Job& job) {
        if (context.options.json) return print_json(context.console, job);
        auto line = fmt::format("job {}: {}: {}", job.id, api::to_string(job.state), job.path);
        if (const auto sizes = sizes_text(job); !sizes.empty() && job.state == api::JobState::done)
            line += fmt::format(", {}", sizes);
        if (!job.reason.empty()) line += ": " + job.reason;
        context.console.print(context.console.paint(colour_of(job.state), printable(line)) + "\n");
    }

    std::vector<std::string> jobs_;
    std::int64_t timeout_seconds_ = 0;
    std::optional<Clock::time_point> end_;
    ExitCode code_ = ExitCode::done;
};

}  // namespace

std::unique_ptr<Command> make_wait_command() { return std::make_unique<WaitCommand>(); }

}  // namespace vmad::ctl
