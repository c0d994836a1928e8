// What an archive says of itself: what "vmactl info" shows, and a mount has in info.json.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "codec/archive_format.hpp"
#include "verify/canonical_check.hpp"
#include "vma/format.hpp"

namespace vmad::ctl {

struct ArchiveInfo {
    std::string path;
    codec::ArchiveFormat format = codec::ArchiveFormat::raw;
    std::optional<std::uint64_t> size_bytes;  ///< of the file; nothing for standard input
    vma::Header header;
    verify::Canonical canonical = verify::Canonical::unknown;
    std::uint64_t canonical_extents = 0;  ///< how many it has when it is canonical
};

[[nodiscard]] std::string uuid_text(const vma::Uuid& uuid);
[[nodiscard]] nlohmann::json to_json(const ArchiveInfo& info);

}  // namespace vmad::ctl
