// The canonical layout, version 1, and the content digest, done the plain way: index the whole archive, sort,
// write. What the engine makes must be the same bytes. For archives that fit into memory some times over.
//
// All throw Refused for an archive that is not valid.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/guest.hpp"

namespace vmad::testing {

/// What a restore gives back.
struct Contents {
    std::vector<std::pair<std::string, Bytes>> configs;  ///< in the order of their slots
    std::map<std::string, Bytes> disks;
    bool operator==(const Contents&) const = default;
};

[[nodiscard]] Contents extract(View archive);

/// What a restore of any dump of this guest gives back.
[[nodiscard]] Contents contents_of(const Guest& guest);

/// The canonical archive of the same content and ctime.
[[nodiscard]] Bytes reference_repack(View archive);

/// How a canonical archive is stored as .vma.zst. The level, and the version of libzstd, are part of it.
[[nodiscard]] Bytes reference_zstd(View canonical, int level);

/// Device names to the ids that the canonical layout gives them. At most 254 names.
[[nodiscard]] std::map<std::string, std::uint8_t> reference_ids(const std::vector<std::string>& names);

/// The content digest: 16 bytes in XXH128's canonical (big-endian) form, as 32 hexadecimal digits.
[[nodiscard]] std::string content_digest(View archive);

}  // namespace vmad::testing
