#include "repack/repair.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "canon/sealed_extent.hpp"
#include "pve/backup_name.hpp"
#include "repack/repair_donor.hpp"
#include "vma/extent.hpp"

namespace vmad::repack {
namespace {

using access::DiskChecksums;
using access::FoundArchive;
using Bytes = std::vector<std::byte>;

/// Regions of which nothing is known are tried in so many combinations until the digest fits.
constexpr std::size_t kMostCombinations = 4096;
constexpr std::size_t kMostTried = 64;  ///< such regions, with all that other backups have for them
/// Regions for which donors are read although their own checksums speak against it.
constexpr std::size_t kMostDoubted = 256;

std::uint32_t checksum_of(const Bytes& extent) {
    const auto slice = io::const_slice(extent);
    return canon::extent_checksum({&slice, 1});
}

/// Where the content of an extent comes from.
struct Choice {
    enum class From { zeros, itself, donor };
    From from = From::zeros;
    std::size_t donor = 0;
    std::uint32_t bytes = 0;  ///< of the extent
    std::uint32_t checksum = 0;
};
using Choices = std::map<std::uint64_t, Choice>;  ///< by number of the extent

/// The damaged archive: what is whole in it.
struct Patient {
    io::FileSystem& fs;
    codec::ArchiveFormat format;
    vma::Header header;
    canon::Layout layout;
    std::shared_ptr<const FoundArchive> found;
    std::optional<std::vector<DiskChecksums>> expected;
    verify::KnownDigest known;
};
using Donors = std::vector<std::unique_ptr<RepairDonor>>;

/// Decides where the content of each damaged region comes from.
class Search {
  public:
    Search(const Patient& patient, const io::File& file, Donors& donors, const base::CancelFlag& cancel)
        : patient_(patient),
          donors_(donors),
          cancel_(cancel),
          reader_(patient.fs, file, patient.format),
          sum_(patient.found->sum),
          bare_header_(patient.header) {
        bare_header_.configs.clear();
    }

    void run() {
        std::uint64_t missing = 0;
        for (const auto& range : patient_.found->missing) missing += range.count;
        if (missing > access::kMaxListedRegions) {
            unfound_ = missing;
            return;
        }
        for (const auto& range : patient_.found->missing)
            for (std::uint32_t i = 0; i < range.count; ++i) {
                cancel_.check();
                find(*patient_.header.device(range.device_id), range.first + i);
            }
        choose_open();
    }
    [[nodiscard]] const Choices& choices() const noexcept { return choices_; }
    [[nodiscard]] bool is_complete() const noexcept { return unfound_ == 0 && is_proven_; }
    [[nodiscard]] bool has_unfound() const noexcept { return unfound_ != 0; }

    [[nodiscard]] std::vector<RepairedStretch> stretches() const {
        std::vector<RepairedStretch> result;
        for (const auto& range : patient_.found->missing)
            for (std::uint32_t i = 0; i < range.count && result.size() < verify::kMaxStretches;)
                i += add_to(result, *patient_.header.device(range.device_id), range.first + i,
                            range.count - i);
        return result;
    }

  private:
    /// Something that the content of a region may be.
    struct Candidate {
        Choice choice;
        canon::ContentSum sum;
    };

    std::uint64_t number_of(const vma::Device& device, std::uint32_t region) const {
        return patient_.layout.place(device.id, 0).extent + region;
    }

    void find(const vma::Device& device, std::uint32_t region) {
        const auto number = number_of(device, region);
        if (!patient_.expected) return find_any(device, number);
        const auto* expected = expected_of(device, region);
        if (expected == nullptr) {
            choices_[number] = {.from = Choice::From::zeros};
        } else if (!find_expected(device, number, *expected, false) &&
                   (++doubted_ > kMostDoubted || !find_expected(device, number, *expected, true)) &&
                   !take_own(number)) {
            find_any(device, number);  // what was expected may be wrong
        }
    }

    const access::RegionChecksum* expected_of(const vma::Device& device, std::uint32_t region) const {
        for (const auto& disk : *patient_.expected) {
            if (disk.device != device) continue;
            const auto found = std::lower_bound(
                disk.regions.begin(), disk.regions.end(), region,
                [](const auto& known, std::uint32_t wanted) { return known.region < wanted; });
            if (found != disk.regions.end() && found->region == region) return &*found;
        }
        return nullptr;
    }

