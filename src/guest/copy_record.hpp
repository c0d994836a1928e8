// What the confined process that reads a file system tells the one that writes its files, over a pipe: a
// record for each step. Both are one program, so numbers are as in memory. What comes in is not trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "guest/volume_tree.hpp"

namespace vmad::guest {

enum class CopyStep : std::uint32_t {
    total,      ///< `number` bytes will come; 0 when it is not known
    begin,      ///< of what is at `path`: `status`, and in `text` what a link points at
    hard_link,  ///< at `path`, to what was copied to the path `text`; ended at once
    data,       ///< `data` at the offset `number` of the file that has begun
    end,        ///< of what began at `path`
    failed,     ///< so did what began last, if it has not ended; `text` says what and why
    warning,    ///< `text`
    done,       ///< all of it
    fatal,      ///< nothing more comes: `text`, and an exit code in `number`
};

struct CopyRecord {
    CopyStep step = CopyStep::done;
    FileStatus status{};
    std::uint64_t number = 0;
    std::string path{};  ///< relative to the target, without "." and ".."
    std::string text{};  ///< or the data that was received
};

/// At most kMaxCopyData bytes. Throws base::SystemError.
void send_record(int fd, const CopyRecord& record, std::span<const std::byte> data = {});

inline constexpr std::size_t kMaxCopyData = 1 << 20;

/// The next record; false at the end of the pipe. Throws base::Error for what is none, base::SystemError.
[[nodiscard]] bool receive_record(int fd, CopyRecord& record);

}  // namespace vmad::guest
