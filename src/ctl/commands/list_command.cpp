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
        arguments.option("--vmid", vmid_, "Show only jobs of this guest")
            .help_text("VMID")
            .between(1u, kMostVmid);
        arguments.option("--storage", storage_, "Show only jobs of this Proxmox storage").help_text("ID");
        arguments.option("--since", since_, "Show only jobs queued or finished since TIME").help_text("TIME");
        arguments.footer(
            "By default, shows unfinished jobs; with --vmid, --storage or --since, finished\n"
            "ones as well. WHEN is the time when a job was queued, started or finished, or\n"
            "when a waiting job is retried. TIME is 2026-01-31, \"2026-01-31 12:00\", or an age\n"
            "such as 7d or 12h. States: queued, running, publishing, waiting, done,\n"
            "unchanged, vanished, failed, cancelled.");
    }

    ExitCode run(Context& context) override {
        // All are taken from the daemon before one is printed: a pager may take the output slowly, and a
        // daemon that hangs must not look the same.
        const auto since = since_.empty() ? INT64_MIN : since_time(since_, now());
        auto jobs = context.daemon().list(wanted_states());
        std::erase_if(jobs, [&](const api::Job& job) { return !is_wanted(job, since); });
        if (context.options.json)
            for (const auto& job : jobs) print_json(context.console, job);
        else
            context.console.print(job_table(jobs, now(), context.console));
        return ExitCode::done;
    }

  private:
    [[nodiscard]] std::vector<api::JobState> wanted_states() const {
        const bool all = all_ || vmid_ != 0 || !storage_.empty() || !since_.empty();
        std::vector<api::JobState> wanted;
        for (std::size_t i = 0; i < api::kJobStateNames.size(); ++i) {
            const auto state = static_cast<api::JobState>(i);
            const bool named =
                std::find(states_.begin(), states_.end(), api::to_string(state)) != states_.end();
            if (states_.empty() ? all || !api::is_final(state) : named) wanted.push_back(state);
        }
        return wanted;
    }

    [[nodiscard]] bool is_wanted(const api::Job& job, std::int64_t since) const {
        return (vmid_ == 0 || job.vmid == vmid_) && (storage_.empty() || job.storage == storage_) &&
               std::max(job.queued_at, job.ended_at.value_or(job.queued_at)) >= since;
    }

    /// Proxmox hands out no larger one.
    static constexpr unsigned kMostVmid = 999'999'999;

    std::vector<std::string> states_;
    std::string storage_;
    std::string since_;
    unsigned vmid_ = 0;
    bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_list_command() { return std::make_unique<ListCommand>(); }

}  // namespace vmad::ctl
