#include "vma/archive_reader.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::vma {

using base::FormatError;

namespace {

std::size_t read_bytes(io::ByteSource& source, std::byte* into, std::size_t size) {
    iovec vector{into, size};
    return source.read({&vector, 1});
}

}  // namespace

ArchiveReader::ArchiveReader(io::ByteSource& source, base::BufferPool& buffers)
    : source_(source), buffers_(buffers) {
    read_header();
    clusters_ = std::make_unique<ClusterMap>(header_, source_.size_bytes());
}

void ArchiveReader::read_header() {
    raw_header_.resize(kFixedHeaderSize);
    auto got = read_bytes(source_, raw_header_.data(), raw_header_.size());
    if (got == 0) throw FormatError(0, "header-truncated", "the file is empty");
    // What is no archive at all is better named so than "cut off"; so short a file is judged by what it has.
    constexpr std::size_t kUpToHeaderSize = 60;
    if (got < kFixedHeaderSize && got < kUpToHeaderSize)
        throw FormatError(got, "header-truncated",
                          fmt::format("not a VMA archive: {} bytes are too few for a header", got));
    const auto size = parse_header_size(std::span<const std::byte, kFixedHeaderSize>(raw_header_));
    if (got == kFixedHeaderSize) {
        // Grown step by step, so that a number alone cannot make us allocate 64 MiB.
        constexpr std::size_t kStep = 1 << 20;
        while (got < size && got == raw_header_.size()) {
            raw_header_.resize(std::min<std::size_t>(size, got + kStep));
            got += read_bytes(source_, raw_header_.data() + got, raw_header_.size() - got);
        }
    }
    if (got < size)
        throw FormatError(got, "header-truncated", fmt::format("the header of {} bytes is cut off", size));
    header_ = parse_header(raw_header_);
    offset_ = size;
}

void ArchiveReader::check_end(std::size_t left_over) const {
    if (left_over == 0 && extents_ == 0)
        throw FormatError(offset_, "no-extent", "the archive ends before its first extent");
    // Too short for an extent: rubbish behind a complete archive, or the first bytes of what is missing.
    if (left_over != 0 && clusters_->complete() && extents_ > 0)
        throw FormatError(offset_, "trailing-bytes",
                          fmt::format("{} bytes follow the last extent", left_over));
    if (left_over != 0)
        throw FormatError(offset_ + left_over, "extent-truncated",
                          fmt::format("the extent header at byte {} is cut off", offset_));
    clusters_->require_complete(offset_);
}

bool ArchiveReader::next(Extent& extent) {
    // Not before: who wants no more than the header reads no more.
    if (extents_ == 0) ahead_bytes_ = read_bytes(source_, ahead_.data(), ahead_.size());
    if (ahead_bytes_ < kExtentHeaderSize) {
        check_end(ahead_bytes_);
        return false;
    }
    extent.number = extents_;
    extent.offset = offset_;
    extent.raw_header = ahead_;
    extent.header = parse_extent_header(extent.raw_header, header_.uuid, offset_);
    clusters_->add(extent.header, offset_);
    const auto size = extent.header.payload_bytes();
    extent.payload = buffers_.get(size);
    // One call gets the payload and the header behind it: no byte is read twice or copied.
    std::array<iovec, 2> into{{{extent.payload->data(), size}, {ahead_.data(), ahead_.size()}}};
    const auto got = source_.read(into);
    if (got < size)
        throw FormatError(
            extent.payload_offset() + got, "extent-truncated",
            fmt::format("the extent at byte {} is cut off: {} of {} bytes of its blocks are there", offset_,
                        got, size));
    ahead_bytes_ = got - size;
    offset_ = extent.payload_offset() + size;
    ++extents_;
    return true;
}

}  // namespace vmad::vma
