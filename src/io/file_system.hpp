// The seam to the file system: every call that the engine, publishing and the queue make on files goes
// through here, so that a test can fail, count, delay or replace any of them.
//
// Each method is one system call (restarted after EINTR) and throws NoSpace or base::SystemError with the
// call and the path, unless its comment names an outcome. Nothing here keeps state: one object may serve any
// thread.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "io/read_queue.hpp"

namespace vmad::io {

/// The disk or a quota is full (ENOSPC, EDQUOT), or would be filled beyond a reserve: worth waiting for.
class NoSpace : public base::SystemError {
  public:
    /// `number` is the errno value of the call, ENOSPC for a reserve; `directory` is on the file system that
    /// has none.
    explicit NoSpace(const std::string& sentence, int number = ENOSPC, std::string directory = {})
        : SystemError(number, sentence), directory_(std::move(directory)) {}
    [[nodiscard]] const std::string& directory() const noexcept { return directory_; }

  private:
    std::string directory_;
};

/// True for the errno values by which file systems say that they do not have a call, or not for this caller:
/// EPERM, EACCES, EINVAL, ENOSYS, EOPNOTSUPP and the like, but not those of a failing disk or network. They
/// differ in which one they choose, so no list is made for a single call.
[[nodiscard]] bool is_refusal(int error_number) noexcept;

/// Throws NoSpace or base::SystemError for the current errno. The sentence says so when the file system does
/// not know the operation.
[[noreturn]] void throw_file_error(std::string_view operation, std::string_view path);

/// Throws base::SystemError (EIO) for a write that reported success, and wrote nothing: to try again would
/// never end.
[[noreturn]] void throw_nothing_written(std::string_view path);

/// An open file or directory, and the path that names it in messages.
class File {
  public:
    File() = default;
    File(base::UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(fd_); }
    /// Gives up the descriptor, for FileSystem::close.
    [[nodiscard]] base::UniqueFd take() noexcept { return std::move(fd_); }
    /// The path of an entry of this directory, for messages.
    [[nodiscard]] std::string entry(const std::string& name) const;

  private:
    base::UniqueFd fd_;
    std::string path_;
};

/// What came of an attempt to let two files share blocks.
struct BlockSharing {
    std::uint64_t bytes =
        0;                 ///< that are shared now, from the beginning of the range; may be fewer than asked
    bool differs = false;  ///< the two ranges have not the same content: nothing was done
    int refusal = 0;       ///< the errno value of a refusal; 0: none
};

/// A run of bytes of a file that stands in one piece on the device, or did so when it was looked at.
struct DeviceExtent {
    std::uint64_t offset = 0;  ///< in the file
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> device_offset;  ///< none where it has no place yet, or one that is not told
    bool is_encoded = false;  ///< compressed, for one: the device offset is that of the whole
    bool is_shared = false;   ///< other files, or other places of this one, use the same blocks
};

/// What came of asking for a lease.
enum class Lease {
    held,
    open_for_writing,  ///< somebody has the file open for writing, or mapped so
    unavailable,
};

class FileSystem {
  public:
    FileSystem() = default;
    FileSystem(const FileSystem&) = delete;
    FileSystem& operator=(const FileSystem&) = delete;
    virtual ~FileSystem() = default;

    // Opening. O_CLOEXEC is always added.

    /// open(2) of a path that the administrator or the program chose: follows symbolic links.
    [[nodiscard]] virtual File open(const std::string& path, int flags, mode_t mode = 0);
    /// openat(2) of an entry of `directory`.
    [[nodiscard]] virtual File open_at(const File& directory, const std::string& name, int flags,
                                       mode_t mode = 0);
    /// openat2(2) of a relative path below `directory`: no symbolic link, no "..", no magic link on the way.
    [[nodiscard]] virtual File open_beneath(const File& directory, const std::string& relative, int flags);
    /// openat2(2) of an absolute path as a process sees it whose root directory `root` is: symbolic links,
    /// absolute ones too, and ".." stay below it.
    [[nodiscard]] virtual File open_in_root(const File& root, const std::string& path, int flags);
    /// An unnamed file in `directory` (O_TMPFILE), read-write, mode 0600. Nothing when the file system has
    /// none (a refusal; ENOENT on old kernels).
    [[nodiscard]] virtual std::optional<File> open_unnamed(const File& directory);
    /// The same file once more, for reading past the page cache (O_DIRECT). Nothing where that cannot be had.
    [[nodiscard]] virtual std::optional<File> reopen_direct(const File& file);
    /// Reads of `file`, of which `depth` can be under way at once where the kernel can do that (see
    /// kernel_reads). The file outlives them.
    [[nodiscard]] virtual std::unique_ptr<ReadQueue> read_queue(const File& file, unsigned depth);
    /// close(2), checked: on NFS it may bring a write error to light.
    virtual void close(File file);

