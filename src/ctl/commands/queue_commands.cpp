// vmactl cancel, retry, pause, resume and reload: one call of the daemon each.

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/operands/job_argument.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

class CancelCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("JOB", jobs_, "Job IDs, or archives (their latest job)").required();
        arguments.footer(
            "Archives stay as they are. The worker of a running job is stopped first:\n"
            "\"vmactl wait\" returns when it has ended. Cancelling a failed job acknowledges\n"
            "the failure: \"vmactl status --check\" no longer reports it.");
    }

    ExitCode run(Context& context) override {
        auto daemon = context.daemon();
        return for_each_job(
            context, job_ids_from(context, daemon, jobs_),
            [&](std::uint64_t id) { return daemon.cancel(id); },
            [](std::uint64_t id, const api::Job& job) {
                const auto* what = api::is_final(job.state) ? api::to_string(job.state) : "being stopped";
                return printable(fmt::format("job {}: {}: {}", id, what, job.path)) + "\n";
            });
    }

  private:
    std::vector<std::string> jobs_;
};

class RetryCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        auto jobs = arguments.operand("JOB", jobs_, "Job IDs, or archives (their latest job)");
        arguments.flag("--failed", failed_, "Retry all failed jobs").excludes(jobs);
        arguments.footer("Works for finished and waiting jobs. They start over as new jobs would.");
    }

    ExitCode run(Context& context) override {
        if (jobs_.empty() && !failed_)
            throw base::UsageError("name jobs, or use --failed to retry all failed jobs");
        auto daemon = context.daemon();
        const auto ids = failed_ ? failed_jobs(daemon) : job_ids_from(context, daemon, jobs_);
        if (ids.empty()) context.console.message("no failed jobs");
        return for_each_job(
            context, ids, [&](std::uint64_t id) { return daemon.retry(id); },
            [](std::uint64_t id, const api::Job& job) {
                const auto other = job.id == id ? "" : fmt::format("superseded by job {}, ", job.id);
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

class PauseCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.flag("--now", now_, "Also stop running jobs and queue them again");
        arguments.footer(
            "The queue stays paused until \"vmactl resume\", even if the daemon restarts.\n"
            "Archives can still be queued.");
    }

    ExitCode run(Context& context) override {
        context.daemon().pause(now_);
        if (context.options.json)
            context.console.print_json(nlohmann::json::object());
        else
            context.console.print(now_ ? "vmad: paused; running jobs are stopped and queued again\n"
                                       : "vmad: paused; running jobs finish\n");
        return ExitCode::done;
    }

  private:
    bool now_ = false;
};

class ResumeCommand final : public Command {
  public:
    void define(Arguments&) override {}

    ExitCode run(Context& context) override {
        context.daemon().resume();
        if (context.options.json)
            context.console.print_json(nlohmann::json::object());
        else
            context.console.print("vmad: resumed\n");
        return ExitCode::done;
    }
};

class ReloadCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.footer(
            "New settings apply to jobs that start from now on. Invalid settings change\n"
            "nothing. With --json: the reply of org.vmad.Queue.Reload.");
    }

    ExitCode run(Context& context) override {
        const api::ReloadReply reply{context.daemon().reload()};
        if (context.options.json) {
            context.console.print_json(reply);
            return ExitCode::done;
        }
        for (const auto& warning : reply.warnings) context.console.message("warning: " + warning);
        context.console.print("vmad: settings reloaded\n");
        return ExitCode::done;
    }
};

}  // namespace

std::unique_ptr<Command> make_cancel_command() { return std::make_unique<CancelCommand>(); }
std::unique_ptr<Command> make_retry_command() { return std::make_unique<RetryCommand>(); }
std::unique_ptr<Command> make_pause_command() { return std::make_unique<PauseCommand>(); }
std::unique_ptr<Command> make_resume_command() { return std::make_unique<ResumeCommand>(); }
std::unique_ptr<Command> make_reload_command() { return std::make_unique<ReloadCommand>(); }

}  // namespace vmad::ctl
