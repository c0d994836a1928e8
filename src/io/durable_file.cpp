#include "io/durable_file.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"
#include "io/slices.hpp"

namespace vmad::io {
namespace {

constexpr std::size_t kReadSizeBytes = 65536;
/// Whatever is replaced here was written here; anything larger is not ours.
constexpr std::size_t kKeptLimitBytes = 16 << 20;
constexpr std::size_t kHexDigitCount = 16;

/// The steps up to the new name, but not yet the directory's own sync.
void replace(FileSystem& fs, const File& directory, const std::string& name, std::string_view content,
             const Dress& dress) {
    replace_entry(fs, directory, name, [&](const std::string& temporary) {
        File file = fs.open_at(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        iovec bytes = const_slice(content);
        write_fully_at(fs, file, {&bytes, 1}, 0);
        if (dress) dress(file);
        fs.sync(file);
        fs.close(std::move(file));
    });
}

void sync(FileSystem& fs, const File& directory, const std::string& name,
          const std::optional<std::string>& old, const Dress& dress = {}) {
    sync_or_put_back(fs, directory, [&] {
        if (old)
            replace(fs, directory, name, *old, dress);
        else
            fs.unlink(directory, name);
    });
}

}  // namespace

void write_durably(FileSystem& fs, const File& directory, const std::string& name, std::string_view content,
                   const Dress& dress) {
    const auto old = read_small_file(fs, directory, name, kKeptLimitBytes);
    replace(fs, directory, name, content, dress);
    sync(fs, directory, name, old, dress);
}

bool remove_durably(FileSystem& fs, const File& directory, const std::string& name) {
    const auto old = read_small_file(fs, directory, name, kKeptLimitBytes);
    if (!old) return false;
    fs.unlink(directory, name);
    sync(fs, directory, name, old);
    return true;
}

std::string read_small_file(FileSystem& fs, const File& file, std::size_t limit_bytes) {
    std::string content;
    for (;;) {
        const std::size_t done = content.size();
        // One byte more than allowed shows that there is more.
        content.resize(done + std::min(kReadSizeBytes, limit_bytes + 1 - done));
        const auto rest = std::as_writable_bytes(std::span(content)).subspan(done);
        const std::size_t count = read_fully_at(fs, file, rest, done);
        content.resize(done + count);
        if (content.size() > limit_bytes)
            throw base::Error(fmt::format("{} is larger than {} bytes", file.path(), limit_bytes));
        if (count < rest.size()) return content;
    }
}

std::optional<std::string> read_small_file(FileSystem& fs, const File& directory, const std::string& name,
                                           std::size_t limit_bytes) {
    const auto status = fs.status_at(directory, name);
    if (!status) return std::nullopt;
    if (!S_ISREG(status->st_mode))
        throw base::Error(fmt::format("{} is not a regular file", directory.entry(name)));
    try {
        // O_NONBLOCK, in case it has become a pipe since.
        const File file = fs.open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
        return read_small_file(fs, file, limit_bytes);
    } catch (const base::SystemError& error) {
        if (error.number() == ENOENT) return std::nullopt;
        throw;
    }
}

bool is_temporary_name(std::string_view name) noexcept {
    constexpr std::string_view kHexDigits = "0123456789abcdef";
    return name.size() == 1 + kHexDigitCount + 4 && name.starts_with('.') && name.ends_with(".tmp") &&
           name.find_first_not_of(kHexDigits, 1) == 1 + kHexDigitCount;
}

}  // namespace vmad::io
