// The content digest that an archive was published with, kept in its extended attribute user.vmad.
//
// It lets a later look tell a block that went bad on the device from one that was so all along: the payload
// of an archive has no checksum of its own. Trusted only while size and modification time are those it was
// set for.
#pragma once

#include <ctime>
#include <optional>
#include <string>

#include "canon/digest.hpp"
#include "io/file_metadata.hpp"

namespace vmad::verify {

/// The attribute for an archive of the canonical layout, as it will be when it is published.
[[nodiscard]] io::Attributes published_digest_attribute(const canon::Digest& digest, std::uint64_t size_bytes,
                                                        const timespec& modified);

/// The digest, in hexadecimal, that `file` was published with. Nothing when it has none, or was written to
/// since.
[[nodiscard]] std::optional<std::string> published_digest(io::FileSystem& fs, const io::File& file);

}  // namespace vmad::verify
