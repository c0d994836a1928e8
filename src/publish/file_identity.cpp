#include "publish/file_identity.hpp"

#include <algorithm>
#include <vector>

#include <xxhash.h>

namespace vmad::publish {
namespace {

constexpr std::uint64_t kSampleBytes = 64 << 10;

/// Of the first and the last bytes; never 0.
std::uint64_t content_of(io::FileSystem& fs, const io::File& file, std::uint64_t size_bytes) {
    std::vector<std::byte> samples(std::min(2 * kSampleBytes, size_bytes));
    const auto head = std::span(samples).first(samples.size() / 2);
    const auto tail = std::span(samples).subspan(head.size());
    // A file that ends early, because somebody cuts it, leaves zeros.
    (void)io::read_fully_at(fs, file, head, 0);
    (void)io::read_fully_at(fs, file, tail, size_bytes - tail.size());
    return std::max<std::uint64_t>(XXH3_64bits(samples.data(), samples.size()), 1);
}

}  // namespace

FileMark mark_of(io::FileSystem& fs, const io::File& file, const struct stat& status, MarkBy by) {
    auto mark = mark_of(status);
    if (by == MarkBy::content) {
        mark.inode = 0;
        mark.content = content_of(fs, file, mark.size_bytes);
    }
    return mark;
}

}  // namespace vmad::publish
