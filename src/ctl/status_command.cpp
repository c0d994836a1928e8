// vmactl status: what the daemon does and has done.

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/quantity.hpp"
#include "ctl/command.hpp"
#include "ctl/daemon_connection.hpp"
#include "ctl/job_text.hpp"
#include "ctl/local_time.hpp"
#include "ctl/printable_text.hpp"
#include "ctl/text_table.hpp"

namespace vmad::ctl {
namespace {

using Align = TextTable::Align;

std::string header(const api::Status& status) {
    std::string counts;
    for (const auto state : {api::JobState::queued, api::JobState::running, api::JobState::publishing,
                             api::JobState::waiting, api::JobState::failed})
        if (const auto count = status.counts[state]; count != 0)
            counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, api::to_string(state));
    return fmt::format("vmad {}, pid {}, up since {}, {} {}\njobs: {}\n", printable(status.version),
                       status.pid, iso_local_time(static_cast<std::uint64_t>(status.started_at)),
                       status.workers, status.workers == 1 ? "worker" : "workers",
                       counts.empty() ? "none to do" : counts);
}

std::string active_table(const api::Status& status, const Console& console) {
    TextTable table({{"ID", Align::right},
                     {"STATE"},
                     {"STAGE"},
                     {"DONE", Align::right},
                     {"RATE", Align::right},
                     {"LEFT", Align::right},
                     {"ARCHIVE", Align::left, true}});
    for (const auto& job : status.active) {
        const auto view = progress_view(job);
        const auto percent =
            view.total_bytes == 0
                ? ""
                : fmt::format("{} %", static_cast<int>(100.0 * static_cast<double>(view.done_bytes) /
                                                       static_cast<double>(view.total_bytes)));
        table.add(
            {{fmt::format("{}", job.id)},
             {api::to_string(job.state), colour_of(job.state)},
             {job.progress ? job.progress->stage : ""},
             {percent},
             {view.bytes_per_second == 0 ? "" : base::format_size(view.bytes_per_second) + "/s"},
             {view.remaining_seconds ? base::format_duration(std::chrono::seconds(*view.remaining_seconds))
                                     : ""},
             {job.path}});
    }
    return table.empty() ? "" : "\n" + table.render(console);
}

std::string recent_table(const api::Status& status, const Console& console) {
    TextTable table({{"ID", Align::right},
                     {"RESULT"},
                     {"SIZE"},
                     {"TOOK", Align::right},
                     {"ENDED"},
                     {"ARCHIVE", Align::left, true}});
    std::string reasons;
    for (const auto& job : status.recent) {
        table.add({{fmt::format("{}", job.id)},
                   {api::to_string(job.state), colour_of(job.state)},
                   {sizes_text(job)},
                   {duration_text(job)},
                   {job.ended_at ? short_local_time(static_cast<std::uint64_t>(*job.ended_at)) : ""},
                   {job.path}});
        if (!job.reason.empty()) reasons += printable(fmt::format("job {}: {}", job.id, job.reason)) + "\n";
    }
    return table.empty() ? "" : "\n" + table.render(console) + (reasons.empty() ? "" : "\n" + reasons);
}

class StatusCommand final : public Command {
  public:
    void define(CLI::App& app) override {
        app.footer("With --json: what the method org.vmad.Queue.Status replies.");
    }

    ExitCode run(Context& context) override {
        const auto status = connect_to_daemon(context.options).status();
        if (context.options.json)
            context.console.print_json(status);
        else
            context.console.print(header(status) + active_table(status, context.console) +
                                  recent_table(status, context.console));
        return ExitCode::done;
    }
};

}  // namespace

std::unique_ptr<Command> make_status_command() { return std::make_unique<StatusCommand>(); }

}  // namespace vmad::ctl
