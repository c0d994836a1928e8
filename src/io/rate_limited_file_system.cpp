#include "io/rate_limited_file_system.hpp"

namespace vmad::io {

std::size_t RateLimitedFileSystem::read_at(const File& file, std::span<const iovec> into,
                                           std::uint64_t offset) {
    const auto count = FileSystem::read_at(file, into, offset);
    limit_.take(count, cancel_);
    return count;
}

std::size_t RateLimitedFileSystem::write_at(const File& file, std::span<const iovec> from,
                                            std::uint64_t offset) {
    const auto count = FileSystem::write_at(file, from, offset);
    limit_.take(count, cancel_);
    return count;
}

}  // namespace vmad::io
