// A file system that a test can watch, hurt and cripple: the real one, with a hook before and after each
// call.
//
// A hook may throw (the call fails: before it was done, or although it was done), end the process, or change
// files behind the program's back. Some abilities of a file system can be switched off, as if it had none.
#pragma once

#include <linux/magic.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "io/file_system.hpp"

namespace vmad::support {

/// How a file system numbers its files.
enum class Numbers {
    kept,
    by_path,   ///< a number for each name, whichever file has it
    by_mount,  ///< a number for each file and each of its hard links, other ones after each mount
};

struct Call {
    unsigned number;        ///< from 1
    std::string operation;  ///< the name of the method, or of a step
    std::string path;
};

class FaultFileSystem : public io::FileSystem {
  public:
    std::function<void(const Call&)> before;
    std::function<void(const Call&)> after;
    bool has_unnamed = true;
    bool has_exchange = true;
    bool has_links = true;
    bool has_leases = true;
    bool has_copy_range = true;
    std::optional<std::size_t> most_copied;  ///< by one copy_range(): 0 though there is something
    Numbers numbers = Numbers::kept;
    bool admits_numbers = true;   ///< by its type it is one that does not keep them, where it does not
    bool writes_nothing = false;  ///< write(2) returns 0
    std::function<std::uint64_t()> shown_free_bytes;  ///< what statvfs says instead of the truth; or empty

    /// How many calls there were since the start or forget_calls().
    [[nodiscard]] unsigned calls() const noexcept { return count_; }
    void forget_calls() noexcept { count_ = 0; }

    /// Something else that is to count as a call, writing a job file for example.
    template <typename Action>
    decltype(auto) step(std::string operation, std::string path, Action&& action) {
        const Call call{++count_, std::move(operation), std::move(path)};
        const Current current(call);
        if (before) before(call);
        if constexpr (std::is_void_v<decltype(action())>) {
            action();
            if (after) after(call);
        } else {
            auto result = action();
            if (after) after(call);
            return result;
        }
    }

    /// The call that this thread is in; null when it is in none.
    [[nodiscard]] static const Call* current() noexcept { return current_; }

    /// Throws what the seam throws for this error.
    [[noreturn]] static void fail(int error_number, const Call& call) {
        errno = error_number;
        io::throw_file_error("(made to fail) " + call.operation, call.path);
    }

