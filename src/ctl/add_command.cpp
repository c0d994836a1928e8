// vmactl add: queue archives.

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "ctl/absolute_path.hpp"
#include "ctl/command.hpp"
#include "ctl/daemon_connection.hpp"
#include "ctl/failure.hpp"

namespace vmad::ctl {
namespace {

class AddCommand final : public Command {
  public:
    void define(CLI::App& app) override {
        app.add_option("PATH", paths_, "Archives")->required();
        app.add_flag("--announced", announced_, "They are complete, however young they are: for hooks");
        app.footer("Returns when the jobs are safely queued; \"vmactl wait\" waits for their end.");
    }

    ExitCode run(Context& context) override {
        auto daemon = connect_to_daemon(context.options);
        auto code = ExitCode::done;
        for (const auto& path : paths_) {
            std::optional<api::EnqueueReply> reply;
            try {
                reply = daemon.enqueue(absolute_path(path), announced_);
            } catch (const varlink::RemoteError&) {
                code = worse(code, report_failure(context.console, path));
            }
            if (reply) print(context, *reply);
        }
        return code;
    }

  private:
    static void print(Context& context, const api::EnqueueReply& reply) {
        if (context.options.json) return context.console.print_json(reply);
        context.console.print(
            fmt::format("vmad: {} as job {}\n", reply.created ? "queued" : "already queued", reply.job.id));
    }

    std::vector<std::string> paths_;
    bool announced_ = false;
};

}  // namespace

std::unique_ptr<Command> make_add_command() { return std::make_unique<AddCommand>(); }

}  // namespace vmad::ctl
