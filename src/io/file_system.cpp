#include "io/file_system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <memory>

#include <climits>

#include "base/error.hpp"
#include "io/byte_stream.hpp"

namespace vmad::io {
namespace {

/// Calls again while a signal interrupts; the result is as the system call returns it.
template <typename Call>
auto restarted(Call call) {
    decltype(call()) result;
    do {
        result = call();
    } while (result == -1 && errno == EINTR);
    return result;
}

bool errno_is_one_of(std::initializer_list<int> numbers) {
    return std::find(numbers.begin(), numbers.end(), errno) != numbers.end();
}

/// In words: some file systems can write a file, and read a file, but not both at once.
const char* opening(int flags) {
    if ((flags & O_CREAT) == 0) return "open";
    return (flags & O_ACCMODE) == O_RDWR ? "create for reading and writing" : "create";
}

/// FIDEDUPERANGE of one range: what the kernel has put into `request`, or an errno value below zero.
std::int32_t share(const File& from, file_dedupe_range& request) {
    if (restarted([&] { return ::ioctl(from.fd(), FIDEDUPERANGE, &request); }) != 0) return -errno;
    return request.info[0].status;
}

DeviceExtent to_device_extent(const fiemap_extent& found) {
    constexpr auto kWithoutPlace = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |
                                   FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_NOT_ALIGNED;
    DeviceExtent extent;
    extent.offset = found.fe_logical;
    extent.bytes = found.fe_length;
    if ((found.fe_flags & kWithoutPlace) == 0) extent.device_offset = found.fe_physical;
    extent.is_encoded = (found.fe_flags & FIEMAP_EXTENT_ENCODED) != 0;
    extent.is_shared = (found.fe_flags & FIEMAP_EXTENT_SHARED) != 0;
    return extent;
}

/// A list or value may grow between the call that tells its size and the one that reads it; some file systems
/// say so for ever.
constexpr int kTriesToRead = 100;

/// The file system has no such operation, not for this file, or not in this way.
bool is_unknown_operation(int number) { return number == ENOSYS || number == EOPNOTSUPP || number == EINVAL; }

}  // namespace

bool is_refusal(int error_number) noexcept {
    static constexpr std::array kRefusals{EPERM,  EACCES, EINVAL, ENOSYS, EOPNOTSUPP,
                                          ENOTTY, EISDIR, EXDEV,  EMLINK};
    return std::find(kRefusals.begin(), kRefusals.end(), error_number) != kRefusals.end();
}

void throw_file_error(std::string_view operation, std::string_view path) {
    const int number = errno;
    if (number == ENOSPC || number == EDQUOT)
        throw NoSpace(base::SystemError(number, operation, path).what(), number,
                      std::string(path.substr(0, path.rfind('/'))));
    if (is_unknown_operation(number))
        throw base::SystemError(number, "the file system cannot " + std::string(operation), path);
    throw base::SystemError(number, operation, path);
}

void throw_nothing_written(std::string_view path) {
    throw base::SystemError(EIO, "write (which took 0 bytes) to", path);
}

std::string File::entry(const std::string& name) const {
    return path_ == "/" ? path_ + name : path_ + "/" + name;
}

File FileSystem::open(const std::string& path, int flags, mode_t mode) {
    const int fd = restarted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
    if (fd < 0) throw_file_error("open", path);
    return File(base::UniqueFd(fd), path);
}

File FileSystem::open_at(const File& directory, const std::string& name, int flags, mode_t mode) {
    const int fd = restarted([&] { return ::openat(directory.fd(), name.c_str(), flags | O_CLOEXEC, mode); });
    if (fd < 0) throw_file_error(opening(flags), directory.entry(name));
    return File(base::UniqueFd(fd), directory.entry(name));
}

File FileSystem::open_beneath(const File& directory, const std::string& relative, int flags) {
    struct open_how how {};
    how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const auto fd =
        restarted([&] { return ::syscall(SYS_openat2, directory.fd(), relative.c_str(), &how, sizeof how); });
    if (fd < 0) throw_file_error("open", directory.entry(relative));
    return File(base::UniqueFd(static_cast<int>(fd)), directory.entry(relative));
}

File FileSystem::open_in_root(const File& root, const std::string& path, int flags) {
    struct open_how how {};
    how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    // EAGAIN: something was renamed or mounted while the kernel followed a "..".
    constexpr int kTries = 100;
    long fd = -1;
    for (int tries = 0; tries < kTries; ++tries) {
        fd = restarted([&] { return ::syscall(SYS_openat2, root.fd(), path.c_str(), &how, sizeof how); });
        if (fd >= 0 || errno != EAGAIN) break;
    }
    const auto shown = root.path() == "/" ? path : root.path() + path;
    if (fd < 0) throw_file_error("open", shown);
    return File(base::UniqueFd(static_cast<int>(fd)), shown);
}

std::optional<File> FileSystem::open_unnamed(const File& directory) {
    const int fd =
        restarted([&] { return ::openat(directory.fd(), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); });
    if (fd >= 0) return File(base::UniqueFd(fd), directory.entry("(unnamed)"));
    if (is_refusal(errno) || errno == ENOENT) return std::nullopt;
    throw_file_error("create an unnamed file in", directory.path());
}

std::optional<File> FileSystem::reopen_direct(const File& file) {
    const std::string path = "/proc/self/fd/" + std::to_string(file.fd());
    const int fd = restarted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC); });
    if (fd >= 0) return File(base::UniqueFd(fd), file.path());
    // EACCES: an unprivileged user does not own the file any more, or /proc is not mounted; nothing is lost
    // without.
    if (is_refusal(errno) || errno_is_one_of({ENOENT, ELOOP})) return std::nullopt;
    throw_file_error("open", file.path());
}