    io::File open(const std::string& path, int flags, mode_t mode = 0) override {
        return step("open", path, [&] { return FileSystem::open(path, flags, mode); });
    }
    io::File open_at(const io::File& directory, const std::string& name, int flags,
                     mode_t mode = 0) override {
        return step("open_at", name, [&] { return FileSystem::open_at(directory, name, flags, mode); });
    }
    io::File open_beneath(const io::File& directory, const std::string& relative, int flags) override {
        return step("open_beneath", relative,
                    [&] { return FileSystem::open_beneath(directory, relative, flags); });
    }
    io::File open_in_root(const io::File& root, const std::string& path, int flags) override {
        return step("open_in_root", path, [&] { return FileSystem::open_in_root(root, path, flags); });
    }
    std::optional<io::File> open_unnamed(const io::File& directory) override {
        return step("open_unnamed", directory.path(), [&]() -> std::optional<io::File> {
            if (!has_unnamed) return std::nullopt;
            return FileSystem::open_unnamed(directory);
        });
    }
    std::optional<io::File> reopen_direct(const io::File& file) override {
        return step("reopen_direct", file.path(), [&] { return FileSystem::reopen_direct(file); });
    }
    /// Each of its reads is a read_at.
    std::unique_ptr<io::ReadQueue> read_queue(const io::File& file, unsigned) override {
        return io::waiting_reads(*this, file);
    }
    void close(io::File file) override {
        const auto path = file.path();
        step("close", path, [&] { FileSystem::close(std::move(file)); });
    }
    std::size_t read_at(const io::File& file, std::span<const iovec> into, std::uint64_t offset) override {
        return step("read_at", file.path(), [&] { return FileSystem::read_at(file, into, offset); });
    }
    std::size_t write_at(const io::File& file, std::span<const iovec> from, std::uint64_t offset) override {
        return step("write_at", file.path(),
                    [&] { return writes_nothing ? 0 : FileSystem::write_at(file, from, offset); });
    }
    std::optional<std::size_t> copy_range(const io::File& from, std::uint64_t from_offset, const io::File& to,
                                          std::uint64_t to_offset, std::size_t size_bytes) override {
        return step("copy_range", to.path(), [&]() -> std::optional<std::size_t> {
            if (!has_copy_range) return std::nullopt;
            if (most_copied == 0) return 0;
            return FileSystem::copy_range(from, from_offset, to, to_offset,
                                          std::min(size_bytes, most_copied.value_or(size_bytes)));
        });
    }
    io::BlockSharing share_range(const io::File& from, std::uint64_t from_offset, const io::File& to,
                                 std::uint64_t to_offset, std::uint64_t size_bytes) override {
        return step("share_range", to.path(),
                    [&] { return FileSystem::share_range(from, from_offset, to, to_offset, size_bytes); });
    }
    std::vector<io::DeviceExtent> extents(const io::File& file, std::uint64_t offset,
                                          std::uint64_t length) override {
        return step("extents", file.path(), [&] { return FileSystem::extents(file, offset, length); });
    }
    void truncate(const io::File& file, std::uint64_t size_bytes) override {
        step("truncate", file.path(), [&] { FileSystem::truncate(file, size_bytes); });
    }
    void sync(const io::File& file) override {
        step("sync", file.path(), [&] { FileSystem::sync(file); });
    }
    void push_out(const io::File& file, std::uint64_t offset, std::uint64_t length, bool wait) override {
        step("push_out", file.path(), [&] { FileSystem::push_out(file, offset, length, wait); });
    }
    void advise(const io::File& file, std::uint64_t offset, std::uint64_t length, int advice) override {
        step("advise", file.path(), [&] { FileSystem::advise(file, offset, length, advice); });
    }
    std::optional<std::uint64_t> seek(const io::File& file, std::uint64_t offset, int whence) override {
        return step("seek", file.path(), [&] { return FileSystem::seek(file, offset, whence); });
    }
    void discard(const io::File& file, std::uint64_t offset, std::uint64_t length) override {
        step("discard", file.path(), [&] { FileSystem::discard(file, offset, length); });
    }
    struct stat status(const io::File& file) override {
        return step("status", file.path(), [&] {
            auto status = FileSystem::status(file);
            if (numbers != Numbers::kept) renumber(FileSystem::real_path(file), status);
            return status;
        });
    }
    std::optional<struct stat> status_at(const io::File& directory, const std::string& name) override {
        return step("status_at", name, [&] {
            auto status = FileSystem::status_at(directory, name);
            if (status && numbers != Numbers::kept)
                renumber(FileSystem::real_path(directory) + "/" + name, *status);
            return status;
        });
    }
    std::string real_path(const io::File& file) override {
        return step("real_path", file.path(), [&] { return FileSystem::real_path(file); });
    }
    std::optional<std::string> read_link(const io::File& directory, const std::string& name) override {
        return step("read_link", name, [&] { return FileSystem::read_link(directory, name); });
    }
    struct statvfs space(const io::File& file) override {
        return step("space", file.path(), [&] {
            auto space = FileSystem::space(file);
            if (shown_free_bytes) {
                space.f_frsize = 1;
                space.f_blocks = UINT64_MAX;
                space.f_bavail = space.f_bfree = shown_free_bytes();
            }
            return space;
        });
    }
    std::uint64_t type(const io::File& file) override {
        return step("type", file.path(), [&] {
            const bool is_made_up = numbers != Numbers::kept && admits_numbers;
            return is_made_up ? std::uint64_t{FUSE_SUPER_MAGIC} : FileSystem::type(file);
        });
    }
    unsigned inode_flags(const io::File& file) override {
        return step("inode_flags", file.path(), [&] { return FileSystem::inode_flags(file); });
    }
    std::vector<std::string> entries(const io::File& directory) override {
        return step("entries", directory.path(), [&] { return FileSystem::entries(directory); });
    }
    void change_mode(const io::File& file, mode_t mode) override {
        step("change_mode", file.path(), [&] { FileSystem::change_mode(file, mode); });
    }
    void change_owner(const io::File& file, uid_t owner, gid_t group) override {
        step("change_owner", file.path(), [&] { FileSystem::change_owner(file, owner, group); });
    }
    void set_modified(const io::File& file, timespec modified) override {
        step("set_modified", file.path(), [&] { FileSystem::set_modified(file, modified); });
    }
    std::vector<std::string> attribute_names(const io::File& file) override {
        return step("attribute_names", file.path(), [&] { return FileSystem::attribute_names(file); });
    }
    std::optional<std::string> attribute(const io::File& file, const std::string& name) override {
        return step("attribute", file.path(), [&] { return FileSystem::attribute(file, name); });
    }
    void set_attribute(const io::File& file, const std::string& name, const std::string& value) override {
        step("set_attribute", file.path(), [&] { FileSystem::set_attribute(file, name, value); });
    }
    void remove_attribute(const io::File& file, const std::string& name) override {
        step("remove_attribute", file.path(), [&] { FileSystem::remove_attribute(file, name); });
    }
    void link_unnamed(const io::File& file, const io::File& directory, const std::string& name) override {
        step("link_unnamed", name, [&] { FileSystem::link_unnamed(file, directory, name); });
    }
    bool link(const io::File& directory, const std::string& from, const std::string& to) override {
        return step("link", to, [&] { return has_links && FileSystem::link(directory, from, to); });
    }
    void make_link(const std::string& target, const io::File& directory, const std::string& name) override {
        step("make_link", name, [&] { FileSystem::make_link(target, directory, name); });
    }
    void rename(const io::File& directory, const std::string& from, const std::string& to) override {
        step("rename", to, [&] {
            FileSystem::rename(directory, from, to);
            take_number(directory, from, to);
        });
    }
    bool exchange(const io::File& directory, const std::string& a, const std::string& b) override {
        return step("exchange", b, [&] {
            if (!has_exchange || !FileSystem::exchange(directory, a, b)) return false;
            if (numbers == Numbers::by_mount) std::swap(number_of(directory, a), number_of(directory, b));
            return true;
        });
    }
    bool unlink(const io::File& directory, const std::string& name) override {
        return step("unlink", name, [&] {
            if (numbers == Numbers::by_mount) number_of(directory, name) = 0;
            return FileSystem::unlink(directory, name);
        });
    }
    bool make_directory(const std::string& path, mode_t mode) override {
        return step("make_directory", path, [&] { return FileSystem::make_directory(path, mode); });
    }
    bool try_lock(const io::File& file) override {
        return step("try_lock", file.path(), [&] { return FileSystem::try_lock(file); });
    }
    /// What a hook throws from these is an outcome, as what the kernel reports.
    io::Lease try_lease(const io::File& file) override {
        try {
            return step("try_lease", file.path(),
                        [&] { return has_leases ? FileSystem::try_lease(file) : io::Lease::unavailable; });
        } catch (const base::SystemError& error) {
            return error.number() == EAGAIN ? io::Lease::open_for_writing : io::Lease::unavailable;
        }
    }
    bool is_lease_wanted(const io::File& file) override {
        try {
            return step("is_lease_wanted", file.path(), [&] { return FileSystem::is_lease_wanted(file); });
        } catch (const base::SystemError&) {
            return false;
        }
    }
    void end_lease(const io::File& file) override {
        try {
            step("end_lease", file.path(), [&] { FileSystem::end_lease(file); });
        } catch (const base::SystemError&) {
        }
    }

