#include "ctl/operands/archive_info.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
namespace vmad::ctl {

std::string uuid_text(const vma::Uuid& uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", std::to_integer<unsigned>(uuid[i]));
    }
    return text;
}

nlohmann::json to_json(const ArchiveInfo& info) {
    nlohmann::json out{{"path", info.path},
                       {"format", codec::format_name(info.format)},
                       {"ctime", info.header.ctime},
                       {"uuid", uuid_text(info.header.uuid)},
                       {"configs", nlohmann::json::array()},
                       {"devices", nlohmann::json::array()}};
    if (info.size_bytes) out["size_bytes"] = *info.size_bytes;
    if (info.canonical != verify::Canonical::unknown)
        out["canonical_headers"] = info.canonical == verify::Canonical::yes;
    if (info.canonical == verify::Canonical::yes) out["extent_count"] = info.canonical_extents;
    for (const auto& config : info.header.configs)
        out["configs"].push_back({{"name", config.name}, {"size_bytes", config.data.size()}});
    for (const auto& device : info.header.devices)
        out["devices"].push_back(
            {{"name", device.name}, {"id", device.id}, {"size_bytes", device.size_bytes}});
    return out;
}

}  // namespace vmad::ctl
