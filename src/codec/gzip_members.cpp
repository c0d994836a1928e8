#include "codec/gzip_members.hpp"

#include <algorithm>
#include <limits>
#include <new>

#include <fmt/format.h>

namespace vmad::codec {
namespace {

/// The largest window, and 16 for gzip's header and trailer around it, and nothing else.
constexpr int kWindowBits = 15 + 16;
constexpr std::byte kMagic[] = {std::byte{0x1f}, std::byte{0x8b}};

}  // namespace

GzipMembers::GzipMembers(io::ByteSource& stored, const base::CancelFlag* cancel) : input_(stored, 0, cancel) {
    is_canonical_form_ = true;
    if (inflateInit2(&inflater_, kWindowBits) != Z_OK) throw std::bad_alloc();
}

GzipMembers::~GzipMembers() { inflateEnd(&inflater_); }

std::size_t GzipMembers::read(std::span<iovec> into) {
    std::size_t done = 0;
    for (const auto& slice : into) {
        std::span room(static_cast<std::byte*>(slice.iov_base), slice.iov_len);
        while (!room.empty()) {
            if (!in_member_ && !begin_member()) return done + (slice.iov_len - room.size());
            inflate_into(room);
        }
        done += slice.iov_len;
    }
    return done;
}

/// False at the end of the file.
bool GzipMembers::begin_member() {
    const auto head = input_.peek(sizeof kMagic);
    if (head.empty()) return false;
    // Behind a member, as gzip has it; tapes were filled up with them.
    if (input_.offset() > 0 && head[0] == std::byte{0}) return skip_zeros();
    const auto given = std::min(head.size(), sizeof kMagic);
    if (!std::equal(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(given), kMagic))
        throw_no_member();
    if (given < sizeof kMagic) throw_truncated(input_.offset() + given);
    inflateReset(&inflater_);
    in_member_ = true;
    return true;
}

/// Zeros up to the end of the file. False, as that is its end.
bool GzipMembers::skip_zeros() {
    is_canonical_form_ = false;
    for (auto bytes = input_.peek(1); !bytes.empty(); bytes = input_.peek(1)) {
        const auto other =
            std::find_if(bytes.begin(), bytes.end(), [](std::byte byte) { return byte != std::byte{0}; });
        input_.consume(static_cast<std::size_t>(other - bytes.begin()));
        if (other != bytes.end()) throw_no_member();
    }
    return false;
}

void GzipMembers::throw_no_member() const {
    throw base::FormatError(
        offset_, "gzip-member",
        fmt::format("bytes that are no gzip member follow at byte {} of the file", input_.offset()));
}

void GzipMembers::inflate_into(std::span<std::byte>& room) {
    const auto available = input_.peek(1);
    const auto size = std::min<std::size_t>(room.size(), std::numeric_limits<uInt>::max());
    inflater_.avail_in = static_cast<uInt>(available.size());
    // zlib leaves its input alone, but for some versions it is not const.
    inflater_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(available.data()));
    inflater_.avail_out = static_cast<uInt>(size);
    inflater_.next_out = reinterpret_cast<Bytef*>(room.data());
    const int result = inflate(&inflater_, Z_NO_FLUSH);

    input_.consume(available.size() - inflater_.avail_in);
    room = room.subspan(size - inflater_.avail_out);
    offset_ += size - inflater_.avail_out;
    if (result == Z_STREAM_END) {
        frame_ends_.add(offset_);
        in_member_ = false;
    } else if (result == Z_MEM_ERROR) {
        throw std::bad_alloc();
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
        throw base::FormatError(offset_, "gzip-stream",
                                fmt::format("the gzip stream is damaged at byte {} of the file: {}",
                                            input_.offset(), inflater_.msg ? inflater_.msg : ""));
    } else if (available.empty() && inflater_.avail_out > 0) {
        throw_truncated(input_.offset());
    }
}

void GzipMembers::throw_truncated(std::uint64_t file_bytes) const {
    throw base::FormatError(
        offset_, "gzip-truncated",
        fmt::format("the gzip stream ends in the middle of a member, at byte {} of the file", file_bytes));
}

}  // namespace vmad::codec