  private:
    /// One call may make another.
    class Current {
      public:
        explicit Current(const Call& call) : outer_(std::exchange(current_, &call)) {}
        Current(const Current&) = delete;
        Current& operator=(const Current&) = delete;
        ~Current() { current_ = outer_; }

      private:
        const Call* outer_;
    };

    /// A number is given when it is asked for, and goes with its file; by path, it is the name's.
    void renumber(const std::string& path, struct stat& status) {
        if (!S_ISREG(status.st_mode)) return;
        if (numbers == Numbers::by_path) {
            status.st_ino = std::hash<std::string>{}(path) | 1;
            return;
        }
        auto& number = numbers_[path];
        if (number == 0) number = next_number_++;
        status.st_ino = number;
    }
    ino_t& number_of(const io::File& directory, const std::string& name) {
        return numbers_[FileSystem::real_path(directory) + "/" + name];
    }
    void take_number(const io::File& directory, const std::string& from, const std::string& to) {
        if (numbers == Numbers::by_mount)
            number_of(directory, to) = std::exchange(number_of(directory, from), 0);
    }

    std::map<std::string, ino_t> numbers_;  ///< by path
    static inline thread_local const Call* current_ = nullptr;
    static inline std::atomic<ino_t> next_number_ = ino_t{1} << 40;
    std::atomic<unsigned> count_ = 0;  ///< the engine calls from several threads
};

}  // namespace vmad::support
