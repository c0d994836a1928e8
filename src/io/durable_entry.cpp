#include "io/durable_entry.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/byte_stream.hpp"
#include "io/temporary_name.hpp"

namespace vmad::io {
namespace {

constexpr std::size_t kReadSizeBytes = 65536;
/// Whatever is replaced here was written here; anything larger is not ours.
constexpr std::size_t kKeptLimitBytes = 16 << 20;
constexpr std::int64_t kStaleSeconds = std::int64_t{24} * 3600;

/// Makes an entry of the name that it gets.
using Make = std::function<void(const std::string& name)>;

/// Undoes what can be undone on a failing disk; the failure that made it necessary is the one to report.
template <typename Undo>
void try_to(Undo undo) noexcept {
    try {
        undo();
    } catch (...) {
    }
}

void remove_when_stale(FileSystem& fs, const File& directory, const std::string& name) {
    const auto status = fs.status_at(directory, name);
    if (status && status->st_mtim.tv_sec + kStaleSeconds < std::time(nullptr)) fs.unlink(directory, name);
}

Make file_of(FileSystem& fs, const File& directory, std::string_view content,
             const SetAttributes& set_attributes) {
    return [&fs, &directory, content, &set_attributes](const std::string& name) {
        File file = fs.open_at(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        iovec bytes = const_slice(content);
        write_fully_at(fs, file, {&bytes, 1}, 0);
        if (set_attributes) set_attributes(file);
        fs.sync(file);
        fs.close(std::move(file));
    };
}

Make link_to(FileSystem& fs, const File& directory, const std::string& target) {
    return [&fs, &directory, &target](const std::string& name) { fs.make_link(target, directory, name); };
}

/// Replaces the entry by a new one. The directory is not synced yet. When it throws, the new one is gone.
void replace(FileSystem& fs, const File& directory, const std::string& name, const Make& make) {
    const auto temporary = fmt::format("{}{}.tmp", kReservedPrefix, random_hex());
    try {
        make(temporary);
        fs.rename(directory, temporary, name);
    } catch (...) {
        // If that fails too, the spool removes such a file when it starts.
        try_to([&] { fs.unlink(directory, temporary); });
        throw;
    }
}

/// Syncs the directory. When that fails, nobody knows which state a power cut would leave, so the entry
/// becomes what the caller still believes it to be: what `make_old` makes, or none. Either is whole.
void sync(FileSystem& fs, const File& directory, const std::string& name, const Make& make_old) {
    try {
        sync_where_known(fs, directory);
    } catch (...) {
        try_to([&] {
            if (make_old)
                replace(fs, directory, name, make_old);
            else
                fs.unlink(directory, name);
            sync_where_known(fs, directory);
        });
        throw;
    }
}

}  // namespace

void write_durably(FileSystem& fs, const File& directory, const std::string& name, std::string_view content,
                   const SetAttributes& set_attributes) {
    const auto old = read_small_file(fs, directory, name, kKeptLimitBytes);
    replace(fs, directory, name, file_of(fs, directory, content, set_attributes));
    sync(fs, directory, name, old ? file_of(fs, directory, *old, set_attributes) : Make());
}

bool remove_durably(FileSystem& fs, const File& directory, const std::string& name) {
    const auto old = read_small_file(fs, directory, name, kKeptLimitBytes);
    if (!old) return false;
    fs.unlink(directory, name);
    const SetAttributes none;
    sync(fs, directory, name, file_of(fs, directory, *old, none));
    return true;
}

void write_link_durably(FileSystem& fs, const File& directory, const std::string& name,
                        const std::string& target) {
    const auto old = fs.read_link(directory, name);
    if (!old && fs.status_at(directory, name))
        throw base::Error(fmt::format("{} is not a symbolic link", directory.entry(name)));
    replace(fs, directory, name, link_to(fs, directory, target));
    sync(fs, directory, name, old ? link_to(fs, directory, *old) : Make());
}

bool remove_link_durably(FileSystem& fs, const File& directory, const std::string& name) {
    const auto old = fs.read_link(directory, name);
    if (!old) return false;
    fs.unlink(directory, name);
    sync(fs, directory, name, link_to(fs, directory, *old));
    return true;
}

void remove_stale(FileSystem& fs, const File& directory) noexcept {
    try_to([&] {
        for (const auto& name : fs.entries(directory))
            if (is_temporary_name(name)) try_to([&] { remove_when_stale(fs, directory, name); });
    });
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

}  // namespace vmad::io