std::unique_ptr<ReadQueue> FileSystem::read_queue(const File& file, unsigned depth) {
    auto reads = kernel_reads(file, depth);
    return reads ? std::move(reads) : waiting_reads(*this, file);
}

void FileSystem::close(File file) {
    // Linux has closed the descriptor whatever close returns, so it is never tried again.
    if (::close(file.take().release()) != 0 && errno != EINTR) throw_file_error("close", file.path());
}

std::size_t FileSystem::read_at(const File& file, std::span<const iovec> into, std::uint64_t offset) {
    const auto count = restarted(
        [&] { return ::preadv(file.fd(), into.data(), iov_count(into), static_cast<off_t>(offset)); });
    if (count < 0) throw_file_error("read", file.path());
    return static_cast<std::size_t>(count);
}

std::size_t FileSystem::write_at(const File& file, std::span<const iovec> from, std::uint64_t offset) {
    const auto count = restarted(
        [&] { return ::pwritev(file.fd(), from.data(), iov_count(from), static_cast<off_t>(offset)); });
    if (count < 0) throw_file_error("write", file.path());
    return static_cast<std::size_t>(count);
}

std::optional<std::size_t> FileSystem::copy_range(const File& from, std::uint64_t from_offset, const File& to,
                                                  std::uint64_t to_offset, std::size_t size_bytes) {
    auto in = static_cast<off64_t>(from_offset);
    auto out = static_cast<off64_t>(to_offset);
    const auto count =
        restarted([&] { return ::copy_file_range(from.fd(), &in, to.fd(), &out, size_bytes, 0); });
    if (count >= 0) return static_cast<std::size_t>(count);
    if (is_refusal(errno)) return std::nullopt;
    throw_file_error("copy to", to.path());
}

BlockSharing FileSystem::share_range(const File& from, std::uint64_t from_offset, const File& to,
                                     std::uint64_t to_offset, std::uint64_t size_bytes) {
    alignas(file_dedupe_range)
        std::array<std::byte, sizeof(file_dedupe_range) + sizeof(file_dedupe_range_info)>
            memory{};
    auto* request = reinterpret_cast<file_dedupe_range*>(memory.data());
    request->src_offset = from_offset;
    request->src_length = size_bytes;
    request->dest_count = 1;
    request->info[0].dest_fd = to.fd();
    request->info[0].dest_offset = to_offset;
    const auto status = share(from, *request);
    if (status == FILE_DEDUPE_RANGE_SAME) return {.bytes = request->info[0].bytes_deduped};
    if (status == FILE_DEDUPE_RANGE_DIFFERS) return {.differs = true};
    if (is_refusal(-status)) return {.refusal = -status};
    errno = -status;
    throw_file_error("share blocks of", to.path());
}