    /// `doubting`: also in donors whose own checksums say that it is not there.
    bool find_expected(const vma::Device& device, std::uint64_t number,
                       const access::RegionChecksum& expected, bool doubting) {
        const auto plan = patient_.layout.plan(number);
        for (std::size_t i = 0; i < donors_.size(); ++i) {
            cancel_.check();
            const auto claim = donors_[i]->claim(device, expected.region);
            const bool is_claimed = !claim || (claim->is_stored && claim->checksum == expected.checksum &&
                                               claim->content_bytes == expected.content_bytes);
            if (is_claimed == doubting) continue;
            const auto extent = donors_[i]->extent(device.name, plan);
            if (!extent || extent->size() != expected.content_bytes + vma::kExtentHeaderSize ||
                checksum_of(*extent) != expected.checksum)
                continue;
            take(number,
                 {Choice::From::donor, i, static_cast<std::uint32_t>(extent->size()), expected.checksum},
                 *extent);
            return true;
        }
        return false;
    }

    /// The region is whole in itself, but has another checksum than expected: the digest tells who is right.
    bool take_own(std::uint64_t number) {
        if (!patient_.known.published) return false;
        for (const auto& extents : patient_.found->doubtful) {
            if (extents.number != number || extents.count != 1) continue;
            const auto extent = reader_.read(extents);
            take(number, {Choice::From::itself, 0, extents.bytes, checksum_of(extent)}, extent);
            return true;
        }
        return false;
    }

    void take(std::uint64_t number, const Choice& choice, const Bytes& extent) {
        choices_[number] = choice;
        add_to_sum(sum_, extent);
    }

    static void add_to_sum(canon::ContentSum& sum, const Bytes& extent) {
        if (extent.size() <= vma::kExtentHeaderSize) return;
        const auto header = vma::parse_extent_header(
            std::span<const std::byte>(extent).first<vma::kExtentHeaderSize>(), canon::kCanonicalUuid, 0);
        sum.add(header, extent.data() + vma::kExtentHeaderSize);
    }

    /// All that the region may be: only the digest can tell.
    void find_any(const vma::Device& device, std::uint64_t number) {
        if (!patient_.known.published) {
            ++unfound_;
            return;
        }
        if (open_.size() >= kMostTried) return guess(device, number);
        const auto plan = patient_.layout.plan(number);
        std::vector<Candidate> candidates;
        for (std::size_t i = 0; i < donors_.size(); ++i) {
            cancel_.check();
            const auto extent = donors_[i]->extent(device.name, plan);
            if (!extent) continue;
            const Choice choice{Choice::From::donor, i, static_cast<std::uint32_t>(extent->size()),
                                checksum_of(*extent)};
            const bool is_known = std::any_of(candidates.begin(), candidates.end(), [&](const auto& other) {
                return other.choice.bytes == choice.bytes && other.choice.checksum == choice.checksum;
            });
            if (is_known) continue;
            candidates.push_back({choice, canon::ContentSum(bare_header_)});
            add_to_sum(candidates.back().sum, *extent);
        }
        candidates.push_back({{.from = Choice::From::zeros}, canon::ContentSum(bare_header_)});
        open_.emplace(number, std::move(candidates));
    }

    /// There are too many such regions to try more than one content for each.
    void guess(const vma::Device& device, std::uint64_t number) {
        const auto plan = patient_.layout.plan(number);
        auto& choice = guesses_[number];
        for (std::size_t i = 0; i < donors_.size(); ++i) {
            cancel_.check();
            const auto extent = donors_[i]->extent(device.name, plan);
            if (!extent) continue;
            choice = {Choice::From::donor, i, static_cast<std::uint32_t>(extent->size()),
                      checksum_of(*extent)};
            return add_to_sum(sum_, *extent);
        }
    }

    /// Tries combinations of what the open regions may be; the digest proves one.
    void choose_open() {
        if (!patient_.known.published) {
            is_proven_ = open_.empty() && patient_.expected.has_value();
            return;
        }
        std::vector<std::size_t> places(open_.size(), 0);
        for (std::size_t tried = 0; tried < kMostCombinations; ++tried) {
            cancel_.check();
            auto sum = sum_;
            std::size_t at = 0;
            for (const auto& [number, candidates] : open_) sum.merge(candidates[places[at++]].sum);
            if (sum.finish().to_hex() == patient_.known.published->digest) {
                is_proven_ = true;
                break;
            }
            if (!advance(places)) break;
        }
        if (!is_proven_) {
            unfound_ += open_.size() + guesses_.size();
            return;
        }
        std::size_t at = 0;
        for (const auto& [number, candidates] : open_) choices_[number] = candidates[places[at++]].choice;
        choices_.merge(guesses_);
    }

