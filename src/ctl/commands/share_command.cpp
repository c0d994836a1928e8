// vmactl share: lets the backups of each guest share blocks, each with the one before it.

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/commands/in_place_run.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_search.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/operands/dump_directory.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "publish/inode_lock.hpp"
#include "pve/backup_name.hpp"
#include "repack/block_sharing.hpp"

namespace vmad::ctl {
namespace {

using repack::SharingOutcome;

constexpr const char* kFooter =
    "On XFS and btrfs, files can share blocks. Each canonical .vma or .vma.zst below\n"
    "DIR is compared with the backup of the same guest before it, from the oldest to\n"
    "the newest, and what they have in common is stored once. The file system itself\n"
    "compares whatever it shares; contents and times stay as they are. What is shared\n"
    "already is not read again. Other archives are left out: see vmactl scan.\n"
    "A block that goes bad is bad in every backup that shares it.\n"
    "With --json: one line per archive, {path, outcome, with, size_bytes,\n"
    "shared_bytes, shared_before_bytes}; outcome is shared, first, not_canonical,\n"
    "unavailable, locked or failed, with is the backup before, and error says what\n"
    "went wrong.";

struct Backup {
    FoundArchive archive;
    pve::NameTime time;
    std::string_view ending;  ///< of its name
};

/// The backups of one guest in one directory.
struct Guest {
    std::string directory;
    std::uint64_t vmid = 0;
    std::vector<Backup> backups;
};

struct Totals {
    std::size_t backups = 0;
    std::uint64_t size_bytes = 0;
    std::uint64_t shared_bytes = 0;
    std::uint64_t shared_before_bytes = 0;

    void add(const Totals& other) {
        backups += other.backups;
        size_bytes += other.size_bytes;
        shared_bytes += other.shared_bytes;
        shared_before_bytes += other.shared_before_bytes;
    }
};

auto order(const pve::NameTime& time) {
    return std::tuple(time.year, time.month, time.day, time.hour, time.minute, time.second);
}

std::string_view ending_of(std::string_view name) {
    for (const auto ending : pve::kArchiveEndings)
        if (name.ends_with(ending)) return ending;
    return {};
}

std::string describe(const Totals& totals, bool dry_run) {
    auto text = fmt::format("{} {}, {}", totals.backups, totals.backups == 1 ? "backup" : "backups",
                            base::format_size(totals.size_bytes));
    text +=
        fmt::format("; {} {}", base::format_size(totals.shared_bytes), dry_run ? "to share" : "shared now");
    if (totals.shared_before_bytes != 0)
        text += fmt::format(", {} before", base::format_size(totals.shared_before_bytes));
    return text;
}

/// What became of one archive.
struct Report {
    const char* outcome = "failed";
    ExitCode code = ExitCode::failed;
    std::string error{};  ///< empty when nothing went wrong
    std::string with{};
    repack::BlockSharingResult result{};
};

Report report_of(const repack::BlockSharingResult& result) {
    Report report{.outcome = "not_canonical",
                  .code = ExitCode::done,
                  .error = "not a canonical .vma or .vma.zst, left out",
                  .result = result};
    if (result.outcome == SharingOutcome::unavailable) {
        report.outcome = "unavailable";
        report.code = ExitCode::failed;
        report.error = result.refusal == 0
                           ? "the file system does not share blocks: XFS (made with reflink=1) and btrfs do"
                           : fmt::format("the file system does not share blocks of this file: {}",
                                         std::strerror(result.refusal));
    } else if (result.outcome != SharingOutcome::newer_unsuitable) {
        report.outcome = "shared";
        report.error.clear();
    }
    return report;
}

class Sharing {
  public:
    Sharing(Context& context, std::string state_directory, bool dry_run)
        : context_(context), state_directory_(std::move(state_directory)), dry_run_(dry_run) {}

    void search(const std::string& directory) {
        find_archives(
            context_.fs, directory, [&](FoundArchive archive) { add(std::move(archive)); },
            [&](const std::string& message) { fail(message); });
    }

    void run() {
        if (!dry_run_) (void)make_directories(context_.fs, state_directory_);
        for (auto& [key, guest] : guests_) count_ += guest.backups.size();
        Totals all;
        for (auto& [key, guest] : guests_) all.add(share(guest));
        if (context_.options.json) return;
        if (guests_.empty()) return context_.console.print("no backups found\n");
        if (guests_.size() > 1)
            context_.console.print(fmt::format("{} guests: {}\n", guests_.size(), describe(all, dry_run_)));
    }

    void fail(const std::string& message) {
        context_.console.error(message, nlohmann::json::object());
        code_ = worse(code_, ExitCode::failed);
    }

    [[nodiscard]] ExitCode code() const noexcept { return code_; }

  private:
    void add(FoundArchive archive) {
        if (!seen_.insert(archive.path).second) return;
        const auto slash = archive.path.rfind('/');
        const auto name = std::string_view(archive.path).substr(slash + 1);
        const auto parsed = pve::parse_backup_name(name);
        const auto ending = ending_of(name);
        if (!parsed) return report(archive, not_a_backup());
        auto& guest = guests_[{archive.path.substr(0, slash), parsed->vmid}];
        guest.directory = archive.path.substr(0, slash);
        guest.vmid = parsed->vmid;
        guest.backups.push_back({std::move(archive), parsed->time, ending});
    }

    static Report not_a_backup() {
        return {.outcome = "not_canonical",
                .code = ExitCode::done,
                .error = "not named as vzdump names backups, left out"};
    }

