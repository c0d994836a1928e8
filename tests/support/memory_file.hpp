// Archives in memory, as the program's own readers and writers take them.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "io/byte_stream.hpp"
#include "io/file_system.hpp"
#include "support/vma_fields.hpp"

namespace vmad::testing {

/// A file without a name that holds `bytes`.
[[nodiscard]] inline io::File memory_file(View bytes = {}) {
    base::UniqueFd fd(::memfd_create("archive", MFD_CLOEXEC));
    if (!fd) throw std::runtime_error("memfd_create");
    io::File file(std::move(fd), "archive");
    io::FileSystem fs;
    iovec slice = io::const_slice(bytes);
    io::write_fully_at(fs, file, {&slice, 1}, 0);
    return file;
}

[[nodiscard]] inline Bytes content_of(const io::File& file) {
    io::FileSystem fs;
    Bytes bytes(static_cast<std::size_t>(fs.status(file).st_size));
    (void)io::read_fully_at(fs, file, bytes, 0);
    return bytes;
}

/// A source that hands out the bytes of `bytes`, which outlives it; `sized` says whether it tells how many.
class MemorySource final : public io::ByteSource {
  public:
    explicit MemorySource(View bytes, bool sized = true) : bytes_(bytes), sized_(sized) {}
    [[nodiscard]] std::size_t read(std::span<iovec> into) override {
        std::size_t done = 0;
        for (const auto& slice : into) {
            const auto count = std::min(slice.iov_len, bytes_.size() - offset_);
            if (count > 0) std::memcpy(slice.iov_base, bytes_.data() + offset_, count);
            offset_ += count;
            done += count;
        }
        return done;
    }
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override {
        return sized_ ? std::optional<std::uint64_t>(bytes_.size()) : std::nullopt;
    }
    [[nodiscard]] io::SourceProgress progress() const override {
        return {offset_, sized_ ? bytes_.size() : 0};
    }

  private:
    View bytes_;
    bool sized_;
    std::size_t offset_ = 0;
};

}  // namespace vmad::testing
