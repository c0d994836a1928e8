// vmactl monitor: shows changes of jobs as they happen.

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "api/queue_client.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

/// Between two lines about the progress of a job.
constexpr auto kProgressInterval = std::chrono::seconds(5);
/// Of the text behind the state: where the terminal is narrower, it folds.
constexpr std::size_t kMinTextWidth = 20;

/// The backup, without the VMID, which has a column of its own.
std::string backup_text(const api::Job& job) {
    const auto cells = archive_cells(job.path, now());
    if (!has_backup_name(job.path)) return job.path;
    auto text = job.guest.empty() ? cells.time : fmt::format("{}, {}", job.guest, cells.time);
    if (!job.storage.empty()) text += ", " + job.storage;
    return fmt::format("{}, {}", text, cells.format);
}

/// The state, or that a job is not one to repack.
std::string event_text(const api::Job& job) {
    if (job.kind == api::JobKind::verify && job.state == api::JobState::queued) return "to verify";
    if (job.kind == api::JobKind::verify && job.state == api::JobState::running) return "verifying";
    return state_text(job);
}

/// What is worth a line below that of a job that has changed.
std::string details_of(const api::Job& job) {
    if (job.state == api::JobState::done && job.kind == api::JobKind::verify)
        return sizes_text(job) + (job.started_at ? ", in " + elapsed_text(job) : "");
    if (job.state == api::JobState::done) {
        const auto saving = job.since ? "" : saving_text(job);
        return result_text(job, now()) + (saving.empty() ? "" : ", " + saving) +
               (job.started_at ? ", in " + elapsed_text(job) : "");
    }
    return job.reason;
}

/// Prints changes as lines, and progress as a bar on the last line of a terminal or else now and then as a
/// line.
class ChangeLog {
  public:
    explicit ChangeLog(Console& console) : console_(console) {}
    ChangeLog(const ChangeLog&) = delete;
    ChangeLog& operator=(const ChangeLog&) = delete;
    ~ChangeLog() { remove_bar(); }

    void add(const api::Job& job) {
        const auto [known, is_new] = seen_.try_emplace(job.id);
        auto& seen = known->second;
        const bool changed = is_new || seen.state != job.state || seen.reason != job.reason;
        seen.state = job.state;
        seen.reason = job.reason;
        if (changed) {
            print_line(job, event_text(job), backup_text(job));
            if (const auto details = details_of(job); !details.empty()) print_details(printable(details));
        }
        if (job.progress) show_progress(job, seen);
        if (api::is_final(job.state)) seen_.erase(known);
    }

  private:
    using Clock = std::chrono::steady_clock;
    struct Seen {
        api::JobState state = api::JobState::queued;
        std::string reason;
        Clock::time_point progress_shown;
    };

    void show_progress(const api::Job& job, Seen& seen) {
        if (console_.shows_progress()) {
            console_.show_line(progress_line(progress_view(job), console_.width()));
            bar_shown_ = true;
            return;
        }
        const auto now = Clock::now();
        if (now - seen.progress_shown < kProgressInterval) return;
        seen.progress_shown = now;
        print_line(job, {}, progress_text(*job.progress));
    }

    /// The state, unless it is empty, and the text behind it.
    void print_line(const api::Job& job, std::string_view state, const std::string& text) {
        remove_bar();
        auto head = fmt::format("{}  {:>5}  {:>5}  ", clock_time(static_cast<std::uint64_t>(now())), job.id,
                                vmid_text(job));
        auto used = text_width(head);
        if (!state.empty()) {
            constexpr std::size_t kStateWidth = 12;
            head += console_.paint(colour_of(job.state), fmt::format("{:<{}}", state, kStateWidth));
            used += kStateWidth;
        }
        const auto lines = wrapped(printable(text), std::max(console_.width(), used + kMinTextWidth) - used);
        console_.print(fmt::format("{}{}\n", head, fmt::join(lines, "\n" + std::string(used, ' '))));
    }

    void print_details(const std::string& text) {
        constexpr std::size_t kIndent = 10;
        for (const auto& line : wrapped(text, console_.width() - kIndent))
            console_.print(std::string(kIndent, ' ') + line + "\n");
    }

    void remove_bar() noexcept {
        if (std::exchange(bar_shown_, false)) console_.show_line({});
    }

    Console& console_;
    std::map<std::uint64_t, Seen> seen_;  ///< by id; jobs that have not ended
    bool bar_shown_ = false;
};

class MonitorCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.footer(
            "Runs until interrupted; exits with 3 if the daemon stops. Columns: time, job ID,\n"
            "VMID, state, backup; sizes or a reason follow on the next line. With --json:\n"
            "one job per line for each change and each progress report, as sent by\n"
            "org.vmad.Queue.Monitor.");
    }

    ExitCode run(Context& context) override {
        ChangeLog log(context.console);
        context.daemon().monitor([] {},
                                 [&](const api::Job& job) {
                                     if (context.options.json)
                                         print_json(context.console, job);
                                     else
                                         log.add(job);
                                 });
        return ExitCode::done;
    }
};

}  // namespace

std::unique_ptr<Command> make_monitor_command() { return std::make_unique<MonitorCommand>(); }

}  // namespace vmad::ctl
