#include "canon/layout.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string_view>

#include "vma/format.hpp"
#include "vma/header.hpp"

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

constexpr vma::Uuid uuid_from(const char (&hex)[33]) {
    const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    vma::Uuid uuid{};
    for (std::size_t i = 0; i < uuid.size(); ++i)
        uuid[i] = static_cast<std::byte>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    return uuid;
}

/// The header is filled up to a multiple of this, so that a longer VM config does not shift the data.
constexpr std::size_t kHeaderAlignment = 65536;

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

constinit const vma::Uuid kCanonicalUuid = uuid_from("12345678aabbccddeeffaabbccddeeff");

Layout::Layout(const vma::Header& source) {
    std::vector<std::string> names;
    for (const auto& device : source.devices) names.push_back(device.name);
    const auto ids = stable_ids(names);

    vma::Header canonical{kCanonicalUuid, source.ctime, 0, source.configs, {}};
    auto devices = source.devices;
    std::sort(devices.begin(), devices.end(), [](const auto& a, const auto& b) { return a.name > b.name; });
    for (const auto& device : devices) {
        const auto id = ids.at(device.name);
        const auto clusters = device.cluster_count();
        devices_.push_back({id, device.size_bytes, clusters, extent_count_});
        first_extent_of_[device.id] = extent_count_;
        extent_count_ += base::round_up<std::uint64_t>(
            base::divide_up<std::uint64_t>(clusters, kClustersPerRegion), kExtentsPerGroup);
        canonical.devices.push_back({id, device.name, device.size_bytes});
    }
    // An archive without devices has one extent without slots.
    if (devices_.empty()) extent_count_ = 1;
    header_ = vma::encode_header(canonical, kHeaderAlignment);
}

ExtentPlan Layout::plan(std::uint64_t extent) const {
    if (devices_.empty()) return {};
    const auto after =
        std::upper_bound(devices_.begin(), devices_.end(), extent,
                         [](auto number, const auto& device) { return number < device.first_extent; });
    const auto& device = *std::prev(after);
    const auto first = (extent - device.first_extent) * kClustersPerRegion;
    if (first >= device.cluster_count) return {device.id, device.size_bytes, 0, 0};
    const auto count = std::min<std::uint64_t>(kClustersPerRegion, device.cluster_count - first);
    return {device.id, device.size_bytes, static_cast<std::uint32_t>(first), static_cast<unsigned>(count)};
}

Place Layout::place(std::uint8_t source_device_id, std::uint32_t cluster) const noexcept {
    return {first_extent_of_[source_device_id] + cluster / kClustersPerRegion, cluster % kClustersPerRegion};
}

}  // namespace vmad::canon
