#include "codec/stored_piece.hpp"

#include <algorithm>
#include <new>

#include <zlib.h>

#include "base/integers.hpp"
#include "codec/seek_table.hpp"
#include "codec/zstd_form.hpp"
#include "codec/zstd_frames.hpp"

namespace vmad::codec {
namespace {

using State = StoredPiece::State;

constexpr std::uint32_t kSeekTableMagic = 0x184d2a5e;
/// The largest window, and 16 for gzip's header and trailer around it, and nothing else.
constexpr int kWindowBits = 15 + 16;
/// A member of ours begins so: deflate, no flags, no time.
constexpr std::byte kMemberBegin[] = {std::byte{0x1f}, std::byte{0x8b}, std::byte{8}, std::byte{0},
                                      std::byte{0},    std::byte{0},    std::byte{0}, std::byte{0}};
/// The content grows by so much while it is not known how much there is.
constexpr std::size_t kStep = std::size_t{256} << 10;

StoredPiece skippable(std::span<const std::byte> stored) {
    if (stored.size() < SeekTable::kHeaderBytes) return {};
    const std::uint64_t bytes = SeekTable::kHeaderBytes + base::load_le<std::uint32_t>(stored.data() + 4);
    const bool is_table = base::load_le<std::uint32_t>(stored.data()) == kSeekTableMagic;
    // A filling has a page and a bit: a larger one is a size gone bad, which would lead past good frames.
    if (!is_table && bytes > 2 * kPageBytes) return {.state = State::damaged};
    return {.state = is_table ? State::seek_table : State::skippable, .stored_bytes = bytes};
}

}  // namespace

struct PieceDecoder::Contexts {
    ZstdContext zstd;
    z_stream gzip{};
};

PieceDecoder::PieceDecoder(ArchiveFormat format) : format_(format), contexts_(std::make_unique<Contexts>()) {
    if (format_ == ArchiveFormat::zstd) contexts_->zstd = make_zstd_context();
    if (format_ == ArchiveFormat::gzip && inflateInit2(&contexts_->gzip, kWindowBits) != Z_OK)
        throw std::bad_alloc();
}

PieceDecoder::~PieceDecoder() {
    if (format_ == ArchiveFormat::gzip) inflateEnd(&contexts_->gzip);
}

StoredPiece PieceDecoder::take(std::span<const std::byte> stored, std::size_t limit_bytes) {
    return format_ == ArchiveFormat::zstd ? take_frame_of(stored, limit_bytes)
                                          : take_member(stored, limit_bytes);
}

bool PieceDecoder::may_begin(std::span<const std::byte> stored) const {
    if (format_ == ArchiveFormat::gzip)
        return stored.size() >= sizeof kMemberBegin &&
               std::equal(std::begin(kMemberBegin), std::end(kMemberBegin), stored.begin());
    const auto head = read_frame_head(stored.first(std::min(stored.size(), kMaxFrameHeaderBytes)));
    return head && head->checked && !head->window_too_large;
}

std::size_t PieceDecoder::bound(std::size_t content_bytes) const {
    if (format_ == ArchiveFormat::zstd) return ZSTD_compressBound(content_bytes) + 3 * kPageBytes;
    return compressBound(content_bytes) + kPageBytes;
}

StoredPiece PieceDecoder::take_frame_of(std::span<const std::byte> stored, std::size_t limit_bytes) {
    const auto head = read_frame_head(stored.first(std::min(stored.size(), kMaxFrameHeaderBytes)));
    if (!head) return {};
    if (head->skippable) return skippable(stored);
    auto rest = stored;
    const auto frame = take_frame(rest);
    if (!frame) return {.state = State::damaged};
    StoredPiece piece{.state = State::damaged, .stored_bytes = frame->size()};
    const auto size = ZSTD_getFrameContentSize(frame->data(), frame->size());
    if (!head->checked || size > limit_bytes) return piece;
    piece.content.resize(size);
    auto* const context = contexts_->zstd.get();
    ZSTD_DCtx_reset(context, ZSTD_reset_session_only);
    if (ZSTD_decompressDCtx(context, piece.content.data(), size, frame->data(), frame->size()) != size)
        return {.state = State::damaged, .stored_bytes = frame->size()};
    piece.state = State::whole;
    piece.checksum = frame_checksum(*frame);
    return piece;
}

StoredPiece PieceDecoder::take_member(std::span<const std::byte> stored, std::size_t limit_bytes) {
    if (!may_begin(stored)) return {};
    auto& inflater = contexts_->gzip;
    inflateReset(&inflater);
    inflater.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(stored.data()));
    inflater.avail_in = static_cast<uInt>(stored.size());
    StoredPiece piece{.state = State::damaged};
    std::size_t size = 0;
    int result = Z_OK;
    while (result == Z_OK && size <= limit_bytes) {
        piece.content.resize(std::min(size + kStep, limit_bytes + 1));
        inflater.next_out = reinterpret_cast<Bytef*>(piece.content.data() + size);
        inflater.avail_out = static_cast<uInt>(piece.content.size() - size);
        result = inflate(&inflater, Z_NO_FLUSH);
        size = piece.content.size() - inflater.avail_out;
    }
    if (result == Z_MEM_ERROR) throw std::bad_alloc();
    piece.content.resize(size);
    if (result != Z_STREAM_END || size > limit_bytes) return piece;
    piece.state = State::whole;
    piece.stored_bytes = stored.size() - inflater.avail_in;
    return piece;
}

}  // namespace vmad::codec
