#include "guest/copy_record.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <type_traits>

namespace vmad::guest {
namespace {

constexpr std::size_t kMaxPathBytes = 64 << 10;

struct Header {
    CopyStep step;
    FileStatus status;
    std::uint64_t number;
    std::uint32_t path_bytes;
    std::uint32_t text_bytes;
};
static_assert(std::is_trivially_copyable_v<Header>);

void write_fully(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno != EINTR) base::throw_errno("write", "the copied files");
        if (written > 0) bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

[[noreturn]] void throw_end() { throw base::Error("the files to copy end in the middle"); }

/// False when the pipe has ended before the first byte, and there is one to read.
bool read_fully(int fd, std::span<std::byte> into) {
    const auto wanted = into.size();
    while (!into.empty()) {
        const auto got = ::read(fd, into.data(), into.size());
        if (got < 0 && errno != EINTR) base::throw_errno("read", "the copied files");
        if (got == 0 && into.size() == wanted) return false;
        if (got == 0) throw_end();
        if (got > 0) into = into.subspan(static_cast<std::size_t>(got));
    }
    return true;
}

}  // namespace

void send_record(int fd, const CopyRecord& record, std::span<const std::byte> data) {
    if (data.empty()) data = std::as_bytes(std::span(record.text));
    const Header header{record.step, record.status, record.number,
                        static_cast<std::uint32_t>(record.path.size()),
                        static_cast<std::uint32_t>(data.size())};
    write_fully(fd, std::as_bytes(std::span(&header, 1)));
    write_fully(fd, std::as_bytes(std::span(record.path)));
    write_fully(fd, data);
}

bool receive_record(int fd, CopyRecord& record) {
    Header header{};
    if (!read_fully(fd, std::as_writable_bytes(std::span(&header, 1)))) return false;
    if (header.step > CopyStep::fatal || header.status.type > FileType::other ||
        header.path_bytes > kMaxPathBytes || header.text_bytes > kMaxCopyData)
        throw base::Error("the files to copy come in disorder");
    record.step = header.step;
    record.status = header.status;
    record.number = header.number;
    record.path.resize(header.path_bytes);
    record.text.resize(header.text_bytes);
    for (auto* part : {&record.path, &record.text})
        if (!read_fully(fd, std::as_writable_bytes(std::span(*part)))) throw_end();
    return true;
}

}  // namespace vmad::guest
