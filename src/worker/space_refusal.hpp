// Copies that were refused room: when the next attempt is worth it, and what is said of it.
#pragma once

#include <cstdint>
#include <string>

#include "api/job.hpp"
#include "io/file_system.hpp"

namespace vmad::worker {

/// Of a copy of an archive of `size_bytes`; `error` is what the file system said.
[[nodiscard]] std::string reason_of(const api::SpaceRefusal& refusal, std::uint64_t size_bytes,
                                    const std::string& error);

/// Throws io::NoSpace while another attempt would only fill the same disk again: not enough has become free
/// since a copy was refused, and it is not yet time to try all the same.
void require_other_space(io::FileSystem& fs, const api::Job& job, std::uint64_t size_bytes, std::int64_t now);

/// What was given back with the copy, the spill file for one, is not free for the next attempt either.
void add_freed_space(io::FileSystem& fs, api::SpaceRefusal& refusal);

}  // namespace vmad::worker
