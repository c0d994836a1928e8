// vmactl report: what became of the backups of a period, on the terminal, as a page or as JSON.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/text/backup_report_page.hpp"
#include "ctl/text/backup_report_text.hpp"
#include "ctl/text/local_time.hpp"
#include "io/durable_entry.hpp"
#include "settings/settings.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kStandardStream = "-";
/// Where the settings set none.
constexpr std::int64_t kVerifySeconds = std::int64_t{30} * 86400;
constexpr mode_t kReadableByAll = 0644;

std::string host_name() {
    std::array<char, 256> name{};
    return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "this node";
}

/// verify_every; a mistake in the settings must not hide the report.
std::int64_t verify_seconds() {
    try {
        return settings::load_standard().settings.verify_every_seconds.value_or(kVerifySeconds);
    } catch (const base::Error&) {
        return kVerifySeconds;
    }
}

void write_page(io::FileSystem& fs, const std::string& file, const std::string& page) {
    const std::filesystem::path path(file);
    const auto name = path.filename().string();
    if (name.empty() || name == "." || name == "..") throw base::UsageError(file + " does not name a file");
    const auto parent = path.parent_path().string();
    const auto directory = fs.open(parent.empty() ? "." : parent, O_RDONLY | O_DIRECTORY);
    const auto existing = fs.status_at(directory, name);
    if (existing && !S_ISREG(existing->st_mode))
        throw base::UsageError(file + " exists and is not a regular file");
    const auto mode = existing ? existing->st_mode & ALLPERMS : kReadableByAll;
    io::write_durably(fs, directory, name, page, [&](const io::File& made) { fs.change_mode(made, mode); });
}

class ReportCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.option("--since", since_, "Of backups made since TIME (default 7d)").help_text("TIME");
        arguments.flag("--all", all_, "Show every guest, not only the first ones");
        arguments.option("--html", file_, "Write a page to FILE, or - for standard output").help_text("FILE");
        arguments.footer(
            "Shows backups, their sizes and what of them is new by guest and storage, where\n"
            "the guests grew most, failed jobs, damaged archives, and archives that were not\n"
            "verified for the time of verify_every, or 30 days. TIME is 2026-01-31,\n"
            "\"2026-01-31 12:00\", or an age such as 7d or 12h. The page needs no other file,\n"
            "and may be sent as mail.");
    }

    ExitCode run(Context& context) override {
        if (file_ == kStandardStream && context.options.json)
            throw base::UsageError("--json cannot be combined with a page on standard output");
        const auto report = backup_report(input(context));
        if (file_ == kStandardStream)
            context.console.print(report_page(report));
        else if (!file_.empty())
            write_page(context.fs, file_, report_page(report));
        if (context.options.json)
            context.console.print_json(report);
        else if (file_.empty())
            context.console.print(report_text(report, all_, context.console));
        return ExitCode::done;
    }

  private:
    [[nodiscard]] ReportInput input(Context& context) const {
        const auto present = now();
        const auto since = since_time(since_, present);
        auto daemon = context.daemon();
        return {.host = host_name(),
                .since = since,
                .now = present,
                .verify_seconds = verify_seconds(),
                .jobs = daemon.list({}),
                .archives = daemon.archives()};
    }

    std::string since_ = "7d";
    std::string file_;
    bool all_ = false;
};

}  // namespace

std::unique_ptr<Command> make_report_command() { return std::make_unique<ReportCommand>(); }

}  // namespace vmad::ctl
