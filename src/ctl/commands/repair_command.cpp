// vmactl repair: puts a damaged archive right out of other backups of the guest.

#include <fcntl.h>

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "base/limits.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/commands/in_place_run.hpp"
#include "ctl/commands/known_archives.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/archive_task.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/job_text.hpp"
#include "ctl/text/printable_text.hpp"
#include "repack/partition_names.hpp"
#include "repack/repair.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "Reads ARCHIVE, which vmad has repacked, for damaged regions, and takes them from\n"
    "the other backups of the guest in its directory, the nearest in time first. The\n"
    "archive is replaced atomically, as by \"vmactl repack --in-place\", once it has\n"
    "the digest that it was published with. Where no digest is known, each region\n"
    "must have the checksum in the archive's seek table, and a message says so.\n"
    "Otherwise nothing is changed. Exits with 6 if it cannot be repaired.";

std::string name_in(const std::string& path) { return path.substr(path.rfind('/') + 1); }

class RepairCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("ARCHIVE", archive_, "Archive to repair: path or volume ID").required();
        arguments.option("--from", from_, "Backup to look in first; may be repeated")
            .value_name("OTHER")
            .repeatable();
        arguments.flag("--dry-run", dry_run_, "Say what can be restored; write nothing");
        add_threads_option(arguments, threads_);
        add_level_option(arguments, level_);
        arguments.option("--state-dir", state_directory_, "Directory for locks and records")
            .value_name("DIR");
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        const StopSignals signals;
        KnownArchives known(context);
        InPlaceRun run;
        run.paths = {archive_};
        run.state_directory =
            state_directory_.empty() ? default_state_directory() : absolute_path(state_directory_);
        run.repack.task.threads = threads_;
        run.repack.task.cancel = &signals.flag();
        run.repack.zstd_level = level_;
        run.done_text = "repaired";
        run.work = [&](const std::string& path, const repack::InPlaceOptions& in_place) {
            return repair(context, path, in_place, known, signals, run);
        };
        return repack_in_place_all(context, run);
    }

  private:
    repack::InPlaceResult repair(Context& context, const std::string& path,
                                 const repack::InPlaceOptions& in_place, KnownArchives& known,
                                 const StopSignals& signals, InPlaceRun& run) {
        label_ = archive_name(context.fs, context.console, archive_).path;
        const auto record = known.find(path);
        repack::RepairOptions options;
        options.in_place = in_place;
        options.donors = donors(context, path);
        options.recorded = recorded_digest(record);
        options.store = &known.checksums();
        options.dry_run = dry_run_;
        std::optional<ProgressBar> bar(std::in_place, context.console,
                                       archive_label(path) + " (looking for damage)",
                                       std::vector{base::Stage::verifying});
        options.look_progress = bar->sink();
        std::vector<std::string> left_out;
        options.donor_left_out = [&](const std::string& donor, const std::string& reason) {
            left_out.push_back(fmt::format("{} cannot help: {}", name_in(donor), reason));
        };
        options.planned = [&](const auto& stretches) {
            bar.reset();
            report(context, path, stretches, known, signals, run);
        };
        try {
            const auto result = repack::repair_in_place(context.fs, path, options);
            bar.reset();
            conclude(context, result, run);
            if (record && result.in_place.outcome == repack::InPlaceOutcome::done)
                ask_to_verify(context, path);
            return result.in_place;
        } catch (const repack::Irreparable&) {
            bar.reset();
            for (const auto& text : left_out) context.console.message(text);
            throw;
        }
    }

    std::vector<std::string> donors(Context& context, const std::string& path) {
        std::vector<std::string> donors;
        for (const auto& word : from_)
            donors.push_back(absolute_path(archive_name(context.fs, context.console, word).path));
        for (auto& other : repack::other_backups(context.fs, path))
            if (std::find(donors.begin(), donors.end(), other) == donors.end())
                donors.push_back(std::move(other));
        return donors;
    }

    void report(Context& context, const std::string& path,
                const std::vector<repack::RepairedStretch>& stretches, KnownArchives& known,
                const StopSignals& signals, InPlaceRun& run) const {
        std::vector<repack::ArchivePlace> ends;
        for (const auto& stretch : stretches)
            if (ends.size() < api::kMaxDamagedPlaces)
                ends.push_back(repack::place_for_partition(stretch.stretch));
        const auto names = repack::partition_names(context.fs, context.fs.open(path, O_RDONLY | O_NONBLOCK),
                                                   ends, known.checksums(), signals.flag());
        auto regions = nlohmann::json::array();
        std::string text;
        for (std::size_t i = 0; i < ends.size(); ++i) {
            const auto& [stretch, donor, is_found] = stretches[i];
            const api::DamagedPlace place{stretch.disk, stretch.offset, stretch.bytes, names[i]};
            nlohmann::json region(place);
            region["found"] = is_found;
            if (!donor.empty()) region["from"] = donor;
            regions.push_back(std::move(region));
            const auto* missing = "in no other backup";
            text += fmt::format("  {}: {}\n", place_text(place),
                                !is_found       ? missing
                                : donor.empty() ? "follows from the rest"
                                                : "from " + printable(name_in(donor)));
        }
        if (stretches.size() > ends.size())
            text += fmt::format("  and {} more places\n", stretches.size() - ends.size());
        run.details = {{"regions", std::move(regions)}};
        if (context.options.json) return;
        context.console.print(
            printable(fmt::format("{}: damaged{}", path, text.empty() ? ", but not in its content" : ":")) +
            "\n" + text);
    }

    void conclude(Context& context, const repack::RepairResult& result, InPlaceRun& run) const {
        run.unchanged_text = !result.was_damaged ? "not damaged" : "can be repaired; nothing was written";
        if (!result.was_damaged) return;
        const bool has_digest = result.proof != verify::DigestOrigin::none;
        run.details["proof"] = has_digest ? "digest" : "checksums";
        if (dry_run_) run.details["dry_run"] = true;
        if (!has_digest)
            context.console.message(fmt::format(
                "{}: the digest that it was published with is not known; its regions have the checksums "
                "of its seek table",
                label_));
    }

    /// The daemon still knows it as damaged.
    static void ask_to_verify(const Context& context, const std::string& path) try {
        api::EnqueueCall call{.path = path};
        call.kind = api::JobKind::verify;
        call.announced = true;
        (void)context.daemon(std::chrono::seconds(2)).enqueue(call);
    } catch (const base::Error&) {
        // It will find out in its time.
    }

    std::string archive_;
    std::string label_;  ///< of the archive, as other messages name it
    std::vector<std::string> from_;
    std::string state_directory_;
    bool dry_run_ = false;
    unsigned threads_ = 1;
    int level_ = base::kDefaultZstdLevel;
};

}  // namespace

std::unique_ptr<Command> make_repair_command() { return std::make_unique<RepairCommand>(); }

}  // namespace vmad::ctl
