// Decompresses several frames of a zstd stream at once, found by its seek table.
//
// Gives the bytes, the errors and the warning that ZstdFrames gives, whether the table is right or not.
// Private to this folder. One thread at a time; it has more of its own.
#pragma once

#include <future>
#include <memory>
#include <vector>

#include "codec/decoder.hpp"
#include "codec/zstd_frames.hpp"

namespace vmad::codec {

/// Frames larger than this, stored or decompressed, are not read whole: memory is bounded by this and the
/// number of threads. The frames that we write have up to 2 MiB; only a header may have more.
inline constexpr std::size_t kMaxReadAheadFrameBytes = std::size_t{8} << 20;

/// There is a table, a second thread, and no frame is too large.
[[nodiscard]] bool can_read_ahead(const DecodeOptions& options);

class ZstdReadAhead final : public Decoder {
  public:
    /// For what can_read_ahead(). `stored`, at its first byte, and the flag, if any, outlive this object.
    ZstdReadAhead(io::ByteSource& stored, const base::CancelFlag* cancel, SeekTable seek_table,
                  unsigned threads);

    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] io::SourceProgress progress() const override { return stored_.progress(); }

  private:
    /// A frame, with the skippable ones beside it, that is being decompressed. Its buffers are used again.
    struct Slot {
        SeekFrame frame;  ///< as the table has it
        std::vector<std::byte> stored;
        std::size_t stored_bytes = 0;  ///< fewer than the frame's where the source has ended
        std::vector<std::byte> content;
        ZstdContext context;
        std::future<bool> matches;  ///< the table; last, so that its task ends before the rest goes
    };

    [[nodiscard]] Slot& slot(std::uint64_t entry) { return slots_[entry % slots_.size()]; }
    [[nodiscard]] bool open_frame();
    void close_frame();
    void fill_slots();
    void go_on_without_table();

    io::ByteSource& stored_;
    const base::CancelFlag* cancel_;
    SeekTable seek_table_;
    ZstdFormCheck form_check_;
    std::vector<Slot> slots_;
    bool source_ended_ = false;
    std::uint64_t filled_ = 0;    ///< so many entries of the table were read
    std::uint64_t entry_ = 0;     ///< the one that is handed out
    bool frame_open_ = false;     ///< it is decompressed, and as the table says
    std::size_t handed_out_ = 0;  ///< so many bytes of it
    std::uint64_t offset_ = 0;    ///< decompressed, where it begins
    std::uint64_t stored_offset_ = 0;
    std::unique_ptr<io::ByteSource> rest_;  ///< what is in slots, then the source itself
    std::unique_ptr<ZstdFrames> plain_;     ///< decodes the rest
};

}  // namespace vmad::codec
