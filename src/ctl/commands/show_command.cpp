// vmactl show: shows jobs in detail.

#include <utility>

#include <fmt/format.h>

#include "access/device_choice.hpp"
#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/operands/job_argument.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

std::string waiting_text(api::WaitReason reason) {
    switch (reason) {
        case api::WaitReason::retry:
            return "a retry after a transient error";
        case api::WaitReason::space:
            return "enough free space";
        case api::WaitReason::storage:
            return "the storage to become available";
        case api::WaitReason::locked:
            return "the archive to be released by another process";
        case api::WaitReason::too_recent:
            return "the archive to be unmodified for a minute";
        case api::WaitReason::grace_period:
            return "the end of the grace period; the archive is already canonical";
    }
    return {};
}

constexpr std::size_t kLabelWidth = 13;

/// What becomes of a replacement that has begun; empty when none has.
std::string replacement_text(const api::Job& job) {
    if (job.recovery.empty()) return {};
    if (job.waiting_for == api::WaitReason::grace_period) return "done; the old file is removed at the end";
    if (job.state == api::JobState::running || job.state == api::JobState::publishing)
        return "in progress; after a crash the next attempt finishes it or rolls it back";
    if (!api::is_final(job.state)) return "interrupted; the next attempt finishes it or rolls it back";
    return fmt::format("interrupted; a file of vmad may be left beside the archive until \"vmactl retry {}\"",
                       job.id);
}

std::string exact_size(std::uint64_t bytes) {
    return fmt::format("{} ({} bytes)", base::format_size(bytes), bytes);
}

/// One line for each field that has something to say.
std::string description(const api::Job& job, std::int64_t now, const Console& console) {
    std::string text;
    const auto line = [&](std::string_view label, std::string_view value, Colour colour = Colour::none) {
        auto head = label.empty() ? "" : fmt::format("{}:", label);
        for (const auto& part : wrapped(printable(value), console.width() - kLabelWidth)) {
            text += fmt::format("{:<{}}{}\n", head, kLabelWidth, console.paint(colour, part));
            head.clear();
        }
    };
    const auto time = [&](std::string_view label, const std::optional<std::int64_t>& seconds) {
        if (seconds) line(label, relative_and_iso_time(*seconds, now));
    };
    line("Job", fmt::format("{}", job.id));
    // Whole, so that it can be copied.
    text += fmt::format("{:<{}}{}\n", "Archive:", kLabelWidth, printable(job.path));
    line("VMID", vmid_text(job));
    line("Guest", job.guest);
    line("Storage", job.storage);
    const bool verifies = job.kind == api::JobKind::verify;
    if (verifies) line("Kind", "verify; the archive is only read");
    line("State", state_text(job), colour_of(job.state));
    if (job.waiting_for) line("Waiting for", waiting_text(*job.waiting_for));
    line("Reason", job.reason);
    for (const auto& place : job.damage) line("Damaged", place_text(place), Colour::red);
    time("Last good", job.last_good_at);
    line("Hint", advice_for(job));
    line("Warning", job.warning);
    if (job.progress) line("Progress", progress_text(*job.progress));
    if (job.paused) line("Paused", "while an archive is repacked on the same file system");
    time("Queued", job.queued_at);
    time("Started", job.started_at);
    time("Retry", job.retry_at);
    time("Finished", job.ended_at);
    line("Took", elapsed_text(job));
    if (job.size_before) line(verifies ? "Size" : "Size before", exact_size(*job.size_before));
    if (job.size_after && !verifies) line("Size after", exact_size(*job.size_after));
    line("Saving", saving_text(job));
    if (job.since) {
        line("Compared", new_text(job, now));
        line("", fmt::format("with {}", job.since->archive));
        for (const auto& disk : job.since->disks)
            line("", fmt::format("{}: {}", access::short_name(disk.disk), growth_text(disk)));
    }
    if (job.shared_bytes)
        line("Shared",
             fmt::format("{} in blocks of the backup before", base::format_size(*job.shared_bytes)));
    line("Announced", job.announced ? "yes" : "no; it must be unmodified for a minute");
    if (job.run_again) line("Run again", "yes, it was queued again while running");
    if (job.attempts != 0) line("Attempts", fmt::format("{} without a result", job.attempts));
    if (job.failed_attempts != 0) line("Failed", fmt::format("{} attempts in a row", job.failed_attempts));
    line("Mounted at", job.mount_point);
    line("Replacement", replacement_text(job));
    return text;
}

class ShowCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("JOB", jobs_, "Job IDs, VMIDs or archives (their latest job)").required();
        arguments.footer(
            "A number that is no job's ID is a VMID. With --json: one job per line, as\n"
            "returned by org.vmad.Queue.Show.");
    }

    ExitCode run(Context& context) override {
        auto daemon = context.daemon();
        const auto ids = job_ids_from(context, daemon, jobs_);
        const auto* gap = "";
        return for_each_job(
            context, ids, [&](std::uint64_t id) { return job_or_latest_of_guest(daemon, id); },
            [&](std::uint64_t, const api::Job& job) {
                return std::exchange(gap, "\n") + description(job, now(), context.console);
            });
    }

  private:
    std::vector<std::string> jobs_;
};

}  // namespace

std::unique_ptr<Command> make_show_command() { return std::make_unique<ShowCommand>(); }

}  // namespace vmad::ctl
