// Finds, in other backups of a guest, what a damaged archive has lost.
//
// A region is taken by the checksum that it should have; where none is known, by the digest of the whole
// archive, which only one combination of candidates has. Nothing is written. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access/extent_search.hpp"
#include "access/region_checksums.hpp"
#include "base/task.hpp"
#include "canon/layout.hpp"
#include "repack/repair_donor.hpp"
#include "verify/archive_look.hpp"

namespace vmad::repack {

/// A damaged stretch, and where its content was found.
struct RepairedStretch {
    verify::DamagedStretch stretch{};
    std::string donor{};  ///< path of the other backup; empty: it is zeros, or follows from the rest
    bool is_found = false;
};

/// Where the content of an extent comes from.
struct RegionChoice {
    enum class From { zeros, itself, donor };
    From from = From::zeros;
    std::size_t donor = 0;
    std::uint32_t bytes = 0;  ///< of the extent
    std::uint32_t checksum = 0;
};
using RegionChoices = std::map<std::uint64_t, RegionChoice>;  ///< by number of the extent

/// The damaged archive: what is whole in it.
struct DamagedArchive {
    io::FileSystem& fs;
    codec::ArchiveFormat format;
    vma::Header header;
    canon::Layout layout;
    std::shared_ptr<const access::FoundArchive> found;
    std::optional<std::vector<access::DiskChecksums>> expected;
    verify::KnownDigest known;
};

/// Where everything comes from, and whether that is proven to be what was lost.
struct RepairPlan {
    RegionChoices choices{};
    std::vector<RepairedStretch> stretches{};  ///< at most verify::kMaxStretches
    bool has_unfound = false;                  ///< a region is in no donor
    bool is_complete = false;                  ///< nothing is unfound, and digest or checksums fit
};

/// `file` is the damaged archive. Throws base::SystemError, base::Error when it changes, base::Cancelled.
[[nodiscard]] RepairPlan plan_repair(const DamagedArchive& archive, const io::File& file,
                                     RepairDonors& donors, const base::CancelFlag& cancel);

}  // namespace vmad::repack
