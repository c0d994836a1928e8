// Decompresses an archive as a stream, whatever stored it.
//
// Reads any legal stream of its format to its last byte: what follows the archive's end is an error, and so
// is an end that comes too early. Errors of the stored bytes are base::FormatError, whose offset is the byte
// of the archive up to which it could be read and whose rule names the byte of the compressed file.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "base/task.hpp"
#include "codec/archive_format.hpp"
#include "codec/seek_table.hpp"
#include "io/byte_stream.hpp"

namespace vmad::codec {

/// The largest window that a zstd stream may ask for, as zstd's own tool has it by default: this much memory
/// is taken for it. Beyond it base::Unsupported is thrown.
inline constexpr unsigned kMaxWindowLog = 27;

/// A list of numbers of any length, boiled down so that two of them can be compared: equal for equal lists;
/// for different ones with a chance of some 2^-64. Guards against accidents, not attackers.
class ListDigest {
  public:
    void add(std::uint64_t number) noexcept {
        ++count_;
        hash_ = (hash_ + number) * 0x9e3779b97f4a7c15;
        hash_ ^= hash_ >> 29;
    }
    friend bool operator==(const ListDigest&, const ListDigest&) = default;

  private:
    std::uint64_t count_ = 0;
    std::uint64_t hash_ = 0;
};

/// Where the frames of a stream end: offsets in what they hold, ascending.
using FrameEnds = ListDigest;

/// One thread at a time; it may decompress in threads of its own. read() also throws what the stored source
/// throws. size_bytes() is not known; progress() is the stored source's.
class Decoder : public io::ByteSource {
  public:
    /// Where frames (zstd, but for skippable ones) or members (gzip) have ended so far.
    [[nodiscard]] const FrameEnds& frame_ends() const noexcept { return frame_ends_; }
    /// What was odd about the stored file, though it could be read: empty when nothing was. Final at the end.
    [[nodiscard]] const std::string& warning() const noexcept { return warning_; }
    /// Every zstd frame so far had its content's size and a checksum.
    [[nodiscard]] bool frames_checked() const noexcept { return frames_checked_; }
    /// Everything so far had a checksum of its content, which held. Any thread.
    [[nodiscard]] bool content_checked() const noexcept { return content_checked_; }
    /// The zstd stream was read to its end, and has the fillings and the seek table of a canonical one, and
    /// no other skippable frame; the gzip stream has nothing behind its members.
    [[nodiscard]] bool is_canonical_form() const noexcept { return is_canonical_form_; }

    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return std::nullopt; }

  protected:
    FrameEnds frame_ends_;
    std::string warning_;
    bool frames_checked_ = true;
    std::atomic<bool> content_checked_ = true;
    bool is_canonical_form_ = false;
};

struct DecodeOptions {
    unsigned threads = 1;  ///< that decompress, where the stream lets more than one
    const base::CancelFlag* cancel = nullptr;
    /// Of a zstd stream: lets its frames be decompressed in parallel. When it turns out to be wrong, the
    /// stream is read without it, from where it went wrong on, and warning() says so.
    std::optional<SeekTable> seek_table;
};

/// A decoder for what `stored` holds from its present byte on, the first one of the file. `stored` and the
/// cancel flag outlive it. `format` is not raw.
[[nodiscard]] std::unique_ptr<Decoder> make_decoder(ArchiveFormat format, io::ByteSource& stored,
                                                    DecodeOptions options);

}  // namespace vmad::codec