    // Data. The vectors hold at most IOV_MAX entries.

    /// Bytes read at `offset`; less than asked only at the end of the file or for a signal, 0 at the end.
    [[nodiscard]] virtual std::size_t read_at(const File& file, std::span<const iovec> into,
                                              std::uint64_t offset);
    /// Bytes written at `offset`: fewer than there are for a signal or little room, 0 from a broken file
    /// system.
    [[nodiscard]] virtual std::size_t write_at(const File& file, std::span<const iovec> from,
                                               std::uint64_t offset);
    /// copy_file_range(2): bytes copied, which share their room on the disk where the file system can do
    /// that; fewer than asked for at any time, 0 at the end of `from`. Nothing when it cannot be had (a
    /// refusal).
    [[nodiscard]] virtual std::optional<std::size_t> copy_range(const File& from, std::uint64_t from_offset,
                                                                const File& to, std::uint64_t to_offset,
                                                                std::size_t size_bytes);
    /// FIDEDUPERANGE of ioctl_fideduperange(2): where both ranges have the same content, as the kernel finds
    /// by comparing them, that of `to` takes the blocks of `from` from now on. No content changes, and no
    /// time. `to` may be open for reading only, by its owner or root.
    [[nodiscard]] virtual BlockSharing share_range(const File& from, std::uint64_t from_offset,
                                                   const File& to, std::uint64_t to_offset,
                                                   std::uint64_t size_bytes);
    /// FS_IOC_FIEMAP: what stands where of the range, ascending, without holes. At most some hundred extents,
    /// so the range may go on behind the last of them; none when it is a hole, or cannot be found out.
    [[nodiscard]] virtual std::vector<DeviceExtent> extents(const File& file, std::uint64_t offset,
                                                            std::uint64_t length);
    virtual void truncate(const File& file, std::uint64_t size_bytes);
    /// fsync(2), of a file or of a directory.
    virtual void sync(const File& file);
    /// Starts writing a range out and, with `wait`, waits until what was started in it is on the device
    /// (sync_file_range(2)). A hint: file systems without it do nothing.
    virtual void push_out(const File& file, std::uint64_t offset, std::uint64_t length, bool wait);
    /// posix_fadvise(2). A hint: failures are ignored.
    virtual void advise(const File& file, std::uint64_t offset, std::uint64_t length, int advice);
    /// lseek(2): from `offset` on, the first byte of data (SEEK_DATA) or of a hole (SEEK_HOLE), or the end
    /// (SEEK_END). Nothing when there is none, which is ENXIO.
    [[nodiscard]] virtual std::optional<std::uint64_t> seek(const File& file, std::uint64_t offset,
                                                            int whence);
    /// Gives the room of a range back to the file system (fallocate(2), FALLOC_FL_PUNCH_HOLE); it reads as
    /// zeros then. A hint: failures are ignored.
    virtual void discard(const File& file, std::uint64_t offset, std::uint64_t length);

    // What is there.

    [[nodiscard]] virtual struct stat status(const File& file);
    /// fstatat(2) of an entry, a symbolic link itself included. Nothing when there is none.
    [[nodiscard]] virtual std::optional<struct stat> status_at(const File& directory,
                                                               const std::string& name);
    /// The absolute path of an open file or directory, as /proc has it now: without symbolic links.
    [[nodiscard]] virtual std::string real_path(const File& file);
    /// What a symbolic link points at; nothing when there is no such entry, or it is something else.
    [[nodiscard]] virtual std::optional<std::string> read_link(const File& directory,
                                                               const std::string& name);
    /// All 0 where the file system does not report it.
    [[nodiscard]] virtual struct statvfs space(const File& file);
    /// The f_type of statfs(2), for example NFS_SUPER_MAGIC; 0 where the file system does not report it.
    [[nodiscard]] virtual std::uint64_t type(const File& file);
    /// The FS_*_FL inode flags; 0 where the file system has none, or does not tell them.
    [[nodiscard]] virtual unsigned inode_flags(const File& file);
    /// Names in a directory but "." and "..", in no order.
    [[nodiscard]] virtual std::vector<std::string> entries(const File& directory);

