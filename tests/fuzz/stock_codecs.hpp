// What the stock libraries make of compressed files.
#pragma once

#include <memory>
#include <optional>

#include <zlib.h>
#include <zstd.h>

#include "fuzz_target.hpp"

namespace vmad::fuzz {

/// More decompressed bytes are not looked at.
inline constexpr std::size_t kMaxContent = std::size_t{32} << 20;

/// The stock library gives no answer to go by.
struct Undecided {};

inline void append_content(Bytes& to, const Bytes& from, std::size_t count) {
    if (to.size() + count > kMaxContent) throw Undecided();
    to.insert(to.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(count));
}

[[nodiscard]] inline bool begins_zstd_frame(View bytes) {
    if (bytes.size() < 4) return false;
    const auto magic = testing::get_le(bytes.data(), 4);
    return magic == ZSTD_MAGICNUMBER || (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

/// Fed in pieces of so many bytes.
[[nodiscard]] inline std::optional<Bytes> stock_unzstd(View stored, std::size_t fed_bytes) {
    const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
    (void)ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, 27);
    Bytes content;
    Bytes piece(1 << 16);
    for (std::size_t used = 0; used < stored.size();) {
        if (!begins_zstd_frame(stored.subspan(used))) return std::nullopt;
        for (std::size_t hint = 1; hint != 0;) {
            const auto fed = stored.subspan(used, std::min(fed_bytes, stored.size() - used));
            ZSTD_inBuffer in{fed.data(), fed.size(), 0};
            ZSTD_outBuffer out{piece.data(), piece.size(), 0};
            hint = ZSTD_decompressStream(context.get(), &out, &in);
            if (ZSTD_isError(hint) != 0) return std::nullopt;
            append_content(content, piece, out.pos);
            used += in.pos;
            if (hint != 0 && used == stored.size() && in.pos == 0 && out.pos == 0) return std::nullopt;
        }
    }
    return content;
}

/// By libzstd, frame by frame. Nothing for what it refuses, what is cut off, and frames of earlier formats.
/// Throws Undecided, also where libzstd takes a damaged frame fed bit by bit, and refuses it in one
/// piece: 1.5.4 does.
[[nodiscard]] inline std::optional<Bytes> stock_unzstd(View stored) {
    auto content = stock_unzstd(stored, stored.size());
    if (content != stock_unzstd(stored, 7)) throw Undecided();
    return content;
}

/// By zlib, member by member, with zeros behind the last one, as gzip takes them. Throws Undecided.
[[nodiscard]] inline std::optional<Bytes> stock_gunzip(View stored) {
    Bytes content;
    Bytes piece(1 << 16);
    bool is_first = true;
    while (!stored.empty()) {
        if (!is_first && testing::all_zero(stored)) break;
        is_first = false;
        z_stream inflater{};
        if (::inflateInit2(&inflater, 15 + 16) != Z_OK) return std::nullopt;
        const std::unique_ptr<z_stream, decltype(&::inflateEnd)> ends(&inflater, ::inflateEnd);
        inflater.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(stored.data()));
        inflater.avail_in = static_cast<uInt>(stored.size());
        for (int status = Z_OK; status != Z_STREAM_END;) {
            inflater.next_out = reinterpret_cast<Bytef*>(piece.data());
            inflater.avail_out = static_cast<uInt>(piece.size());
            status = ::inflate(&inflater, Z_NO_FLUSH);
            if (status != Z_OK && status != Z_STREAM_END) return std::nullopt;
            append_content(content, piece, piece.size() - inflater.avail_out);
        }
        stored = stored.last(inflater.avail_in);
    }
    return content;
}

}  // namespace vmad::fuzz
