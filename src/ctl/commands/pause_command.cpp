// vmactl pause: no more jobs start.

#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/daemon_connection.hpp"

namespace vmad::ctl {
namespace {

class PauseCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.flag("--now", now_, "Abandon running jobs too; they are queued again");
        arguments.footer(
            "Lasts until \"vmactl resume\", also over a restart.\nArchives are queued all the same.");
    }

    ExitCode run(Context& context) override {
        connect_to_daemon(context.options).pause(now_);
        if (context.options.json)
            context.console.print_json(nlohmann::json::object());
        else
            context.console.print(now_ ? "vmad: paused; running jobs are abandoned and queued again\n"
                                       : "vmad: paused; running jobs finish\n");
        return ExitCode::done;
    }

  private:
    bool now_ = false;
};

}  // namespace

std::unique_ptr<Command> make_pause_command() { return std::make_unique<PauseCommand>(); }

}  // namespace vmad::ctl
