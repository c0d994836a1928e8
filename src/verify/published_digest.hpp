// The content digest that an archive was published with, kept in its extended attribute user.vmad.
//
// It lets a later look tell a block that went bad on the device from one that was so all along: the payload
// of an archive has no checksum of its own. Trusted only while size and modification time are those it was
// set for.
#pragma once

#include <ctime>
#include <map>
#include <optional>
#include <string>

#include "io/file_metadata.hpp"
#include "verify/copy_verification.hpp"

namespace vmad::verify {

/// The attribute for an archive of the canonical layout, as it will be when it is published.
[[nodiscard]] io::Attributes published_digest_attribute(const Fingerprint& fingerprint,
                                                        std::uint64_t size_bytes, const timespec& modified);

/// So many digits of a device's digest tell it from others.
inline constexpr std::size_t kDeviceDigits = 16;

struct PublishedDigest {
    std::string digest;  ///< hexadecimal
    /// The first digits of those of its devices, by name; empty where there are too many for the attribute.
    std::map<std::string, std::string> devices;

    /// What of an archive with these digests differs from what was published: names of devices; none when it
    /// cannot be told, or is in the configs.
    [[nodiscard]] std::vector<std::string> differing_devices(
        const std::map<std::string, canon::Digest>& found) const;
    /// Throws base::InvalidArchive unless an archive with this digest, and these of its devices, is what was
    /// published.
    void require(const canon::Digest& found, const std::map<std::string, canon::Digest>& devices_found) const;
};

/// What `file` was published with. Nothing when it has none, or was written to since.
[[nodiscard]] std::optional<PublishedDigest> published_digest(io::FileSystem& fs, const io::File& file);

}  // namespace vmad::verify