    bool advance(std::vector<std::size_t>& places) const {
        std::size_t at = 0;
        for (const auto& [number, candidates] : open_) {
            if (++places[at] < candidates.size()) return true;
            places[at++] = 0;
        }
        return false;
    }

    /// Adds the next of `count` regions, or all before the next one that was found. Returns how many.
    std::uint32_t add_to(std::vector<RepairedStretch>& result, const vma::Device& device,
                         std::uint32_t region, std::uint32_t count) const {
        const auto number = number_of(device, region);
        const auto choice = choices_.lower_bound(number);
        const bool is_found = choice != choices_.end() && choice->first == number;
        if (is_found)
            count = 1;
        else if (choice != choices_.end())
            count = static_cast<std::uint32_t>(std::min<std::uint64_t>(count, choice->first - number));
        const auto offset = region * std::uint64_t{canon::kRegionBytes};
        const auto bytes =
            std::min<std::uint64_t>(count * std::uint64_t{canon::kRegionBytes}, device.size_bytes - offset);
        RepairedStretch piece{.stretch = {device.name, offset, bytes}};
        piece.is_found = is_found;
        if (piece.is_found && choice->second.from == Choice::From::donor)
            piece.donor = donors_[choice->second.donor]->path();
        if (!result.empty()) {
            auto& last = result.back();
            if (last.stretch.disk == device.name && last.stretch.offset + last.stretch.bytes == offset &&
                last.donor == piece.donor && last.is_found == piece.is_found) {
                last.stretch.bytes += bytes;
                return count;
            }
        }
        result.push_back(std::move(piece));
        return count;
    }

    const Patient& patient_;
    Donors& donors_;
    const base::CancelFlag& cancel_;
    access::FoundExtentReader reader_;
    canon::ContentSum sum_;
    vma::Header bare_header_;
    Choices choices_;
    std::map<std::uint64_t, std::vector<Candidate>> open_;
    Choices guesses_;
    std::uint64_t unfound_ = 0;
    std::size_t doubted_ = 0;
    bool is_proven_ = false;
};

/// The archive as it should be, uncompressed: what is whole of it, the choices, and what follows from the
/// layout alone.
class PatchedSource final : public io::ByteSource {
  public:
    PatchedSource(const Patient& patient, const io::File& file, const Choices& choices, Donors& donors)
        : patient_(patient),
          choices_(choices),
          donors_(donors),
          reader_(patient.fs, file, patient.format),
          file_bytes_(static_cast<std::uint64_t>(patient.fs.status(file).st_size)),
          bytes_(patient.layout.header()) {}

    [[nodiscard]] std::size_t read(std::span<iovec> into) override {
        std::size_t done = 0;
        for (const auto& slice : into) {
            std::span room(static_cast<std::byte*>(slice.iov_base), slice.iov_len);
            while (!room.empty()) {
                if (used_ == bytes_.size() && !load()) return done;
                const auto count = std::min(room.size(), bytes_.size() - used_);
                std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(used_), count, room.begin());
                used_ += count;
                done += count;
                room = room.subspan(count);
            }
        }
        return done;
    }
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return std::nullopt; }
    [[nodiscard]] io::SourceProgress progress() const override { return {stored_bytes_, file_bytes_}; }

  private:
    bool load() {
        if (number_ == patient_.layout.extent_count()) return false;
        used_ = 0;
        const auto& whole = patient_.found->whole;
        while (piece_ < whole.size() && whole[piece_].number < number_) ++piece_;
        if (piece_ < whole.size() && whole[piece_].number == number_) {
            bytes_ = reader_.read(whole[piece_]);
            stored_bytes_ = whole[piece_].stored_offset + whole[piece_].stored_bytes;
            number_ += whole[piece_].count;
            return true;
        }
        const auto choice = choices_.find(number_);
        bytes_ = choice == choices_.end() ? empty_extent() : chosen(choice->second);
        ++number_;
        return true;
    }

