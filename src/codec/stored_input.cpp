#include "codec/stored_input.hpp"

#include <cstring>

namespace vmad::codec {

std::span<const std::byte> StoredInput::peek(std::size_t count) {
    if (cancel_ != nullptr) cancel_->check();
    if (end_ - begin_ < count && !source_ended_) {
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
        iovec room{buffer_.data() + end_, buffer_.size() - end_};
        const auto wanted = room.iov_len;
        const auto got = source_.read({&room, 1});
        end_ += got;
        source_ended_ = got < wanted;
    }
    return std::span(buffer_).subspan(begin_, end_ - begin_);
}

}  // namespace vmad::codec
