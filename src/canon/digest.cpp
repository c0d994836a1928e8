#include "canon/digest.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <xxhash.h>

#include "base/integers.hpp"

namespace vmad::canon {
namespace {

using base::store_le;

/// XXH128's canonical bytes.
std::array<std::byte, 16> hash(const void* bytes, std::size_t size) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, size));
    std::array<std::byte, 16> result;
    std::memcpy(result.data(), canonical.digest, result.size());
    return result;
}

bool is_all_zero(const std::byte* bytes) {
    return std::all_of(bytes, bytes + vma::kBlockSize, [](std::byte b) { return b == std::byte{0}; });
}

template <typename T>
void append_le(std::string& text, T value) {
    std::byte raw[sizeof value];
    store_le(raw, value);
    text.append(reinterpret_cast<const char*>(raw), sizeof raw);
}

void append(std::string& text, const std::array<std::byte, 16>& bytes) {
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void append_counted(std::string& text, const std::string& part) {
    append_le(text, static_cast<std::uint32_t>(part.size()));
    text += part;
}

}  // namespace

std::string Digest::to_hex() const {
    std::string text;
    for (const auto byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
    return text;
}

// A map is in byte order of its keys.
Digest content_digest(const std::map<std::string, Digest>& devices, const std::vector<vma::Config>& configs) {
    std::string all;
    for (const auto& [name, digest] : devices) append(all, digest.bytes);
    for (const auto& config : configs) {
        append_counted(all, config.name);
        append_counted(all, config.data);
    }
    return {hash(all.data(), all.size())};
}

ContentSum::ContentSum(const vma::Header& header) : header_(header) {
    for (const auto& device : header_.devices) sizes_[device.id] = device.size_bytes;
}

void ContentSum::add(const vma::ExtentHeader& extent, const std::byte* payload) {
    for (const auto& slot : extent.slots) {
        if (slot.device_id == 0) continue;
        for (unsigned n = 0; n < vma::kBlocksPerCluster; ++n) {
            if ((slot.mask >> n & 1) == 0) continue;
            const std::byte* block = payload;
            payload += vma::kBlockSize;
            const auto at = std::uint64_t{slot.cluster} * vma::kClusterSize + n * vma::kBlockSize;
            const auto size = sizes_[slot.device_id];
            if (at >= size) continue;
            std::array<std::byte, vma::kBlockSize> cut;
            if (size - at < vma::kBlockSize) {
                cut.fill(std::byte{0});
                std::memcpy(cut.data(), block, size - at);
                block = cut.data();
            }
            // A block whose first bytes are not zero needs no second look.
            if (block[0] == std::byte{0} && is_all_zero(block)) continue;
            std::array<std::byte, 24> record;
            store_le(record.data(), at);
            const auto content = hash(block, vma::kBlockSize);
            std::memcpy(record.data() + 8, content.data(), content.size());
            const auto sum = XXH3_128bits(record.data(), record.size());
            sums_[slot.device_id] += static_cast<Uint128>(sum.high64) << 64 | sum.low64;
        }
    }
}

void ContentSum::merge(const ContentSum& other) {
    for (std::size_t id = 0; id < sums_.size(); ++id) sums_[id] += other.sums_[id];
}

Digest ContentSum::device(const vma::Device& device) const {
    std::string one;
    append_counted(one, device.name);
    append_le(one, device.size_bytes);
    append_le(one, static_cast<std::uint64_t>(sums_[device.id]));
    append_le(one, static_cast<std::uint64_t>(sums_[device.id] >> 64));
    return {hash(one.data(), one.size())};
}

std::map<std::string, Digest> ContentSum::devices() const {
    std::map<std::string, Digest> result;
    for (const auto& one : header_.devices) result.emplace(one.name, device(one));
    return result;
}

Digest ContentSum::finish() const { return content_digest(devices(), header_.configs); }

}  // namespace vmad::canon
