// vmactl log: shows the journal of one job, of one archive, or of all of vmad.

#include <unistd.h>

#include <vector>

#include <fmt/format.h>

#include "ctl/commands/command.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/job_argument.hpp"

namespace vmad::ctl {
namespace {

constexpr char kJournalctl[] = "journalctl";
constexpr unsigned kMostLines = 1'000'000;

class LogCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("JOB", word_, "Job ID or archive; default: all messages");
        arguments.flag("-f,--follow", follow_, "Follow new entries");
        arguments.option("-n,--lines", line_count_, "Show only the last LINES entries")
            .help_text("LINES")
            .between(1u, kMostLines);
        arguments.footer(
            "Runs journalctl with VMAD_JOB=ID, VMAD_ARCHIVE=PATH or SYSLOG_IDENTIFIER=vmad.\n"
            "With --json: the JSON of journalctl.");
    }

    /// Returns only when journalctl cannot be run.
    ExitCode run(Context& context) override {
        std::vector<std::string> words{kJournalctl};
        if (follow_) words.emplace_back("--follow");
        if (line_count_ != 0) words.push_back(fmt::format("--lines={}", line_count_));
        if (context.options.json) words.emplace_back("--output=json");
        words.push_back(match(context.fs));
        std::vector<char*> arguments;
        for (auto& word : words) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        ::execvp(kJournalctl, arguments.data());
        base::throw_errno("run", kJournalctl);
    }

  private:
    [[nodiscard]] std::string match(io::FileSystem& fs) const {
        if (word_.empty()) return "SYSLOG_IDENTIFIER=vmad";
        if (const auto id = job_id_from(word_)) return fmt::format("VMAD_JOB={}", *id);
        return "VMAD_ARCHIVE=" + absolute_path(archive_name(fs, word_).path);
    }

    std::string word_;
    bool follow_ = false;
    unsigned line_count_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_log_command() { return std::make_unique<LogCommand>(); }

}  // namespace vmad::ctl
