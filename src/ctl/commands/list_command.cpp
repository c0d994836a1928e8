// vmactl list: shows the jobs of the queue.

#include <algorithm>

#include "api/queue_client.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"

namespace vmad::ctl {
namespace {

class ListCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        const std::vector<std::string> names(api::kJobStateNames.begin(), api::kJobStateNames.end());
        auto states = arguments.option("--state", states_, "Show only jobs in this state; repeatable")
                          .help_text("STATE")
                          .repeatable()
                          .one_of(names);
        arguments.flag("--all", all_, "Include finished jobs").excludes(states);
        arguments.footer(
            "By default, shows unfinished jobs. WHEN is the time when a job was queued,\n"
            "started or finished, or when a waiting job is retried. States: queued, running,\n"
            "publishing, waiting, done, unchanged, vanished, failed, cancelled.");
    }

    ExitCode run(Context& context) override {
        // All are taken from the daemon before one is printed: a pager may take the output slowly, and a
        // daemon that hangs must not look the same.
        const auto jobs = context.daemon().list(wanted_states());
        if (context.options.json)
            for (const auto& job : jobs) print_json(context.console, job);
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
            if (states_.empty() ? all_ || !api::is_final(state) : named) wanted.push_back(state);
        }
        return wanted;
    }

    std::vector<std::string> states_;
    bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_list_command() { return std::make_unique<ListCommand>(); }

}  // namespace vmad::ctl
