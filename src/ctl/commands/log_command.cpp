// vmactl log: shows the journal of one job, of one archive, or of all of vmad.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "base/child_start.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/job_argument.hpp"

namespace vmad::ctl {
namespace {

constexpr char kJournalctl[] = "journalctl";
constexpr unsigned kMostLines = 1'000'000;

/// Whether the journal has entries with this field; true also when journalctl cannot tell, for then it says
/// why when it is asked for them all.
bool has_entries(const std::string& field) {
    auto pipe = base::make_pipe();
    const base::UniqueFd nowhere(::open("/dev/null", O_RDWR | O_CLOEXEC));
    base::ChildStart start;
    start.give(nowhere.get(), STDIN_FILENO);
    start.give(pipe.write.get(), STDOUT_FILENO);
    start.give(nowhere.get(), STDERR_FILENO);
    pipe.write.reset();
    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
    pid_t pid = 0;
    try {
        pid = start.run(kJournalctl, {kJournalctl, "--quiet", "--lines=1", "--output=cat", field},
                        std::move(environment));
    } catch (const base::SystemError&) {
        return true;
    }
    char byte = 0;
    const bool has_output = ::read(pipe.read.get(), &byte, 1) > 0;
    pipe.read.reset();
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return has_output || status != 0;
}

class LogCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("JOB", word_, "Job ID, VMID or archive; default: all messages");
        arguments.flag("-f,--follow", follow_, "Follow new entries");
        arguments.option("-n,--lines", line_count_, "Show only the last LINES entries")
            .help_text("LINES")
            .between(1u, kMostLines);
        arguments.footer(
            "Runs journalctl with VMAD_JOB=ID, VMAD_VMID=VMID, VMAD_ARCHIVE=PATH or\n"
            "SYSLOG_IDENTIFIER=vmad. A number is a VMID if there is no log of a job with that\n"
            "ID. Exits with 4 if there is no log. With --json: the JSON of journalctl.");
    }

    /// Returns only when there is nothing to show, or journalctl cannot be run.
    ExitCode run(Context& context) override {
        std::vector<std::string> words{kJournalctl};
        if (follow_) words.emplace_back("--follow");
        if (line_count_ != 0) words.push_back(fmt::format("--lines={}", line_count_));
        if (context.options.json) words.emplace_back("--output=json");
        const auto field = match(context);
        if (!field) {
            context.console.error(fmt::format("no log of {}: no such job, or its log was removed", word_),
                                  {{"exit_code", static_cast<int>(ExitCode::no_such_job)}});
            return ExitCode::no_such_job;
        }
        words.push_back(*field);
        std::vector<char*> arguments;
        for (auto& word : words) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        ::execvp(kJournalctl, arguments.data());
        base::throw_errno("run", kJournalctl);
    }

  private:
    /// By what the journal finds the entries; nothing when it has none.
    [[nodiscard]] std::optional<std::string> match(Context& context) const {
        if (word_.empty()) return "SYSLOG_IDENTIFIER=vmad";
        std::vector<std::string> fields;
        if (const auto id = job_id_from(word_))
            fields = {fmt::format("VMAD_JOB={}", *id), fmt::format("VMAD_VMID={}", *id)};
        else
            fields = {"VMAD_ARCHIVE=" + absolute_path(archive_name(context.fs, context.console, word_).path)};
        for (const auto& field : fields)
            if (has_entries(field)) return field;
        // A job that has no entry yet can be followed.
        return follow_ && is_job(context) ? std::optional(fields[0]) : std::nullopt;
    }

    [[nodiscard]] bool is_job(Context& context) const {
        try {
            auto daemon = context.daemon();
            const auto ids = job_ids_from(context, daemon, {word_});
            (void)daemon.show(ids[0]);
            return true;
        } catch (const base::Error&) {
            return false;
        }
    }

    std::string word_;
    bool follow_ = false;
    unsigned line_count_ = 0;
};

}  // namespace

std::unique_ptr<Command> make_log_command() { return std::make_unique<LogCommand>(); }

}  // namespace vmad::ctl