    [[nodiscard]] Bytes empty_extent() const {
        const auto plan = patient_.layout.plan(number_);
        const std::vector<canon::StoredCluster> clusters(plan.cluster_count);
        const canon::SealedExtent extent(plan, clusters);
        return {extent.header().begin(), extent.header().end()};
    }

    [[nodiscard]] Bytes chosen(const Choice& choice) {
        if (choice.from == Choice::From::zeros) return empty_extent();
        Bytes extent;
        if (choice.from == Choice::From::itself) {
            for (const auto& extents : patient_.found->doubtful)
                if (extents.number == number_) extent = reader_.read(extents);
        } else {
            const auto plan = patient_.layout.plan(number_);
            const auto* device = patient_.header.device(plan.device_id);
            extent = donors_[choice.donor]->extent(device->name, plan).value_or(Bytes());
        }
        if (extent.size() != choice.bytes || checksum_of(extent) != choice.checksum)
            throw base::Error(fmt::format(
                "{} was changed, or went bad, while a region was taken from it",
                choice.from == Choice::From::donor ? donors_[choice.donor]->path() : "the archive"));
        return extent;
    }

    const Patient& patient_;
    const Choices& choices_;
    Donors& donors_;
    access::FoundExtentReader reader_;
    std::uint64_t file_bytes_;
    std::uint64_t stored_bytes_ = 0;
    Bytes bytes_;               ///< that are handed out
    std::size_t used_ = 0;      ///< of these
    std::uint64_t number_ = 0;  ///< of the next extent
    std::size_t piece_ = 0;
};

std::string count_text(std::uint64_t count, std::string_view what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

/// Finds out what is damaged, and how to repair it.
class Repair {
  public:
    Repair(io::FileSystem& fs, const RepairOptions& options, RepairResult& result)
        : fs_(fs), options_(options), result_(result) {}

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
        open_donors();
        search_.emplace(*patient_, file, donors_, options_.in_place.repack.task.cancel_flag());
        search_->run();
        result_.stretches = search_->stretches();
        result_.proof = patient_->known.origin;
        if (options_.planned) options_.planned(result_.stretches);
        require_complete();
        if (options_.dry_run) return std::nullopt;
        return Replacement{.format = patient_->format,
                           .write = [this](const io::File& original, engine::OrderedWriter& writer,
                                           const engine::RepackOptions& repack,
                                           std::string&) { return write(original, writer, repack); }};
    }
    [[nodiscard]] bool changed() const noexcept { return changed_; }

  private:
    /// Throws what is wrong with an archive that nothing can be done for.
    void diagnose(const io::File& file, const verify::ArchiveLook& look) {
        const auto format = verify::likely_format(fs_, file);
        const auto header = verify::canonical_header(fs_, file, format);
        if (!header || !look.found) give_up(look);
        // What proves the copy is what the look has compared with, and nothing that was read since.
        if (expected_ && !access::are_disks_of(*expected_, *header)) expected_.reset();
        patient_.emplace(Patient{fs_, format, *header, canon::Layout(*header), look.found,
                                 std::move(expected_), verify::known_digest(fs_, file, options_.recorded)});
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

    void open_donors() {
        if (patient_->found->missing.empty()) return;
        auto task = options_.in_place.repack.task;
        task.progress = options_.look_progress;
        for (const auto& path : options_.donors) try {
                auto file = fs_.open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
                if (!S_ISREG(fs_.status(file).st_mode)) throw base::Error(path + " is not a regular file");
                donors_.push_back(
                    std::make_unique<RepairDonor>(fs_, path, std::move(file), options_.store, task));
            } catch (const base::Error& error) {
                if (options_.donor_left_out) options_.donor_left_out(path, error.what());
            }
    }

    void require_complete() const {
        if (search_->is_complete()) return;
        std::uint64_t lost = 0;
        std::uint64_t found = 0;
        for (const auto& [stretch, donor, is_found] : result_.stretches)
            (is_found ? found : lost) += base::divide_up<std::uint64_t>(stretch.bytes, canon::kRegionBytes);
        if (search_->has_unfound())
            throw Irreparable(
                patient_->expected || patient_->known.published
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
        PatchedSource patched(*patient_, original, search_->choices(), donors_);
        auto source = codec::ArchiveSource::of_stream(patched, {1, repack.task.cancel});
        auto result = engine::repack(fs_, source, writer, repack);
        const auto& known = patient_->known.published;
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
    std::optional<Patient> patient_;
    Donors donors_;
    std::optional<Search> search_;
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
