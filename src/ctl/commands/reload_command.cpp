// vmactl reload: have the daemon read its settings again.

#include "ctl/commands/command.hpp"
#include "ctl/daemon_connection.hpp"

namespace vmad::ctl {
namespace {

class ReloadCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.footer(
            "They hold for jobs that start from now on. Invalid settings change nothing.\nWith --json: "
            "what the method org.vmad.Queue.Reload replies.");
    }

    ExitCode run(Context& context) override {
        const api::ReloadReply reply{connect_to_daemon(context.options).reload()};
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

std::unique_ptr<Command> make_reload_command() { return std::make_unique<ReloadCommand>(); }

}  // namespace vmad::ctl
