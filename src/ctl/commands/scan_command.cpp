// vmactl scan: finds archives that are not canonical yet and queues them.

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "api/queue_interface.hpp"
#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_search.hpp"
#include "ctl/operands/dump_directory.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/text_table.hpp"
#include "publish/file_identity.hpp"
#include "pve/storage_config.hpp"
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
    "changes.";

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

/// Where to look, and Proxmox's name for it, or none.
struct Place {
    std::string path;
    std::string storage;
};

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

/// A line at the bottom of a terminal, redrawn not more than ten times a second, and gone with this object.
class CountLine {
  public:
    explicit CountLine(Console& console) : console_(console) {}
    CountLine(const CountLine&) = delete;
    CountLine& operator=(const CountLine&) = delete;
    ~CountLine() { clear(); }

    void show(const std::string& text) {
        const auto now = std::chrono::steady_clock::now();
        if (!console_.shows_progress() || now - last_shown_ < std::chrono::milliseconds(100)) return;
        last_shown_ = now;
        console_.show_line(text);
    }
    void clear() noexcept {
        if (last_shown_ != kNever) console_.show_line({});
        last_shown_ = kNever;
    }

  private:
    static constexpr std::chrono::steady_clock::time_point kNever{};

    Console& console_;
    std::chrono::steady_clock::time_point last_shown_ = kNever;
};

class Scan {
  public:
    Scan(Context& context, bool dry_run)
        : context_(context), line_(context.console), dry_run_(dry_run), now_(now()) {}

    void search(const Place& place, std::int64_t since) {
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

class ScanCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("DIR", words_, "Directories to search, archives, or volume IDs");
        arguments.option("--storage", storage_, "Search this Proxmox storage, or all enabled ones")
            .help_text("ID|all");
        arguments.option("--since", since_, "Only archives modified since TIME").help_text("TIME");
        arguments.flag("--dry-run", dry_run_, "List the archives without queueing them");
        arguments.option("--limit", limit_, "Queue at most N archives").help_text("N").positive();
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        Scan scan(context, dry_run_);
        const auto since = since_.empty() ? INT64_MIN : since_time(since_, now());
        const auto places = find_places(context, scan);
        // The search may take long: fail before it if the daemon is down.
        if (!dry_run_) (void)context.daemon();
        for (const auto& place : places) scan.search(place, since);
        scan.queue(limit_);
        scan.print_summary();
        return scan.code();
    }

  private:
    [[nodiscard]] std::vector<Place> find_places(const Context& context, Scan& scan) const {
        if (words_.empty() && storage_.empty())
            throw base::UsageError("name a directory, or a storage with --storage");
        std::vector<Place> places;
        for (const auto& word : words_) {
            const auto name = archive_name(context.fs, context.console, word);
            places.push_back({absolute_path(name.path), name.storage});
        }
        if (storage_.empty()) return places;
        const auto config = pve::StorageConfig::read(context.fs);
        for (const auto& warning : config.warnings(storage_)) context.console.message_once(warning);
        for (const auto& storage : chosen_storages(config, storage_)) {
            if (is_mounted(context.fs, storage))
                places.push_back({storage.dump_directory, storage.id});
            else
                scan.fail(not_mounted_text(storage));
        }
        return places;
    }

    std::vector<std::string> words_;
    std::string storage_;
    std::string since_;
    bool dry_run_ = false;
    std::size_t limit_ = SIZE_MAX;
};

}  // namespace

std::unique_ptr<Command> make_scan_command() { return std::make_unique<ScanCommand>(); }

}  // namespace vmad::ctl
