// vmactl list: shows the jobs of the queue, or with --verified what is known of the archives.

#include <algorithm>

#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/verification_text.hpp"

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
        const auto all = arguments.flag("--all", all_, "Include finished jobs").excludes(states);
        arguments.option("--vmid", vmid_, "Show only jobs of this guest")
            .help_text("VMID")
            .between(1u, kMostVmid);
        arguments.option("--storage", storage_, "Show only jobs of this Proxmox storage").help_text("ID");
        const auto since = arguments.option("--since", since_, "Show only jobs queued or finished since TIME")
                               .help_text("TIME");
        arguments
            .flag("--verified", verified_,
                  "Show by guest when its archives were verified,\n"
                  "damaged ones first; with --vmid, by archive")
            .excludes(states)
            .excludes(all)
            .excludes(since);
        arguments.footer(
            "By default, shows unfinished jobs; with --vmid, --storage or --since, finished\n"
            "ones as well. WHEN is the time when a job was queued, started or finished, or\n"
            "when a waiting job is retried. TIME is 2026-01-31, \"2026-01-31 12:00\", or an age\n"
            "such as 7d or 12h. States: queued, running, publishing, waiting, done,\n"
            "unchanged, vanished, failed, cancelled.\n\n"
            "With --verified, VERIFIED is when the archive was last found good, of several\n"
            "the one that it is longest ago for. Overdue are those that were not read for one\n"
            "and a half times verify_every. With --json: one archive per line.");
    }

    ExitCode run(Context& context) override {
        if (verified_) return list_verified(context);
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
    [[nodiscard]] ExitCode list_verified(Context& context) const {
        auto daemon = context.daemon();
        const auto every_seconds = daemon.status().verify_every_seconds;
        auto archives = daemon.archives();
        std::erase_if(archives, [&](const api::ArchiveRecord& archive) {
            return !(vmid_ == 0 || archive.vmid == vmid_) ||
                   !(storage_.empty() || archive.storage == storage_);
        });
        if (context.options.json) {
            for (const auto& archive : archives) context.console.print_json(archive);
            return ExitCode::done;
        }
        const auto table = vmid_ != 0 ? verified_archives_table : verified_guests_table;
        context.console.print(table(archives, every_seconds, now(), context.console));
        return ExitCode::done;
    }

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
    bool verified_ = false;
};

}  // namespace

std::unique_ptr<Command> make_list_command() { return std::make_unique<ListCommand>(); }

}  // namespace vmad::ctl
