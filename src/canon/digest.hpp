// The content digest: what an archive restores to, independent of order, masks, layout, ids, uuid,
// compression.
//
// Two archives with equal digests restore to equal guests. It is taken from the records as they were read, by
// code that shares nothing with placing and sealing them, so that it catches mistakes made there. It guards
// against accidents, not attackers. Defined by:
//   - Each stored block b at byte o of its device, cut at the device's end and padded with zeros, adds
//     XXH3-128(LE64(o) || canonical bytes of XXH3-128(b)) to the device's sum modulo 2^128. All-zero blocks
//     add nothing.
//   - A device: XXH3-128(LE32(length of name) || name || LE64(size) || LE128(sum)).
//   - An archive: XXH3-128 over the devices' hashes (canonical bytes) in byte order of names, then for each
//     config in order LE32 length and bytes of its name, and of its data.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "vma/format.hpp"

namespace vmad::canon {

/// 128 bits, as XXH128's canonical (big-endian) bytes.
struct Digest {
    std::array<std::byte, 16> bytes{};
    [[nodiscard]] std::string to_hex() const;
    friend bool operator==(const Digest&, const Digest&) = default;
};

/// The digest of an archive of devices with these hashes (ContentSum::devices()) and of these configs.
[[nodiscard]] Digest content_digest(const std::map<std::string, Digest>& devices,
                                    const std::vector<vma::Config>& configs);

/// Sums up records in any order. One thread at a time; threads sum into objects of their own, merged at the
/// end.
class ContentSum {
  public:
    /// `header` is of the archive that the records come from, and is copied from.
    explicit ContentSum(const vma::Header& header);

    /// Adds an extent's records. `payload` holds extent.payload_bytes() bytes; devices and clusters were
    /// checked against the header.
    void add(const vma::ExtentHeader& extent, const std::byte* payload);
    /// Adds what another object for the same header has summed.
    void merge(const ContentSum& other);
    /// The digest of everything that was added.
    [[nodiscard]] Digest finish() const;
    /// The hash of each device, by name.
    [[nodiscard]] std::map<std::string, Digest> devices() const;

  private:
    [[nodiscard]] Digest device(const vma::Device& device) const;

    __extension__ using Uint128 = unsigned __int128;
    vma::Header header_;
    std::array<Uint128, vma::kDeviceSlots> sums_{};         ///< by device id
    std::array<std::uint64_t, vma::kDeviceSlots> sizes_{};  ///< by device id
};

}  // namespace vmad::canon
