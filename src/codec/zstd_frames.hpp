// Decompresses a zstd stream frame by frame, block by block, in bounded memory.
//
// Private to this folder. One thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>

#include <zstd.h>

#include "codec/decoder.hpp"
#include "codec/stored_input.hpp"
#include "codec/zstd_form.hpp"

namespace vmad::codec {

struct ZstdContextDeleter {
    void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
};
using ZstdContext = std::unique_ptr<ZSTD_DCtx, ZstdContextDeleter>;

/// Takes no window larger than kMaxWindowLog. Throws std::bad_alloc.
[[nodiscard]] ZstdContext make_zstd_context();

/// As many bytes as the longest frame header has.
inline constexpr std::size_t kMaxFrameHeaderBytes = 18;

/// What the first bytes of a frame tell.
struct ZstdFrameHead {
    bool skippable = false;
    /// It has its content's size and a checksum; or it is skippable, so that there is nothing to check.
    bool checked = false;
    bool has_checksum = false;  ///< of its content; or it is skippable
    /// It needs more memory than kMaxWindowLog allows.
    bool window_too_large = false;
};

/// `bytes` are the first kMaxFrameHeaderBytes of the frame, fewer where the file has no more. Nothing when no
/// frame begins like that.
[[nodiscard]] std::optional<ZstdFrameHead> read_frame_head(std::span<const std::byte> bytes);

/// Takes the first frame off `stored`. Nothing when none of a window that we take begins there, or it is cut
/// off.
[[nodiscard]] std::optional<std::span<const std::byte>> take_frame(std::span<const std::byte>& stored);

/// Decompresses what an entry of a seek table stands for in one go. False when `stored` is not a frame, alone
/// or with skippable ones beside it, or skippable ones alone, or does not hold content.size() bytes.
[[nodiscard]] bool decompress_entry(ZSTD_DCtx* context, std::span<const std::byte> stored,
                                    std::span<std::byte> content);

class ZstdFrames final : public Decoder {
  public:
    /// Where a stream is entered, between two entries of the seek table.
    struct Start {
        std::uint64_t stored_offset = 0;
        std::uint64_t offset = 0;  ///< of the decompressed bytes
        std::uint64_t entry = 0;   ///< of the seek table
        FrameEnds frame_ends;
        bool frames_checked = true;
        bool content_checked = true;
        ZstdFormCheck form_check;
    };

    /// `seek_table` is only compared with the frames. `stored` and the flag, if any, outlive this object.
    ZstdFrames(io::ByteSource& stored, const base::CancelFlag* cancel, std::optional<SeekTable> seek_table,
               const Start& start);
    ZstdFrames(io::ByteSource& stored, const base::CancelFlag* cancel, std::optional<SeekTable> seek_table)
        : ZstdFrames(stored, cancel, std::move(seek_table), Start{}) {}

    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] io::SourceProgress progress() const override { return input_.progress(); }

  private:
    [[nodiscard]] bool begin_frame();
    void skip_frame();
    void decompress_into(ZSTD_outBuffer& out);
    void end_frame();
    void compare_with_table(bool skippable);
    void give_up_table();
    [[noreturn]] void throw_truncated(std::uint64_t file_bytes) const;

    StoredInput input_;
    ZstdContext context_;
    std::optional<SeekTable> seek_table_;  ///< as long as the frames are as it says
    /// The entry of the table that the present frame is part of.
    struct Entry {
        std::uint64_t number = 0;
        std::uint64_t stored_offset = 0;
        std::uint64_t offset = 0;
        bool has_frame = false;  ///< one that is not skippable
    };
    Entry entry_;
    ZstdFormCheck form_check_;
    std::uint64_t offset_;  ///< of the next decompressed byte
    bool in_frame_ = false;
    std::uint64_t frame_stored_offset_ = 0;  ///< of the present frame
    std::uint64_t frame_offset_ = 0;
    std::array<std::byte, 4> frame_tail_{};  ///< its last bytes so far
    std::size_t next_bytes_ = 0;             ///< how much input the decompressor wants next
};

}  // namespace vmad::codec
