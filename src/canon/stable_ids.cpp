#include "canon/stable_ids.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string_view>

#include "vma/format.hpp"

namespace vmad::canon {
namespace {

constexpr unsigned kFirstHashedId = 61;
constexpr unsigned kHashedIds = vma::kMaxDeviceId - kFirstHashedId + 1;
static_assert(kHashedIds == 194);

std::map<std::string, std::uint8_t, std::less<>> make_fixed_ids() {
    struct Bus {
        std::string_view name;
        unsigned slots;
    };
    static constexpr std::array kBuses{Bus{"ide", 4},  Bus{"scsi", 31},   Bus{"virtio", 16},
                                       Bus{"sata", 6}, Bus{"efidisk", 1}, Bus{"tpmstate", 1}};
    std::map<std::string, std::uint8_t, std::less<>> ids;
    std::uint8_t next = 1;
    for (const auto& bus : kBuses)
        for (unsigned slot = 0; slot < bus.slots; ++slot)
            ids.emplace("drive-" + std::string(bus.name) + std::to_string(slot), next++);
    ids.emplace("drive-tpmstate0-backup", next);
    return ids;
}

std::optional<std::uint8_t> fixed_id(const std::string& name) {
    static const auto ids = make_fixed_ids();
    const auto found = ids.find(name);
    return found == ids.end() ? std::nullopt : std::optional(found->second);
}

/// FNV-1a, 32 bits.
std::uint32_t hash(std::string_view name) {
    std::uint32_t result = 0x811c9dc5;
    for (const char c : name) result = (result ^ static_cast<unsigned char>(c)) * 0x01000193;
    return result;
}

std::uint8_t first_free(const std::string& name, const std::set<std::uint8_t>& taken) {
    const auto start = hash(name) % kHashedIds;
    for (unsigned k = 0; k < kHashedIds; ++k) {
        const auto id = static_cast<std::uint8_t>(kFirstHashedId + (start + k) % kHashedIds);
        if (!taken.contains(id)) return id;
    }
    std::uint8_t id = 1;
    while (taken.contains(id)) ++id;
    return id;
}

}  // namespace

std::map<std::string, std::uint8_t> stable_ids(std::vector<std::string> names) {
    // std::string compares bytes as unsigned, which is the byte order that the layout means.
    std::sort(names.begin(), names.end());
    std::map<std::string, std::uint8_t> ids;
    std::set<std::uint8_t> taken;
    const auto give = [&](const std::string& name, std::uint8_t id) {
        ids.emplace(name, id);
        taken.insert(id);
    };
    for (const auto& name : names)
        if (const auto id = fixed_id(name)) give(name, *id);
    for (const auto& name : names)
        if (!ids.contains(name)) give(name, first_free(name, taken));
    return ids;
}

}  // namespace vmad::canon
