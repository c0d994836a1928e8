// vmactl scan: finds archives that are not canonical yet and queues them.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "api/queue_interface.hpp"
#include "base/path.hpp"
#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/commands/verification_scan.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_search.hpp"
#include "ctl/operands/dump_directory.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/progress_bar.hpp"
#include "ctl/text/text_table.hpp"
#include "publish/file_identity.hpp"
#include "pve/storage_config.hpp"
#include "settings/settings.hpp"
#include "varlink/protocol.hpp"
#include "verify/canonical_check.hpp"
#include "verify/published_digest.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "Finds *.vma, *.vma.zst, *.vma.gz and *.vma.lzo below DIR, except in hidden\n"
    "directories, recycle bins and snapshots, behind symbolic links and on other file\n"
    "systems. Queues the newest archives first. Only headers are read: an archive\n"
    "counts as canonical if vmad wrote it and it has not changed since, or if the\n"
    "headers of a .vma or .vma.zst are canonical. TIME is compared with the\n"
    "modification time: 2026-01-31, \"2026-01-31 12:00\", or an age such as 7d or 12h.\n"
    "With --json: one line per archive examined, {path, size_bytes, modified_at,\n"
    "canonical, job}; job is the job ID, or null if none was queued. An archive whose\n"
    "job has failed because of the archive itself is not queued again until it\n"
    "changes.\n\n"
    "With --verify, queues archives whether or not they are canonical, to be read and\n"
    "compared with what was written, and has the daemon forget those that are gone.\n"
    "LAST READ is when one was repacked, verified, or else modified. With --json: one\n"
    "line per archive queued, {path, size_bytes, modified_at, read_at, job}, and per\n"
    "archive forgotten, {path, forgotten}.";

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

struct Candidate {
    FoundArchive archive;
    std::string storage;
};

struct Examined {
    bool canonical;
    std::string version;  ///< publish::file_version()
};

Examined examine(io::FileSystem& fs, const std::string& path) {
    const auto file = fs.open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    auto version = publish::file_version(publish::identity_of(fs.status(file)));
    const bool canonical = verify::published_digest(fs, file).has_value() ||
                           verify::canonical_by_headers(fs, file, {base::default_threads(), nullptr, {}}) ==
                               verify::Canonical::yes;
    return {canonical, std::move(version)};
}

class Scan {
  public:
    Scan(Context& context, bool dry_run)
        : context_(context), line_(context.console), dry_run_(dry_run), now_(now()) {}

    void search(const SearchPlace& place, std::int64_t since) {
        find_archives(
            context_.fs, place.path,
            [&](FoundArchive archive) {
                if (archive.modified_ns / kNanosecondsPerSecond < since) return;
                candidates_.push_back({std::move(archive), place.storage});
                line_.show(fmt::format("searching: {} found", candidates_.size()));
            },
            [&](const std::string& message) { fail(message); });
    }

    /// Queues at most `limit` of what was found, the newest first.
    void queue(std::size_t limit) {
        sort();
        std::size_t named = 0;
        for (; looked_at_ < candidates_.size() && named < limit; ++looked_at_) {
            line_.show(fmt::format("examining archive {} of {}", looked_at_ + 1, candidates_.size()));
            named += look_at(candidates_[looked_at_]);
        }
        line_.clear();
    }

    /// Reports a failure of one file or directory; the scan goes on.
    void fail(const std::string& message) {
        line_.clear();
        context_.console.error(message, nlohmann::json::object());
        code_ = ExitCode::failed;
    }

    void print_summary() const {
        if (context_.options.json) return;
        auto text = table_.empty() ? std::string() : table_.render(context_.console) + "\n";
        text += fmt::format("{} {}", candidates_.size(), candidates_.size() == 1 ? "archive" : "archives");
        const auto add = [&](std::size_t count, const char* what) {
            if (count != 0) text += fmt::format(", {} {}", count, what);
        };
        add(canonical_, "already canonical");
        add(queued_, dry_run_ ? "to queue" : "queued");
        add(queued_before_, "already queued");
        add(failed_before_, "failed before and unchanged since (see vmactl list --all)");
        add(candidates_.size() - looked_at_, "not examined");
        context_.console.print(text + "\n");
    }

    [[nodiscard]] ExitCode code() const noexcept { return code_; }

