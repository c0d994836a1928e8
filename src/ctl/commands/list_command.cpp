// vmactl list: the jobs of the queue.

#include <algorithm>

#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/daemon_connection.hpp"
#include "ctl/text/job_table.hpp"
#include "ctl/text/local_time.hpp"

namespace vmad::ctl {
namespace {

class ListCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        const std::vector<std::string> names(api::kJobStateNames.begin(), api::kJobStateNames.end());
        auto states = arguments.option("--state", states_, "Only jobs in this state; may be given again")
                          .help_text("STATE")
                          .repeatable()
                          .one_of(names);
        arguments.flag("--all", all_, "Jobs that have ended too").excludes(states);
        arguments.footer(
            "Without options: jobs that have not ended. WHEN is when a job was queued,\nstarted or ended, or "
            "when a waiting one is tried again. States: queued, running,\npublishing, waiting, done, "
            "unchanged, "
            "vanished, failed, cancelled.");
    }

    ExitCode run(Context& context) override {
        // All are taken from the daemon before one is printed: a pager may take the output slowly, and a
        // daemon that hangs must be told from it.
        const auto jobs = connect_to_daemon(context.options).list(wanted_states());
        if (context.options.json)
            for (const auto& job : jobs) context.console.print_json(job);
        else
            context.console.print(job_table(jobs, now(), context.console));
        return ExitCode::done;
    }

  private:
    [[nodiscard]] std::vector<api::JobState> wanted_states() const {
        std::vector<api::JobState> wanted;
        for (std::size_t i = 0; i < api::kJobStateNames.size(); ++i) {
            const auto state = static_cast<api::JobState>(i);
            const bool named =
                std::find(states_.begin(), states_.end(), api::to_string(state)) != states_.end();
            if (states_.empty() ? all_ || !api::is_end(state) : named) wanted.push_back(state);
        }
        return wanted;
    }

    std::vector<std::string> states_;
    bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_list_command() { return std::make_unique<ListCommand>(); }

}  // namespace vmad::ctl
