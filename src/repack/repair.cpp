#include "repack/repair.hpp"

#include <fcntl.h>

#include <algorithm>

#include <fmt/format.h>

#include "pve/backup_name.hpp"
#include "repack/patched_archive.hpp"

namespace vmad::repack {
namespace {

using access::DiskChecksums;

std::string count_text(std::uint64_t count, std::string_view what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

/// Finds out what is damaged, and how to repair it.
class Repair {
  public:
    Repair(io::FileSystem& fs, const RepairOptions& options, RepairResult& result)
        : fs_(fs),
          options_(options),
          result_(result),
          donors_(fs, options.donors, options.store, donor_task(options), options.donor_left_out) {}

    std::optional<Replacement> plan(const io::File& file) {
        verify::LookOptions look_options{.task = options_.in_place.repack.task,
                                         .recorded = options_.recorded};
        look_options.task.progress = options_.look_progress;
        look_options.expected = [&](const io::File& archive) {
            return expected_ = access::checksums_of(fs_, archive, options_.store,
                                                    options_.in_place.repack.task.cancel_flag());
        };
        const auto look = verify::look_at_archive(fs_, file, look_options);
        if (look.changed) {
            changed_ = true;
            return std::nullopt;
        }
        if (!look.fault) return std::nullopt;
        result_.was_damaged = true;
        diagnose(file, look);
        plan_ = plan_repair(*archive_, file, donors_, options_.in_place.repack.task.cancel_flag());
        result_.stretches = plan_.stretches;
        result_.proof = archive_->known.origin;
        if (options_.planned) options_.planned(result_.stretches);
        require_complete();
        if (options_.dry_run) return std::nullopt;
        return Replacement{.format = archive_->format,
                           .write = [this](const io::File& original, engine::OrderedWriter& writer,
                                           const engine::RepackOptions& repack,
                                           std::string&) { return write(original, writer, repack); }};
    }
    [[nodiscard]] bool changed() const noexcept { return changed_; }

  private:
    static base::TaskOptions donor_task(const RepairOptions& options) {
        auto task = options.in_place.repack.task;
        task.progress = options.look_progress;
        return task;
    }

    /// Throws what is wrong with an archive that nothing can be done for.
    void diagnose(const io::File& file, const verify::ArchiveLook& look) {
        const auto format = verify::likely_format(fs_, file);
        const auto header = verify::canonical_header(fs_, file, format);
        if (!header || !look.found) give_up(look);
        // What proves the copy is what the look has compared with, and nothing that was read since.
        if (expected_ && !access::are_disks_of(*expected_, *header)) expected_.reset();
        archive_.emplace(DamagedArchive{fs_, format, *header, canon::Layout(*header), look.found,
                                        std::move(expected_),
                                        verify::known_digest(fs_, file, options_.recorded)});
    }

    [[noreturn]] static void give_up(const verify::ArchiveLook& look) {
        std::string fault;
        try {
            std::rethrow_exception(look.fault);
        } catch (const base::Error& error) {
            fault = error.what();
        }
        std::vector<RepairedStretch> stretches;
        for (const auto& stretch : look.damage.stretches) stretches.push_back({stretch});
        const bool has_header = stretches.empty() || !stretches.front().stretch.disk.empty();
        throw Irreparable(
            has_header
                ? fmt::format("only .vma, .vma.zst and .vma.gz that vmad has repacked can be repaired: "
                              "{}",
                              fault)
                : "its header is damaged, and no other backup has the same",
            std::move(stretches));
    }

    void require_complete() const {
        if (plan_.is_complete) return;
        std::uint64_t lost = 0;
        std::uint64_t found = 0;
        for (const auto& [stretch, donor, is_found] : result_.stretches)
            (is_found ? found : lost) += base::divide_up<std::uint64_t>(stretch.bytes, canon::kRegionBytes);
        if (plan_.has_unfound)
            throw Irreparable(
                archive_->expected || archive_->known.published
                    ? fmt::format(
                          "{} in no other backup here; {} could be restored: nothing was changed",
                          lost == 1 ? "a damaged region is" : count_text(lost, "damaged region") + " are",
                          found)
                    : "neither a digest nor checksums of its regions are known, so that nothing could be "
                      "proven: nothing was changed",
                result_.stretches);
        throw Irreparable("the digest that it was published with would not come out: nothing was changed",
                          result_.stretches);
    }

    engine::RepackResult write(const io::File& original, engine::OrderedWriter& writer,
                               const engine::RepackOptions& repack) {
        const auto patched = open_patched(*archive_, original, plan_.choices, donors_);
        auto source = codec::ArchiveSource::of_stream(*patched, {1, repack.task.cancel});
        auto result = engine::repack(fs_, source, writer, repack);
        const auto& known = archive_->known.published;
        if (known && result.fingerprint.digest.to_hex() != known->digest)
            throw verify::VerificationError(
                fmt::format("the repaired archive has the digest {} in place of {}: it is thrown away",
                            result.fingerprint.digest.to_hex(), known->digest));
        return result;
    }

    io::FileSystem& fs_;
    const RepairOptions& options_;
    RepairResult& result_;
    std::optional<std::vector<DiskChecksums>> expected_;  ///< of the regions, as the look has taken it
    std::optional<DamagedArchive> archive_;
    RepairDonors donors_;
    RepairPlan plan_;
    bool changed_ = false;
};

}  // namespace

RepairResult repair_in_place(io::FileSystem& fs, const std::string& path, const RepairOptions& options) {
    RepairResult result;
    Repair repair(fs, options, result);
    result.in_place =
        replace_in_place(fs, path, options.in_place, [&](const io::File& file) { return repair.plan(file); });
    if (repair.changed()) result.in_place.outcome = InPlaceOutcome::changed;
    return result;
}

std::vector<std::string> other_backups(io::FileSystem& fs, const std::string& path) {
    const auto slash = path.rfind('/');
    const auto directory = path.substr(0, slash + 1);
    const auto own = pve::parse_backup_name(path.substr(slash + 1));
    if (!own) return {};
    const auto own_time = pve::epoch_seconds(own->time);
    std::vector<std::pair<std::int64_t, std::string>> others;
    for (const auto& name : fs.entries(fs.open(directory, O_RDONLY | O_DIRECTORY)))
        if (const auto other = pve::parse_backup_name(name);
            other && other->vmid == own->vmid && directory + name != path)
            others.emplace_back(std::abs(pve::epoch_seconds(other->time) - own_time), directory + name);
    std::sort(others.begin(), others.end());
    std::vector<std::string> paths;
    for (auto& [distance, other] : others) paths.push_back(std::move(other));
    return paths;
}

}  // namespace vmad::repack
