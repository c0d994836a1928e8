#include "codec/zstd_read_ahead.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/byte_stream.hpp"

namespace vmad::codec {

namespace {

constexpr std::size_t kSmallFrameBytes = std::size_t{64} << 10;

}  // namespace

bool can_read_ahead(const DecodeOptions& options) {
    return options.seek_table && options.threads > 1 &&
           std::ranges::all_of(options.seek_table->frames, [](const SeekFrame& frame) {
               return frame.stored_bytes <= kMaxReadAheadFrameBytes && frame.bytes <= kMaxReadAheadFrameBytes;
           });
}

ZstdReadAhead::ZstdReadAhead(io::ByteSource& stored, const base::CancelFlag* cancel, SeekTable seek_table,
                             unsigned threads)
    : stored_(stored),
      cancel_(cancel),
      seek_table_(std::move(seek_table)),
      // One frame is handed out while the threads are at the next ones.
      slots_(std::min<std::size_t>(threads + std::size_t{1}, seek_table_.frames.size())) {
    std::size_t stored_bytes = 0;
    std::size_t bytes = 0;
    for (const auto& frame : seek_table_.frames) {
        stored_bytes = std::max<std::size_t>(stored_bytes, frame.stored_bytes);
        bytes = std::max<std::size_t>(bytes, frame.bytes);
    }
    for (auto& slot : slots_) {
        slot.stored.resize(stored_bytes);
        slot.content.resize(bytes);
        slot.context = make_zstd_context();
    }
}

std::size_t ZstdReadAhead::read(std::span<iovec> into) {
    std::size_t done = 0;
    while (!into.empty()) {
        auto& slice = into.front();
        if (slice.iov_len == 0) {
            into = into.subspan(1);
            continue;
        }
        if (plain_ || !open_frame()) break;
        const auto count = std::min(slice.iov_len, seek_table_.frames[frame_index_].bytes - handed_out_);
        std::memcpy(slice.iov_base, slot(frame_index_).content.data() + handed_out_, count);
        slice = {static_cast<std::byte*>(slice.iov_base) + count, slice.iov_len - count};
        handed_out_ += count;
        done += count;
    }
    if (!plain_ || into.empty()) return done;
    done += plain_->read(into);
    frame_ends_ = plain_->frame_ends();
    frames_checked_ = plain_->frames_checked();
    warning_ = plain_->warning();
    has_seek_table_ = plain_->has_seek_table();
    return done;
}

/// Something of the present frame can be handed out. False when the rest is for plain_.
bool ZstdReadAhead::open_frame() {
    while (true) {
        if (!frame_open_) {
            fill_slots();
            if (frame_index_ == filled_ || !slot(frame_index_).matches.get()) {
                go_on_without_table();
                return false;
            }
            frame_open_ = true;
            handed_out_ = 0;
        }
        if (handed_out_ < seek_table_.frames[frame_index_].bytes) return true;
        close_frame();
    }
}

void ZstdReadAhead::close_frame() {
    const auto& frame = seek_table_.frames[frame_index_];
    const auto stored = std::span<const std::byte>(slot(frame_index_).stored).first(frame.stored_bytes);
    const auto head = read_frame_head(stored.first(std::min(stored.size(), kMaxFrameHeaderBytes)));
    offset_ += frame.bytes;
    stored_offset_ += frame.stored_bytes;
    if (head->skippable) {
        table_check_.begin_skippable(stored.first<SeekTable::kHeaderBytes>());
    } else {
        frame_ends_.add(offset_);
        table_check_.add_frame(frame.stored_bytes, frame.bytes);
    }
    frames_checked_ = frames_checked_ && head->checked;
    ++frame_index_;
    frame_open_ = false;
}

void ZstdReadAhead::fill_slots() {
    // Who wants no more than the header, in the first frame, is not made to wait for others.
    const auto slots = frame_index_ == 0 ? 1 : slots_.size();
    while (filled_ < std::min(seek_table_.frames.size(), frame_index_ + slots) && !source_ended_) {
        if (cancel_ != nullptr) cancel_->check();
        const auto& frame = seek_table_.frames[filled_];
        auto& slot = this->slot(filled_);
        iovec room{slot.stored.data(), frame.stored_bytes};
        slot.stored_bytes = stored_.read({&room, 1});
        source_ended_ = slot.stored_bytes < frame.stored_bytes;
        // A thread costs more than a small frame, which is decompressed when its turn comes.
        const auto policy = frame.bytes > kSmallFrameBytes ? std::launch::async : std::launch::deferred;
        slot.matches = std::async(policy, [&slot, frame] {
            return slot.stored_bytes == frame.stored_bytes &&
                   decompress_frame(slot.context.get(), std::span(slot.stored).first(slot.stored_bytes),
                                    std::span(slot.content).first(frame.bytes));
        });
        ++filled_;
    }
}

/// All frames of the table were handed out, or the present one is not as the table says: it may be damaged,
/// and so may the table. ZstdFrames finds out which.
void ZstdReadAhead::go_on_without_table() {
    std::vector<std::byte> read;
    for (auto i = frame_index_; i < filled_; ++i)
        read.insert(read.end(), slot(i).stored.begin(),
                    slot(i).stored.begin() + static_cast<std::ptrdiff_t>(slot(i).stored_bytes));
    rest_ = std::make_unique<io::PrefixedSource>(std::move(read), stored_);
    plain_ = std::make_unique<ZstdFrames>(
        *rest_, cancel_, std::move(seek_table_),
        ZstdFrames::Start{stored_offset_, offset_, frame_index_, frame_ends_, frames_checked_, table_check_});
}

}  // namespace vmad::codec
