#include "canon/layout.hpp"

#include <algorithm>

#include "canon/stable_ids.hpp"
#include "vma/header.hpp"

namespace vmad::canon {
namespace {

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
