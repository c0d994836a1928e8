#include "repack/repair_search.hpp"

#include <algorithm>

#include "access/checksum_store.hpp"
#include "canon/sealed_extent.hpp"
#include "vma/extent.hpp"

namespace vmad::repack {
namespace {

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

/// Decides where the content of each damaged region comes from.
class Search {
  public:
    Search(const DamagedArchive& patient, const io::File& file, RepairDonors& donors,
           const base::CancelFlag& cancel)
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
    [[nodiscard]] const RegionChoices& choices() const noexcept { return choices_; }
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
        RegionChoice choice;
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
            choices_[number] = {.from = RegionChoice::From::zeros};
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
            auto* const donor = donors_.find(i);
            if (donor == nullptr) continue;
            const auto claim = donor->claim(device, expected.region);
            const bool is_claimed = !claim || (claim->is_stored && claim->checksum == expected.checksum &&
                                               claim->content_bytes == expected.content_bytes);
            if (is_claimed == doubting) continue;
            const auto extent = donor->extent(device.name, plan);
            if (!extent || extent->size() != expected.content_bytes + vma::kExtentHeaderSize ||
                checksum_of(*extent) != expected.checksum)
                continue;
            take(
                number,
                {RegionChoice::From::donor, i, static_cast<std::uint32_t>(extent->size()), expected.checksum},
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
            take(number, {RegionChoice::From::itself, 0, extents.bytes, checksum_of(extent)}, extent);
            return true;
        }
        return false;
    }

    void take(std::uint64_t number, const RegionChoice& choice, const Bytes& extent) {
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
            const auto extent = donors_.extent(i, device.name, plan);
            if (!extent) continue;
            const RegionChoice choice{RegionChoice::From::donor, i,
                                      static_cast<std::uint32_t>(extent->size()), checksum_of(*extent)};
            const bool is_known = std::any_of(candidates.begin(), candidates.end(), [&](const auto& other) {
                return other.choice.bytes == choice.bytes && other.choice.checksum == choice.checksum;
            });
            if (is_known) continue;
            candidates.push_back({choice, canon::ContentSum(bare_header_)});
            add_to_sum(candidates.back().sum, *extent);
        }
        candidates.push_back({{.from = RegionChoice::From::zeros}, canon::ContentSum(bare_header_)});
        open_.emplace(number, std::move(candidates));
    }

    /// There are too many such regions to try more than one content for each.
    void guess(const vma::Device& device, std::uint64_t number) {
        const auto plan = patient_.layout.plan(number);
        auto& choice = guesses_[number];
        for (std::size_t i = 0; i < donors_.size(); ++i) {
            cancel_.check();
            const auto extent = donors_.extent(i, device.name, plan);
            if (!extent) continue;
            choice = {RegionChoice::From::donor, i, static_cast<std::uint32_t>(extent->size()),
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
        if (piece.is_found && choice->second.from == RegionChoice::From::donor)
            piece.donor = donors_.path(choice->second.donor);
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

    const DamagedArchive& patient_;
    RepairDonors& donors_;
    const base::CancelFlag& cancel_;
    access::FoundExtentReader reader_;
    canon::ContentSum sum_;
    vma::Header bare_header_;
    RegionChoices choices_;
    std::map<std::uint64_t, std::vector<Candidate>> open_;
    RegionChoices guesses_;
    std::uint64_t unfound_ = 0;
    std::size_t doubted_ = 0;
    bool is_proven_ = false;
};

}  // namespace

RepairPlan plan_repair(const DamagedArchive& archive, const io::File& file, RepairDonors& donors,
                       const base::CancelFlag& cancel) {
    Search search(archive, file, donors, cancel);
    search.run();
    return {.choices = search.choices(),
            .stretches = search.stretches(),
            .has_unfound = search.has_unfound(),
            .is_complete = search.is_complete()};
}

}  // namespace vmad::repack
