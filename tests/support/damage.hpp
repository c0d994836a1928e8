// Damaged archives: a small valid one, broken in one place each, with every checksum made right again unless
// the checksum is the defect. A reader must refuse each of them.
//
// They are known by id, which states the defect; a test of the real reader keeps its exact message per id.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "support/vma_fields.hpp"

namespace vmad::testing {

struct DamagedArchive {
    Bytes bytes;
    /// Where the defect lies, by the convention of Refused::offset.
    std::uint64_t offset = 0;
};

struct Damage {
    std::string id;      ///< lower case with dashes, fit for a file name
    std::string defect;  ///< in words
    /// True when the archive may be sound, but is of a kind that vmad leaves untouched.
    bool unsupported = false;
    std::function<DamagedArchive()> build;
};

/// Every kind of damage, in the order of the file: header, extents, clusters, ends.
[[nodiscard]] const std::vector<Damage>& damages();

/// Throws std::out_of_range when there is no such id.
[[nodiscard]] const Damage& damage_named(std::string_view id);

/// The archive that all of them start from: two configs; drive-efidisk0 (540672 bytes), drive-scsi0 (68.5
/// clusters) and drive-scsi1 (512 bytes); some extents.
[[nodiscard]] Bytes undamaged_archive();

}  // namespace vmad::testing
