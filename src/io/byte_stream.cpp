#include "io/byte_stream.hpp"

#include <algorithm>
#include <cstring>

namespace vmad::io {

std::size_t PrefixedSource::read(std::span<iovec> into) {
    std::size_t done = 0;
    use_up(into, 0);
    while (!into.empty() && used_ < prefix_.size()) {
        const auto count = std::min(into.front().iov_len, prefix_.size() - used_);
        std::memcpy(into.front().iov_base, prefix_.data() + used_, count);
        used_ += count;
        done += count;
        use_up(into, count);
    }
    return into.empty() ? done : done + rest_.read(into);
}

}  // namespace vmad::io