    // Metadata.

    virtual void change_mode(const File& file, mode_t mode);
    virtual void change_owner(const File& file, uid_t owner, gid_t group);
    virtual void set_modified(const File& file, timespec modified);
    /// Names of all extended attributes; none where the file system has none.
    [[nodiscard]] virtual std::vector<std::string> attribute_names(const File& file);
    /// Nothing when the attribute is not there, or the file system has none.
    [[nodiscard]] virtual std::optional<std::string> attribute(const File& file, const std::string& name);
    virtual void set_attribute(const File& file, const std::string& name, const std::string& value);
    virtual void remove_attribute(const File& file, const std::string& name);

    // Names.

    /// Gives an unnamed file a name; fails with EEXIST when the name is taken.
    virtual void link_unnamed(const File& file, const File& directory, const std::string& name);
    /// A second name for an entry of the same directory; fails with EEXIST when `to` is taken. False when it
    /// cannot be had for any other reason: some file systems without hard links call that EIO.
    [[nodiscard]] virtual bool link(const File& directory, const std::string& from, const std::string& to);
    /// symlink(2); fails with EEXIST when `name` is taken.
    virtual void make_link(const std::string& target, const File& directory, const std::string& name);
    /// rename(2) within one directory; replaces `to`.
    virtual void rename(const File& directory, const std::string& from, const std::string& to);
    /// renameat2(2) with RENAME_EXCHANGE. False where there is no such thing (a refusal).
    [[nodiscard]] virtual bool exchange(const File& directory, const std::string& a, const std::string& b);
    /// False when there is no such entry.
    virtual bool unlink(const File& directory, const std::string& name);
    /// True when it was made, false when it was there already.
    virtual bool make_directory(const std::string& path, mode_t mode);
    /// flock(2), exclusive, without waiting: false when somebody else has it. Gone with the descriptor.
    [[nodiscard]] virtual bool try_lock(const File& file);
    /// A read lease of fcntl(2) on `file`, which is open for reading only: as long as it is held, whoever
    /// opens the file for writing or truncates it waits, at most for the 45 s of
    /// /proc/sys/fs/lease-break-time, and the lease is wanted. Readers are not affected. Gone with the
    /// descriptor. Failures are `unavailable`; whether `open_for_writing` can be believed depends on the file
    /// system: see tells_writers() in io/storage.hpp.
    [[nodiscard]] virtual Lease try_lease(const File& file);
    /// Whether somebody waits, or has waited, for the end of a lease that was held.
    [[nodiscard]] virtual bool is_lease_wanted(const File& file);
    /// Ends a lease that is held. Failures are ignored: the kernel takes it back after the time above.
    virtual void end_lease(const File& file);
};

/// fsync(2) as far as the file system knows it for what `file` is: a refusal is no error. For directories,
/// whose fsync some network and FUSE file systems do not have, because they have nothing to write out.
void sync_where_known(FileSystem& fs, const File& file);

/// Reads exactly the bytes at `offset`; fewer only where the file ends. Returns how many.
[[nodiscard]] std::size_t read_fully_at(FileSystem& fs, const File& file, std::span<std::byte> into,
                                        std::uint64_t offset);

/// Bytes of a file that may be other than zero: `end` is the first behind them.
struct DataRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

/// The first range of data at or behind `offset`, as far as it is below `size_bytes`; nothing when there are
/// only holes. Where holes cannot be told, as on block devices, all that is left is one range.
[[nodiscard]] std::optional<DataRange> next_data(FileSystem& fs, const File& file, std::uint64_t offset,
                                                 std::uint64_t size_bytes);

/// Writes all of `from` at `offset`. Throws what write_at() throws, and throw_nothing_written(). The iovecs
/// are used up (changed) on the way.
void write_fully_at(FileSystem& fs, const File& file, std::span<iovec> from, std::uint64_t offset);

}  // namespace vmad::io