  private:
    /// Each once, however many of the places it is below.
    void sort() {
        const auto key = [](const Candidate& candidate) {
            return std::pair(-candidate.archive.modified_ns, std::string_view(candidate.archive.path));
        };
        std::sort(candidates_.begin(), candidates_.end(),
                  [&](const Candidate& a, const Candidate& b) { return key(a) < key(b); });
        const auto same = [](const Candidate& a, const Candidate& b) {
            return a.archive.path == b.archive.path;
        };
        candidates_.erase(std::unique(candidates_.begin(), candidates_.end(), same), candidates_.end());
    }

    /// True when there is a job for it now, or would be.
    bool look_at(const Candidate& candidate) {
        const auto& path = candidate.archive.path;
        bool canonical = false;
        std::optional<api::EnqueueReply> reply;
        try {
            auto [is_canonical, version] = examine(context_.fs, path);
            canonical = is_canonical;
            if (!canonical && !dry_run_)
                reply = context_.daemon().enqueue({path, false, candidate.storage, std::move(version)});
        } catch (const varlink::RemoteError& error) {
            if (error.name() != api::kPathRefusedError) throw;
            fail(current_failure().message);
            return false;
        } catch (const base::SystemError& error) {
            // Pruned meanwhile, perhaps.
            if (error.number() != ENOENT) fail(error.what());
            return false;
        }
        report(candidate.archive, canonical, reply);
        return !canonical && !has_failed_before(reply);
    }

    /// Its last job failed because of this very file, which is not queued again.
    static bool has_failed_before(const std::optional<api::EnqueueReply>& reply) {
        return reply && is_final(reply->job.state);
    }

    void report(const FoundArchive& archive, bool canonical, const std::optional<api::EnqueueReply>& reply) {
        const auto modified_at = archive.modified_ns / kNanosecondsPerSecond;
        if (context_.options.json)
            context_.console.print_json({{"path", archive.path},
                                         {"size_bytes", archive.size_bytes},
                                         {"modified_at", modified_at},
                                         {"canonical", canonical},
                                         {"job", reply ? nlohmann::json(reply->job.id) : nlohmann::json()}});
        const bool has_failed = has_failed_before(reply);
        auto& count = canonical                  ? canonical_
                      : has_failed               ? failed_before_
                      : reply && !reply->created ? queued_before_
                                                 : queued_;
        ++count;
        if (canonical || has_failed) return;
        table_.add({{base::format_size(archive.size_bytes)},
                    {base::format_duration(std::chrono::seconds(now_ - modified_at))},
                    {archive.path}});
    }

    using Align = TextTable::Align;

    Context& context_;
    CountLine line_;
    bool dry_run_;
    std::int64_t now_;
    std::vector<Candidate> candidates_;
    std::size_t looked_at_ = 0;
    std::size_t canonical_ = 0;
    std::size_t queued_ = 0;
    std::size_t queued_before_ = 0;
    std::size_t failed_before_ = 0;
    TextTable table_{{{"SIZE", Align::right}, {"AGE", Align::right}, {"ARCHIVE", Align::left, true}}};
    ExitCode code_ = ExitCode::done;
};

/// What the settings say about verification, as the daemon has them.
struct Schedule {
    std::optional<std::int64_t> every_seconds;
    std::vector<std::string> directories;  ///< empty: wherever archives are
};

/// Nothing when each archive is not to be verified now and then. Where the daemon is down, that is said by
/// the files of its settings, so that its being down is no failure then.
std::optional<Schedule> schedule(const Context& context) {
    try {
        const auto status = context.daemon().status();
        if (!status.verify_every_seconds) return std::nullopt;
        return Schedule{status.verify_every_seconds, status.directories};
    } catch (const varlink::Unreachable&) {
        if (settings::load_standard().settings.verify_every_seconds) throw;
        return std::nullopt;
    }
}

class ScanCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("DIR", words_, "Directories to search, archives, or volume IDs");
        arguments.option("--storage", storage_, "Search this Proxmox storage, or all enabled ones")
            .help_text("ID|all");
        arguments.option("--since", since_, "Only archives modified since TIME").help_text("TIME");
        arguments.flag("--dry-run", dry_run_, "List the archives without queueing them");
        arguments.option("--limit", limit_, "Queue at most N archives").help_text("N").positive();
        const auto verify =
            arguments.flag("--verify", verify_, "Queue archives to be verified,\nleast recently read first");
        arguments
            .flag("--due", due_,
                  "With --verify: only what is due (verify_every),\n"
                  "a limited number a day; DIR defaults to all\n"
                  "configured directories or storages")
            .needs(verify);
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        return verify_ ? queue_for_verification(context) : queue_for_repacking(context);
    }

  private:
    using OnMissing = std::function<void(const pve::Storage&)>;

    [[nodiscard]] ExitCode queue_for_repacking(Context& context) const {
        Scan scan(context, dry_run_);
        const auto since = oldest_wanted();
        require_place();
        const auto places = find_places(
            context, storage_, [&](const pve::Storage& storage) { scan.fail(not_mounted_text(storage)); });
        // The search may take long: fail before it if the daemon is down.
        if (!dry_run_) (void)context.daemon();
        for (const auto& place : places) scan.search(place, since);
        scan.queue(limit_);
        scan.print_summary();
        return scan.code();
    }

    [[nodiscard]] ExitCode queue_for_verification(Context& context) const {
        if (!due_) require_place();
        const auto due = due_ ? schedule(context) : Schedule{};
        if (!due) {
            context.console.print("nothing is due: verify_every is off\n");
            return ExitCode::done;
        }
        const bool named = !words_.empty() || !storage_.empty();
        VerificationScan scan(context, {.every_seconds = due->every_seconds,
                                        .since = oldest_wanted(),
                                        .limit = limit_,
                                        .dry_run = dry_run_,
                                        .directories = due->directories,
                                        .names_places = named});
        const auto on_missing = [&](const pve::Storage& storage) {
            scan.leave_out(storage.path);
            // What is not there today is looked at another day, unless it was asked for.
            if (named) return scan.fail(not_mounted_text(storage));
            context.console.message(not_mounted_text(storage) + ", so its archives are left for later");
        };
        for (const auto& place : named ? find_places(context, storage_, on_missing)
                                       : configured_places(context, due->directories, on_missing))
            scan.search(place);
        scan.finish();
        return scan.code();
    }

    [[nodiscard]] std::int64_t oldest_wanted() const {
        return since_.empty() ? INT64_MIN : since_time(since_, now());
    }

    void require_place() const {
        if (words_.empty() && storage_.empty())
            throw base::UsageError("name a directory, or a storage with --storage");
    }

    /// What was named, and all enabled storages where `storage` is "all".
    [[nodiscard]] std::vector<SearchPlace> find_places(const Context& context, const std::string& storage,
                                                       const OnMissing& on_missing) const {
        std::vector<SearchPlace> places;
        for (const auto& word : words_) {
            const auto name = archive_name(context.fs, context.console, word);
            places.push_back({absolute_path(name.path), name.storage});
        }
        if (storage.empty()) return places;
        const auto config = pve::StorageConfig::read(context.fs);
        for (const auto& warning : config.warnings(storage)) context.console.message_once(warning);
        for (const auto& chosen : chosen_storages(config, storage))
            if (is_mounted(context.fs, chosen))
                places.push_back({chosen.dump_directory, chosen.id});
            else
                on_missing(chosen);
        return places;
    }

    /// The storages that the daemon takes archives from, and `directories` beside them.
    [[nodiscard]] std::vector<SearchPlace> configured_places(const Context& context,
                                                             const std::vector<std::string>& directories,
                                                             const OnMissing& on_missing) const {
        const auto is_accepted = [&](const std::string& path) {
            return directories.empty() ||
                   std::any_of(directories.begin(), directories.end(), [&](const std::string& directory) {
                       return path == directory || base::is_below(path, directory);
                   });
        };
        std::vector<SearchPlace> places;
        try {
            places = find_places(context, "all", [&](const pve::Storage& storage) {
                if (is_accepted(storage.dump_directory)) on_missing(storage);
            });
        } catch (const base::SystemError& error) {
            if (error.number() != ENOENT) throw;  // there is no Proxmox VE
        }
        std::erase_if(places, [&](const SearchPlace& place) { return !is_accepted(place.path); });
        for (const auto& directory : directories)
            if (std::none_of(places.begin(), places.end(),
                             [&](const SearchPlace& place) { return place.path == directory; }))
                places.push_back({directory, {}});
        return places;
    }

    std::vector<std::string> words_;
    std::string storage_;
    std::string since_;
    bool dry_run_ = false;
    bool verify_ = false;
    bool due_ = false;
    std::size_t limit_ = SIZE_MAX;
};

}  // namespace

std::unique_ptr<Command> make_scan_command() { return std::make_unique<ScanCommand>(); }

}  // namespace vmad::ctl
