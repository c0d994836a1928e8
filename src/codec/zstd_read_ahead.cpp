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
           options.seek_table->max_stored_bytes() <= kMaxReadAheadFrameBytes &&
           options.seek_table->max_bytes() <= kMaxReadAheadFrameBytes;
}

ZstdReadAhead::ZstdReadAhead(io::ByteSource& stored, const base::CancelFlag* cancel, SeekTable seek_table,
                             unsigned threads)
    : stored_(stored),
      cancel_(cancel),
      seek_table_(std::move(seek_table)),
      // One frame is handed out while the threads are at the next ones.
      slots_(std::min<std::uint64_t>(threads + std::size_t{1}, seek_table_.size())) {
    for (auto& slot : slots_) {
        slot.stored.resize(seek_table_.max_stored_bytes());
        slot.content.resize(seek_table_.max_bytes());
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
        const auto count = std::min(slice.iov_len, slot(entry_).frame.bytes - handed_out_);
        std::memcpy(slice.iov_base, slot(entry_).content.data() + handed_out_, count);
        slice = {static_cast<std::byte*>(slice.iov_base) + count, slice.iov_len - count};
        handed_out_ += count;
        done += count;
    }
    if (!plain_ || into.empty()) return done;
    done += plain_->read(into);
    frame_ends_ = plain_->frame_ends();
    frames_checked_ = plain_->frames_checked();
    content_checked_ = plain_->content_checked();
    warning_ = plain_->warning();
    is_canonical_form_ = plain_->is_canonical_form();
    return done;
}

/// Something of the present frame can be handed out. False when the rest is for plain_.
bool ZstdReadAhead::open_frame() {
    while (true) {
        if (!frame_open_) {
            fill_slots();
            if (entry_ == filled_ || !slot(entry_).matches.get()) {
                go_on_without_table();
                return false;
            }
            frame_open_ = true;
            handed_out_ = 0;
        }
        if (handed_out_ < slot(entry_).frame.bytes) return true;
        close_frame();
    }
}

void ZstdReadAhead::close_frame() {
    const auto& [entry, buffer, stored_bytes, content, context, matches] = slot(entry_);
    offset_ += entry.bytes;
    stored_offset_ += entry.stored_bytes;
    for (auto rest = std::span<const std::byte>(buffer).first(stored_bytes); !rest.empty();) {
        const auto frame = *take_frame(rest);
        const auto head = *read_frame_head(frame);
        frames_checked_ = frames_checked_ && head.checked;
        content_checked_ = content_checked_ && head.has_checksum;
        if (head.skippable) {
            form_check_.begin_skippable(frame.first<SeekTable::kHeaderBytes>());
            form_check_.add_content(frame.subspan(SeekTable::kHeaderBytes));
        } else {
            frame_ends_.add(offset_);
            form_check_.add_frame({frame.size(), entry.bytes, frame_checksum(frame)});
        }
    }
    ++entry_;
    frame_open_ = false;
}

void ZstdReadAhead::fill_slots() {
    // Who wants no more than the header, in the first frame, is not made to wait for others.
    const auto slots = entry_ == 0 ? 1 : slots_.size();
    while (filled_ < std::min(seek_table_.size(), entry_ + slots) && !source_ended_) {
        if (cancel_ != nullptr) cancel_->check();
        auto& slot = this->slot(filled_);
        slot.frame = seek_table_[filled_];
        iovec room{slot.stored.data(), slot.frame.stored_bytes};
        slot.stored_bytes = stored_.read({&room, 1});
        source_ended_ = slot.stored_bytes < slot.frame.stored_bytes;
        // A thread costs more than a small frame, which is decompressed when its turn comes.
        const auto policy = slot.frame.bytes > kSmallFrameBytes ? std::launch::async : std::launch::deferred;
        slot.matches = std::async(policy, [&slot] {
            return slot.stored_bytes == slot.frame.stored_bytes &&
                   decompress_entry(slot.context.get(), std::span(slot.stored).first(slot.stored_bytes),
                                    std::span(slot.content).first(slot.frame.bytes));
        });
        ++filled_;
    }
}

/// All frames of the table were handed out, or the present one is not as the table says: it may be damaged,
/// and so may the table. ZstdFrames finds out which.
void ZstdReadAhead::go_on_without_table() {
    std::vector<std::byte> read;
    for (auto i = entry_; i < filled_; ++i)
        read.insert(read.end(), slot(i).stored.begin(),
                    slot(i).stored.begin() + static_cast<std::ptrdiff_t>(slot(i).stored_bytes));
    rest_ = std::make_unique<io::PrefixedSource>(std::move(read), stored_);
    plain_ = std::make_unique<ZstdFrames>(*rest_, cancel_, std::move(seek_table_),
                                          ZstdFrames::Start{stored_offset_, offset_, entry_, frame_ends_,
                                                            frames_checked_, content_checked_, form_check_});
}

}  // namespace vmad::codec