std::vector<DeviceExtent> FileSystem::extents(const File& file, std::uint64_t offset, std::uint64_t length) {
    constexpr std::size_t kMostExtents = 256;
    std::vector<std::uint64_t> memory((sizeof(fiemap) + kMostExtents * sizeof(fiemap_extent)) / 8 + 1);
    auto* map = reinterpret_cast<fiemap*>(memory.data());
    map->fm_start = offset;
    map->fm_length = length;
    map->fm_extent_count = kMostExtents;
    if (restarted([&] { return ::ioctl(file.fd(), FS_IOC_FIEMAP, map); }) != 0) return {};
    std::vector<DeviceExtent> found;
    std::transform(map->fm_extents,
                   map->fm_extents + std::min<std::size_t>(map->fm_mapped_extents, kMostExtents),
                   std::back_inserter(found), to_device_extent);
    return found;
}

void FileSystem::truncate(const File& file, std::uint64_t size_bytes) {
    if (restarted([&] { return ::ftruncate(file.fd(), static_cast<off_t>(size_bytes)); }) != 0)
        throw_file_error("set the size of", file.path());
}

void FileSystem::sync(const File& file) {
    if (restarted([&] { return ::fsync(file.fd()); }) != 0) throw_file_error("sync", file.path());
}

void FileSystem::push_out(const File& file, std::uint64_t offset, std::uint64_t length, bool wait) {
    const unsigned flags =
        wait ? SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER
             : SYNC_FILE_RANGE_WRITE;
    if (restarted([&] {
            return ::sync_file_range(file.fd(), static_cast<off_t>(offset), static_cast<off_t>(length),
                                     flags);
        }) == 0)
        return;
    // A real write error must not be dropped: the kernel reports it once.
    if (errno_is_one_of({EIO, ENOSPC, EDQUOT})) throw_file_error("write", file.path());
}

void FileSystem::advise(const File& file, std::uint64_t offset, std::uint64_t length, int advice) {
    (void)::posix_fadvise(file.fd(), static_cast<off_t>(offset), static_cast<off_t>(length), advice);
}

std::optional<std::uint64_t> FileSystem::seek(const File& file, std::uint64_t offset, int whence) {
    const auto position = ::lseek(file.fd(), static_cast<off_t>(offset), whence);
    if (position >= 0) return static_cast<std::uint64_t>(position);
    if (errno == ENXIO) return std::nullopt;
    throw_file_error("seek", file.path());
}

void FileSystem::discard(const File& file, std::uint64_t offset, std::uint64_t length) {
    (void)::fallocate(file.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                      static_cast<off_t>(length));
}

struct stat FileSystem::status(const File& file) {
    struct stat result {};
    if (::fstat(file.fd(), &result) != 0) throw_file_error("stat", file.path());
    return result;
}

std::optional<struct stat> FileSystem::status_at(const File& directory, const std::string& name) {
    struct stat result {};
    if (::fstatat(directory.fd(), name.c_str(), &result, AT_SYMLINK_NOFOLLOW) == 0) return result;
    if (errno == ENOENT) return std::nullopt;
    throw_file_error("stat", directory.entry(name));
}

std::string FileSystem::real_path(const File& file) {
    const std::string link = "/proc/self/fd/" + std::to_string(file.fd());
    std::string path(PATH_MAX, '\0');
    const auto length = ::readlink(link.c_str(), path.data(), path.size());
    if (length < 0) throw_file_error("find the path of", file.path());
    path.resize(static_cast<std::size_t>(length));
    return path;
}

std::optional<std::string> FileSystem::read_link(const File& directory, const std::string& name) {
    std::string target(PATH_MAX, '\0');
    const auto length = ::readlinkat(directory.fd(), name.c_str(), target.data(), target.size());
    if (length < 0) {
        if (errno_is_one_of({ENOENT, EINVAL})) return std::nullopt;
        throw_file_error("read the symbolic link", directory.entry(name));
    }
    target.resize(static_cast<std::size_t>(length));
    return target;
}

struct statvfs FileSystem::space(const File& file) {
    struct statvfs result {};
    if (restarted([&] { return ::fstatvfs(file.fd(), &result); }) == 0) return result;
    if (is_refusal(errno)) return {};
    throw_file_error("find the free space of", file.path());
}

