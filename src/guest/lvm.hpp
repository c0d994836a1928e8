// Logical volumes of LVM: where their bytes are on the physical volumes, by the text metadata at the start of
// each (format "lvm2", see lvm2's lib/format_text).
//
// Volumes of linear and striped segments are mapped; of others it is said why they are not. Metadata may be
// made to do harm: nothing outside of the physical volumes is read. Any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "guest/partition_table.hpp"

namespace vmad::guest {

/// What may be a physical volume.
struct LvmMember {
    std::uint64_t bytes = 0;
    ReadAt read;
};

struct LogicalVolume {
    std::string name;  ///< "vg/root"
    std::uint64_t bytes = 0;
    std::string problem;  ///< why it cannot be read; empty for most
    ReadAt read;          ///< empty when it cannot be
};

/// The visible ones of all volume groups of these members, by name. What is wrong with the metadata of a
/// member makes it none. Throws what `read` throws.
[[nodiscard]] std::vector<LogicalVolume> find_logical_volumes(std::span<const LvmMember> members);

/// The metadata as nested objects, with their texts, numbers and arrays. Throws base::Error for what is not
/// of that form. Pure.
[[nodiscard]] nlohmann::json parse_lvm_metadata(std::string_view text);

}  // namespace vmad::guest
