// vmactl retry: queue jobs again.

#include <fmt/format.h>

#include "ctl/commands/command.hpp"
#include "ctl/daemon_connection.hpp"
#include "ctl/operands/job_argument.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

class RetryCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        auto jobs = arguments.operand("JOB", jobs_, "Ids, or archives, which name their latest job");
        arguments.flag("--failed", failed_, "All failed jobs").excludes(jobs);
        arguments.footer("For jobs that have ended or wait: they are tried again as if for the first time.");
    }

    ExitCode run(Context& context) override {
        if (jobs_.empty() && !failed_) throw base::UsageError("name jobs, or --failed for all failed ones");
        auto daemon = connect_to_daemon(context.options);
        const auto ids = failed_ ? failed_jobs(daemon) : job_ids_from(context, daemon, jobs_);
        if (ids.empty()) context.console.message("no job has failed");
        return for_each_job(
            context, ids, [&](std::uint64_t id) { return daemon.retry(id); },
            [](std::uint64_t id, const api::Job& job) {
                const auto other = job.id == id ? "" : fmt::format("its archive has job {} by now, ", job.id);
                return printable(
                           fmt::format("job {}: {}{}: {}", id, other, api::to_string(job.state), job.path)) +
                       "\n";
            });
    }

  private:
    static std::vector<std::uint64_t> failed_jobs(api::QueueClient& daemon) {
        std::vector<std::uint64_t> ids;
        for (const auto& job : daemon.list({api::JobState::failed})) ids.push_back(job.id);
        return ids;
    }

    std::vector<std::string> jobs_;
    bool failed_ = false;
};

}  // namespace

std::unique_ptr<Command> make_retry_command() { return std::make_unique<RetryCommand>(); }

}  // namespace vmad::ctl
