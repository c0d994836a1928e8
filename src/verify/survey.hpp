// Reads an archive to its end: what it holds, and whether it is canonical.
//
// Checks every rule of the format, and every rule of the canonical layout and of the stored form; the first
// deviation from those is a finding, not an error. Reads in one thread, computes in options.threads others.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/task.hpp"
#include "canon/digest.hpp"
#include "codec/archive_source.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::verify {

/// How an archive looks from outside and inside, learnt by reading all of it.
struct Survey {
    codec::ArchiveFormat format = codec::ArchiveFormat::raw;
    vma::Header header;
    canon::Digest digest;
    std::map<std::string, canon::Digest> device_digests;  ///< by name
    std::uint64_t extent_count = 0;
    std::uint64_t archive_bytes = 0;  ///< uncompressed
    std::uint64_t stored_bytes = 0;   ///< as it was read: of the file
    /// Why it is not in the canonical layout: the first deviation, with its byte offset; empty when it is.
    std::string deviation;
    /// What was odd about it though it could be read, above all what Proxmox VE does not restore; or empty.
    std::string warning;
};

/// Reads an archive to its end and checks every rule of the format. Throws base::FormatError, Unsupported,
/// SystemError. `extent_read`, which may be empty, is told of each extent, by several threads.
[[nodiscard]] Survey survey(codec::ArchiveSource& source, const base::TaskOptions& options,
                            const std::function<void(const vma::Extent&)>& extent_read = {});

}  // namespace vmad::verify
