// Decompresses through lzop: a thread feeds it, the reader takes what comes out.

#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/integers.hpp"
#include "codec/lzop.hpp"
#include "codec/lzop_run.hpp"
#include "io/byte_stream.hpp"

namespace vmad::codec {
namespace {

using std::chrono::milliseconds;

/// The header of an .lzo file, as lzop.c writes it: BE16 version behind a magic number of 9 bytes, and BE32
/// flags at byte 17. Older versions than 0.94 had other headers.
bool has_checksums(std::span<const std::byte> stored) {
    constexpr std::size_t kVersionAt = 9, kFlagsAt = 17;
    constexpr std::uint16_t kFirstVersion = 0x0940;
    constexpr std::uint32_t kOfContent = 0x0101;  ///< F_ADLER32_D, F_CRC32_D
    return stored.size() >= kFlagsAt + 4 &&
           base::load_be<std::uint16_t>(stored.data() + kVersionAt) >= kFirstVersion &&
           (base::load_be<std::uint32_t>(stored.data() + kFlagsAt) & kOfContent) != 0;
}

class LzopDecoder final : public Decoder {
  public:
    LzopDecoder(io::ByteSource& stored, const base::CancelFlag* cancel, milliseconds patience)
        : stored_(stored),
          cancel_(cancel),
          patience_(patience),
          progress_(stored.progress()),
          lzop_(start_lzop({"-d", "-c"})),
          feeder_([this] { feed(); }) {}
    LzopDecoder(const LzopDecoder&) = delete;
    LzopDecoder& operator=(const LzopDecoder&) = delete;
    ~LzopDecoder() override {
        other_.stop.request();
        lzop_.kill();
        feeder_.join();
    }

    [[nodiscard]] std::size_t read(std::span<iovec> into) override;
    [[nodiscard]] io::SourceProgress progress() const override {
        const std::lock_guard lock(mutex_);
        return progress_;
    }

  private:
    void feed() noexcept;
    [[nodiscard]] bool send(std::span<std::byte> bytes);
    void check_end(const ProgramEnd& end);

    io::ByteSource& stored_;
    const base::CancelFlag* cancel_;
    milliseconds patience_;
    std::uint64_t done_bytes_ = 0;
    bool ended_ = false;

    mutable std::mutex mutex_;
    io::SourceProgress progress_;  ///< a copy: the source is the feeder's
    OtherEnd other_;
    std::atomic<bool> sent_all_{false};  ///< before lzop is told that its input ends
    ChildProgram lzop_;
    std::thread feeder_;
};

void LzopDecoder::feed() noexcept {
    try {
        std::vector<std::byte> piece(kLzopPieceBytes);
        bool is_first = true;
        for (std::size_t count = piece.size(); count == piece.size();) {
            other_.outside([&] {
                iovec slice{piece.data(), piece.size()};
                count = stored_.read({&slice, 1});
                const std::lock_guard lock(mutex_);
                progress_ = stored_.progress();
            });
            if (std::exchange(is_first, false)) content_checked_ = has_checksums({piece.data(), count});
            if (!send({piece.data(), count})) return;
        }
        sent_all_ = true;
    } catch (...) {
        other_.error.capture();
    }
    lzop_.end_input();
}

/// False when nobody takes the bytes any more.
bool LzopDecoder::send(std::span<std::byte> bytes) {
    while (!bytes.empty()) {
        if (other_.stop.requested()) return false;
        const iovec slice{bytes.data(), bytes.size()};
        const auto count = lzop_.send({&slice, 1}, kLzopSlice);
        if (!count) return false;
        if (*count > 0) other_.note_progress();
        bytes = bytes.subspan(*count);
    }
    return true;
}

std::size_t LzopDecoder::read(std::span<iovec> into) {
    Watch watch(lzop_, other_, cancel_, patience_);
    std::size_t done = 0;
    io::use_up(into, 0);
    while (!into.empty() && !ended_) {
        watch.begin_slice();
        const auto count = lzop_.receive(into, kLzopSlice);
        if (!count) {
            watch.note_idle();
        } else if (*count == 0) {
            check_end(watch.wait_end());
            ended_ = true;
        } else {
            watch.note_progress();
            done += *count;
            done_bytes_ += *count;
            io::use_up(into, *count);
        }
    }
    return done;
}

void LzopDecoder::check_end(const ProgramEnd& end) {
    const auto refuse = [this](const std::string& why) {
        throw base::FormatError(done_bytes_, "lzo-stream", "lzop cannot decompress it: " + why);
    };
    // 1 is lzop's error, 2 its warning.
    check_ended(end, 2);
    const auto line = first_line(end);
    // It warns of several files behind each other, which are legal, and of something that is none behind the
    // last one (but for zeros, which it passes over): that warning comes second, if both come.
    const bool only_several = end.exit_status == 2 && line.find("multipart archive") != std::string::npos &&
                              end.stderr_text.find("garbage") == std::string::npos;
    // So lzop words a read that brought too little, with the error of some earlier call. Its stdin is a
    // socket, which does not fail.
    if (end.exit_status == 1 && line.ends_with(": <stdin>")) refuse("it ends too early");
    if (end.exit_status != 0 && !only_several) refuse(line);
    if (only_several) {
        warning_ =
            "several lzop files behind each other: lzop reads them all but exits with a warning, at which "
            "Proxmox VE gives up; repack it before a restore";
        content_checked_ = false;  // the first one's header says nothing of the others
    }
    if (!sent_all_ || end.left_input) refuse("it was not read to its end");
}

}  // namespace

std::unique_ptr<Decoder> make_lzop_decoder(io::ByteSource& stored, const base::CancelFlag* cancel,
                                           milliseconds patience) {
    return std::make_unique<LzopDecoder>(stored, cancel, patience);
}

}  // namespace vmad::codec