    Totals share(Guest& guest) {
        std::sort(guest.backups.begin(), guest.backups.end(), [](const Backup& a, const Backup& b) {
            return std::pair(order(a.time), a.ending) < std::pair(order(b.time), b.ending);
        });
        Totals totals;
        std::map<std::string_view, std::string> before;  // by ending: the newest that can be shared with
        for (const auto& backup : guest.backups) {
            const auto shared = share(backup, before[backup.ending]);
            report(backup.archive, shared);
            ++totals.backups;
            totals.size_bytes += backup.archive.size_bytes;
            totals.shared_bytes += shared.result.shared_bytes;
            totals.shared_before_bytes += shared.result.shared_before_bytes;
        }
        if (!context_.options.json) print(guest, totals);
        return totals;
    }

    void print(const Guest& guest, const Totals& totals) {
        const auto where = several_directories() ? fmt::format(" in {}", guest.directory) : std::string();
        context_.console.print(
            printable(fmt::format("VM {}{}: {}", guest.vmid, where, describe(totals, dry_run_))) + "\n");
    }

    [[nodiscard]] bool several_directories() const {
        return !guests_.empty() && guests_.begin()->first.first != guests_.rbegin()->first.first;
    }

    /// Shares with the archive `before`, if there is one, and puts this one in its place.
    Report share(const Backup& backup, std::string& before) {
        const auto& path = backup.archive.path;
        ++number_;
        try {
            const auto file = open_archive(context_.fs, path);
            const auto lock = dry_run_ ? std::optional<publish::InodeLock>() : take_lock(file);
            if (!dry_run_ && !lock)
                return {.outcome = "locked",
                        .code = ExitCode::busy,
                        .error = "another process is working on it: try again later"};
            auto report = report_of(share_with(before, file, path));
            if (report.outcome == std::string_view("shared")) {
                if (before.empty()) report.outcome = "first";
                report.with = std::exchange(before, path);
            }
            return report;
        } catch (const base::Error&) {
            const auto failure = current_failure();
            return {.code = failure.code, .error = failure.message};
        }
    }

    [[nodiscard]] std::optional<publish::InodeLock> take_lock(const io::File& file) const {
        return publish::InodeLock::take(context_.fs, state_directory_ + "/locks",
                                        publish::identity_of(context_.fs.status(file)));
    }

    /// With itself where there is none before it: that shows whether it is suitable.
    repack::BlockSharingResult share_with(const std::string& before, const io::File& file,
                                          const std::string& path) {
        const auto directory = context_.fs.open(path.substr(0, path.rfind('/') + 1), O_RDONLY | O_DIRECTORY);
        const auto other = open_archive(context_.fs, before.empty() ? path : before);
        ProgressBar bar(context_.console, numbered_label(number_, count_, archive_label(path)),
                        {base::Stage::sharing});
        return repack::share_blocks(
            context_.fs, directory, other, file,
            {.task = {1, &signals_.flag(), bar.sink()}, .dry_run = dry_run_, .reserve_bytes = {}});
    }

    void report(const FoundArchive& archive, const Report& report) {
        code_ = worse(code_, report.code);
        if (context_.options.json) {
            nlohmann::json object{{"path", archive.path},
                                  {"outcome", report.outcome},
                                  {"size_bytes", archive.size_bytes},
                                  {"shared_bytes", report.result.shared_bytes},
                                  {"shared_before_bytes", report.result.shared_before_bytes}};
            if (!report.with.empty()) object["with"] = report.with;
            if (!report.error.empty()) object["error"] = report.error;
            return context_.console.print_json(object);
        }
        if (report.error.empty()) return;
        if (report.result.outcome == SharingOutcome::unavailable && report.result.refusal == 0)
            return context_.console.message_once(
                fmt::format("{}: {}", archive.path.substr(0, archive.path.rfind('/')), report.error));
        const bool named = report.error.find(archive.path) != report.error.npos;
        context_.console.message(named ? report.error : fmt::format("{}: {}", archive.path, report.error));
    }

    Context& context_;
    StopSignals signals_;
    std::string state_directory_;
    bool dry_run_;
    std::set<std::string> seen_;
    std::map<std::pair<std::string, std::uint64_t>, Guest> guests_;  ///< by directory and vmid
    std::size_t count_ = 0;
    std::size_t number_ = 0;  ///< of the archive that is worked on, from 1
    ExitCode code_ = ExitCode::done;
};

class ShareCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("DIR", words_, "Directories to search, or archives");
        arguments.option("--storage", storage_, "Search this Proxmox storage, or all enabled ones")
            .help_text("ID|all");
        arguments.flag("--dry-run", dry_run_, "Only show what could be shared");
        arguments.option("--state-dir", state_directory_, "Directory for locks").value_name("DIR");
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        if (words_.empty() && storage_.empty())
            throw base::UsageError("name a directory, or a storage with --storage");
        Sharing sharing(
            context, state_directory_.empty() ? default_state_directory() : absolute_path(state_directory_),
            dry_run_);
        for (const auto& word : words_)
            sharing.search(absolute_path(archive_name(context.fs, context.console, word).path));
        if (!storage_.empty()) search_storages(context, sharing);
        sharing.run();
        return sharing.code();
    }

  private:
    void search_storages(const Context& context, Sharing& sharing) const {
        const auto config = pve::StorageConfig::read(context.fs);
        for (const auto& warning : config.warnings(storage_)) context.console.message_once(warning);
        for (const auto& storage : chosen_storages(config, storage_)) {
            if (is_mounted(context.fs, storage))
                sharing.search(storage.dump_directory);
            else
                sharing.fail(not_mounted_text(storage));
        }
    }

    std::vector<std::string> words_;
    std::string storage_;
    std::string state_directory_;
    bool dry_run_ = false;
};

}  // namespace

std::unique_ptr<Command> make_share_command() { return std::make_unique<ShareCommand>(); }

}  // namespace vmad::ctl
