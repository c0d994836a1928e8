// vmactl wait: waits for jobs to finish.

#include "ctl/commands/job_wait.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/job_argument.hpp"

namespace vmad::ctl {
namespace {

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
        return JobWait(context, timeout_seconds_).run(wait_call(context));
    }

  private:
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

    std::vector<std::string> jobs_;
    std::int64_t timeout_seconds_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_wait_command() { return std::make_unique<WaitCommand>(); }

}  // namespace vmad::ctl