std::uint64_t FileSystem::type(const File& file) {
    struct statfs result {};
    if (restarted([&] { return ::fstatfs(file.fd(), &result); }) != 0) {
        if (is_refusal(errno)) return 0;
        throw_file_error("find the type of the file system of", file.path());
    }
    // A 32-bit magic may be sign-extended by the type of the field.
    return static_cast<std::uint32_t>(result.f_type);
}

unsigned FileSystem::inode_flags(const File& file) {
    int flags = 0;
    return ::ioctl(file.fd(), FS_IOC_GETFLAGS, &flags) == 0 ? static_cast<unsigned>(flags) : 0;
}

std::vector<std::string> FileSystem::entries(const File& directory) {
    // A descriptor of its own, because reading moves the position.
    base::UniqueFd own(::openat(directory.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!own) throw_file_error("open", directory.path());
    struct CloseDirectory {
        void operator()(DIR* stream) const noexcept { ::closedir(stream); }
    };
    const std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(own.get()));
    if (!stream) throw_file_error("read", directory.path());
    (void)own.release();
    std::vector<std::string> names;
    for (;;) {
        errno = 0;
        const dirent* entry = ::readdir(stream.get());
        if (entry == nullptr) break;
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) throw_file_error("read", directory.path());
    return names;
}

void FileSystem::change_mode(const File& file, mode_t mode) {
    if (::fchmod(file.fd(), mode) != 0) throw_file_error("change the mode of", file.path());
}

void FileSystem::change_owner(const File& file, uid_t owner, gid_t group) {
    if (::fchown(file.fd(), owner, group) != 0) throw_file_error("change the owner of", file.path());
}

void FileSystem::set_modified(const File& file, timespec modified) {
    const timespec times[2] = {{0, UTIME_OMIT}, modified};
    if (::futimens(file.fd(), times) != 0) throw_file_error("set the time of", file.path());
}

std::vector<std::string> FileSystem::attribute_names(const File& file) {
    for (int tries = 1;; ++tries) {
        const auto size = ::flistxattr(file.fd(), nullptr, 0);
        std::string list(size > 0 ? static_cast<std::size_t>(size) : 0, '\0');
        const auto length = size > 0 ? ::flistxattr(file.fd(), list.data(), list.size()) : size;
        if (length < 0) {
            if (errno == ERANGE && tries < kTriesToRead) continue;
            if (is_refusal(errno)) return {};
            throw_file_error("list the attributes of", file.path());
        }
        std::vector<std::string> names;
        for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
            names.emplace_back(list.c_str() + at);
            at += names.back().size() + 1;
        }
        return names;
    }
}

std::optional<std::string> FileSystem::attribute(const File& file, const std::string& name) {
    for (int tries = 1;; ++tries) {
        const auto size = ::fgetxattr(file.fd(), name.c_str(), nullptr, 0);
        std::string value(size > 0 ? static_cast<std::size_t>(size) : 0, '\0');
        const auto length =
            size > 0 ? ::fgetxattr(file.fd(), name.c_str(), value.data(), value.size()) : size;
        if (length >= 0) {
            value.resize(static_cast<std::size_t>(length));
            return value;
        }
        if (errno == ERANGE && tries < kTriesToRead) continue;
        if (is_refusal(errno) || errno == ENODATA) return std::nullopt;
        throw_file_error("read attribute " + name + " of", file.path());
    }
}

void FileSystem::set_attribute(const File& file, const std::string& name, const std::string& value) {
    if (::fsetxattr(file.fd(), name.c_str(), value.data(), value.size(), 0) != 0)
        throw_file_error("set attribute " + name + " of", file.path());
}

void FileSystem::remove_attribute(const File& file, const std::string& name) {
    if (::fremovexattr(file.fd(), name.c_str()) != 0)
        throw_file_error("remove attribute " + name + " of", file.path());
}

void FileSystem::link_unnamed(const File& file, const File& directory, const std::string& name) {
    // By /proc, as open(2) shows it: AT_EMPTY_PATH needs a capability that an unprivileged user does not
    // have.
    const std::string source = "/proc/self/fd/" + std::to_string(file.fd());
    if (::linkat(AT_FDCWD, source.c_str(), directory.fd(), name.c_str(), AT_SYMLINK_FOLLOW) != 0)
        throw_file_error("link", directory.entry(name));
}

