#include "io/free_space.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/checked.hpp"
#include "base/units.hpp"

namespace vmad::io {
namespace {

constexpr std::uint64_t kReservedPart = 20;  // one in 20 is 5 %
constexpr std::uint64_t kMaxReserveBytes = std::uint64_t{1} << 30;

/// Blocks times block size; a sum beyond all numbers is as good as the largest.
std::uint64_t size_of(std::uint64_t blocks, const struct statvfs& space) {
    return base::checked_multiply<std::uint64_t>(blocks, space.f_frsize).value_or(UINT64_MAX);
}

}  // namespace

std::uint64_t default_reserve(FileSystem& fs, const File& on) {
    const auto space = fs.space(on);
    return std::min(size_of(space.f_blocks, space) / kReservedPart, kMaxReserveBytes);
}

void require_space(FileSystem& fs, const File& on, std::uint64_t more_bytes, std::uint64_t reserve_bytes) {
    const auto space = fs.space(on);
    if (space.f_blocks == 0) return;
    const auto available = size_of(space.f_bavail, space);
    const auto needed = base::checked_add(more_bytes, reserve_bytes).value_or(UINT64_MAX);
    if (available >= needed) return;
    throw NoSpace(fmt::format("too little space in {}: {} are needed and {} kept free, {} are available",
                              on.path(), base::format_size(more_bytes), base::format_size(reserve_bytes),
                              base::format_size(available)));
}

}  // namespace vmad::io
