#include "worker/space_refusal.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/units.hpp"
#include "io/storage.hpp"

namespace vmad::worker {
namespace {

/// By so much the free space has to grow before a copy of an archive of `size_bytes` is tried again.
std::uint64_t missing_bytes(const api::SpaceRefusal& refusal, std::uint64_t size_bytes) {
    // What comes and goes on a file system in use is no reason to write a whole copy once more.
    constexpr std::uint64_t kLeastPart = 20;
    const auto rest = size_bytes - std::min(size_bytes, refusal.written_bytes);
    return std::max(rest, size_bytes / kLeastPart + 1);
}

}  // namespace

std::string reason_of(const api::SpaceRefusal& refusal, std::uint64_t size_bytes, const std::string& error) {
    const auto missing = missing_bytes(refusal, size_bytes);
    const auto left =
        refusal.free_bytes.value_or(0) - std::min(refusal.free_bytes.value_or(0), refusal.written_bytes);
    const auto next = fmt::format("the next attempt waits until {} more are free there, at most a day",
                                  base::format_size(missing));
    if (left < missing)
        return fmt::format("{} after {}; {}", error, base::format_size(refusal.written_bytes), next);
    return fmt::format(
        "{} after {}, although {} are shown as free: they cannot be used, because of a quota or of one full "
        "disk of a pool; {}",
        error, base::format_size(refusal.written_bytes), base::format_size(left), next);
}

void require_other_space(io::FileSystem& fs, const api::Job& job, std::uint64_t size_bytes,
                         std::int64_t now) {
    const auto& refusal = job.space_refusal;
    // A smaller archive than was written is worth an attempt.
    if (!refusal || now >= refusal->try_again_at || size_bytes < refusal->written_bytes) return;
    const auto free = io::free_bytes(fs, fs.open(refusal->directory, O_RDONLY | O_DIRECTORY));
    if (refusal->free_bytes && free && *free >= *refusal->free_bytes + missing_bytes(*refusal, size_bytes))
        return;
    throw io::NoSpace(
        reason_of(*refusal, size_bytes, fmt::format("a copy in {} was refused room", refusal->directory)),
        ENOSPC, refusal->directory);
}

void add_freed_space(io::FileSystem& fs, api::SpaceRefusal& refusal) try {
    if (!refusal.free_bytes) return;
    const auto free = io::free_bytes(fs, fs.open(refusal.directory, O_RDONLY | O_DIRECTORY));
    refusal.free_bytes = std::max(*refusal.free_bytes, free.value_or(0));
} catch (const base::Error&) {
    // It stays as it was while the copy was there.
}

}  // namespace vmad::worker