bool FileSystem::link(const File& directory, const std::string& from, const std::string& to) {
    if (::linkat(directory.fd(), from.c_str(), directory.fd(), to.c_str(), 0) == 0) return true;
    if (errno != EEXIST) return false;
    throw_file_error("link", directory.entry(to));
}

void FileSystem::make_link(const std::string& target, const File& directory, const std::string& name) {
    if (::symlinkat(target.c_str(), directory.fd(), name.c_str()) != 0)
        throw_file_error("link", directory.entry(name));
}

void FileSystem::rename(const File& directory, const std::string& from, const std::string& to) {
    if (::renameat(directory.fd(), from.c_str(), directory.fd(), to.c_str()) != 0)
        throw_file_error("rename to", directory.entry(to));
}

bool FileSystem::exchange(const File& directory, const std::string& a, const std::string& b) {
    if (::renameat2(directory.fd(), a.c_str(), directory.fd(), b.c_str(), RENAME_EXCHANGE) == 0) return true;
    if (is_refusal(errno)) return false;
    throw_file_error("exchange", directory.entry(b));
}

bool FileSystem::unlink(const File& directory, const std::string& name) {
    if (::unlinkat(directory.fd(), name.c_str(), 0) == 0) return true;
    if (errno == ENOENT) return false;
    throw_file_error("remove", directory.entry(name));
}

bool FileSystem::make_directory(const std::string& path, mode_t mode) {
    if (::mkdir(path.c_str(), mode) == 0) return true;
    if (errno == EEXIST) return false;
    throw_file_error("create directory", path);
}

Lease FileSystem::try_lease(const File& file) {
    // The signal that says that it is wanted: one that does nothing by default. SIGIO would end the process.
    // The end of a lease resets it.
    if (::fcntl(file.fd(), F_SETSIG, SIGURG) < 0) return Lease::unavailable;
    if (::fcntl(file.fd(), F_SETLEASE, F_RDLCK) == 0) return Lease::held;
    return errno == EAGAIN ? Lease::open_for_writing : Lease::unavailable;
}

bool FileSystem::is_lease_wanted(const File& file) { return ::fcntl(file.fd(), F_GETLEASE) == F_UNLCK; }

void FileSystem::end_lease(const File& file) { (void)::fcntl(file.fd(), F_SETLEASE, F_UNLCK); }

bool FileSystem::try_lock(const File& file) {
    if (restarted([&] { return ::flock(file.fd(), LOCK_EX | LOCK_NB); }) == 0) return true;
    if (errno == EWOULDBLOCK) return false;
    throw_file_error("lock", file.path());
}

void sync_where_known(FileSystem& fs, const File& file) {
    try {
        fs.sync(file);
    } catch (const base::SystemError& error) {
        if (!is_refusal(error.number())) throw;
    }
}

std::size_t read_fully_at(FileSystem& fs, const File& file, std::span<std::byte> into, std::uint64_t offset) {
    std::size_t done = 0;
    while (done < into.size()) {
        const iovec rest{into.data() + done, into.size() - done};
        const auto count = fs.read_at(file, {&rest, 1}, offset + done);
        if (count == 0) break;
        done += count;
    }
    return done;
}

std::optional<DataRange> next_data(FileSystem& fs, const File& file, std::uint64_t offset,
                                   std::uint64_t size_bytes) try {
    if (offset >= size_bytes) return std::nullopt;
    const auto begin = fs.seek(file, offset, SEEK_DATA);
    if (!begin || *begin >= size_bytes) return std::nullopt;
    const auto end = fs.seek(file, *begin, SEEK_HOLE).value_or(size_bytes);
    return DataRange{*begin, std::min(end, size_bytes)};
} catch (const base::SystemError& error) {
    if (!is_refusal(error.number())) throw;
    return DataRange{offset, size_bytes};
}

void write_fully_at(FileSystem& fs, const File& file, std::span<iovec> from, std::uint64_t offset) {
    use_up(from, 0);
    while (!from.empty()) {
        const auto count = fs.write_at(file, from, offset);
        if (count == 0) throw_nothing_written(file.path());
        offset += count;
        use_up(from, count);
    }
}

}  // namespace vmad::io
