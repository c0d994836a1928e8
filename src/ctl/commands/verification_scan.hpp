// Finds archives and queues those that are to be verified, the least recently read first; and has the daemon
// forget those that are gone.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/queue_client.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/operands/archive_search.hpp"
#include "ctl/operands/verification_plan.hpp"
#include "ctl/text/progress_bar.hpp"
#include "ctl/text/text_table.hpp"

namespace vmad::ctl {

class VerificationScan {
  public:
    struct Options {
        std::optional<std::int64_t> every_seconds;  ///< only what is due if each is read so often; none: all
        std::int64_t since = INT64_MIN;             ///< only what was modified since
        std::size_t limit = SIZE_MAX;
        bool dry_run = false;                    ///< nothing is queued or forgotten
        std::vector<std::string> directories{};  ///< that the daemon takes archives from; empty: any
        bool names_places = false;  ///< somebody named the places; else all that is known is looked for
    };
    /// Throws what QueueClient throws.
    VerificationScan(Context& context, const Options& options);

    void search(const SearchPlace& place);
    /// What is known below a directory whose storage is not there is left as it is.
    void leave_out(std::string directory) { left_out_.push_back(std::move(directory)); }
    /// Reports a failure of one file or directory; the scan goes on.
    void fail(const std::string& message);
    /// Looks for what is known elsewhere, queues, forgets, and says so. Throws what QueueClient throws.
    void finish();

    [[nodiscard]] ExitCode code() const noexcept { return code_; }

  private:
    [[nodiscard]] bool is_wanted(const std::string& path) const;
    void search_known();
    void add(FoundArchive archive, const std::string& storage);
    void queue();
    void queue(api::QueueClient& daemon, const VerificationCandidate& candidate);
    void report(const VerificationCandidate& candidate, const std::optional<api::EnqueueReply>& reply);
    void forget(const std::set<std::string, std::less<>>& found);
    void print_summary() const;

    Context& context_;
    Options options_;
    CountLine line_;
    std::int64_t now_;
    ArchiveRecords known_;
    std::vector<std::string> places_;  ///< that were searched
    std::vector<std::string> left_out_;
    std::vector<VerificationCandidate> candidates_;
    std::size_t queued_ = 0;
    std::size_t queued_before_ = 0;
    std::size_t read_lately_ = 0;
    std::size_t left_for_later_ = 0;
    std::size_t forgotten_ = 0;
    TextTable table_;
    ExitCode code_ = ExitCode::done;
};

}  // namespace vmad::ctl
