// vmactl resume: the end of a pause.

#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/daemon_connection.hpp"

namespace vmad::ctl {
namespace {

class ResumeCommand final : public Command {
  public:
    void define(Arguments&) override {}

    ExitCode run(Context& context) override {
        connect_to_daemon(context.options).resume();
        if (context.options.json)
            context.console.print_json(nlohmann::json::object());
        else
            context.console.print("vmad: resumed\n");
        return ExitCode::done;
    }
};

}  // namespace

std::unique_ptr<Command> make_resume_command() { return std::make_unique<ResumeCommand>(); }

}  // namespace vmad::ctl
