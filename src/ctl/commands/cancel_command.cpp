// vmactl cancel: give jobs up.

#include <fmt/format.h>

#include "ctl/commands/command.hpp"
#include "ctl/daemon_connection.hpp"
#include "ctl/operands/job_argument.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

class CancelCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("JOB", jobs_, "Ids, or archives, which name their latest job").required();
        arguments.footer(
            "The archive stays as it is. Of a job that runs, the worker is stopped first:\n\"vmactl wait\" "
            "tells when it has ended. Cancelling a failed job takes note of it:\n\"vmactl status --check\" "
            "no "
            "longer complains about it.");
    }

    ExitCode run(Context& context) override {
        auto daemon = connect_to_daemon(context.options);
        return for_each_job(
            context, job_ids_from(context, daemon, jobs_),
            [&](std::uint64_t id) { return daemon.cancel(id); },
            [](std::uint64_t id, const api::Job& job) {
                const auto* what = api::is_end(job.state) ? api::to_string(job.state) : "being stopped";
                return printable(fmt::format("job {}: {}: {}", id, what, job.path)) + "\n";
            });
    }

  private:
    std::vector<std::string> jobs_;
};

}  // namespace

std::unique_ptr<Command> make_cancel_command() { return std::make_unique<CancelCommand>(); }

}  // namespace vmad::ctl
