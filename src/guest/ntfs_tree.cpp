#include "guest/ntfs_tree.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include <fmt/format.h>

// The library's headers know no C++, and define two words as macros.
extern "C" {
#include <ntfs-3g/attrib.h>
#include <ntfs-3g/device.h>
#include <ntfs-3g/dir.h>
#include <ntfs-3g/inode.h>
#include <ntfs-3g/logging.h>
#include <ntfs-3g/ntfstime.h>
#include <ntfs-3g/reparse.h>
#include <ntfs-3g/unistr.h>
#include <ntfs-3g/volume.h>
}
#undef min
#undef max

namespace vmad::guest {
namespace {

constexpr std::int64_t kPieceBytes = 1 << 20;  // that are read of a file at once

/// What libntfs-3g reads through. What `read` throws waits here while it is told of an error.
struct Device {
    const Volume& volume;
    std::exception_ptr error{};
    s64 position = 0;
};

Device& device_of(ntfs_device* device) { return *static_cast<Device*>(device->d_private); }

int fail(int error_number) {
    errno = error_number;
    return -1;
}

int open_device(ntfs_device* device, int /*flags*/) {
    NDevSetReadOnly(device);
    return 0;
}
int do_nothing(ntfs_device* /*device*/) { return 0; }

s64 read_at(ntfs_device* device, void* data, s64 count, s64 offset) {
    auto& [volume, error, position] = device_of(device);
    const auto total = static_cast<s64>(volume.bytes);
    if (offset < 0 || count < 0 || offset > total) return fail(EINVAL);
    const auto bytes = std::min(count, total - offset);
    try {
        volume.read(static_cast<std::uint64_t>(offset),
                    {static_cast<std::byte*>(data), static_cast<std::size_t>(bytes)});
        return bytes;
    } catch (...) {
        error = std::current_exception();
        return fail(EIO);
    }
}

s64 seek(ntfs_device* device, s64 offset, int whence) {
    auto& state = device_of(device);
    if (whence == SEEK_CUR) offset += state.position;
    if (whence == SEEK_END) offset += static_cast<s64>(state.volume.bytes);
    return state.position = offset;
}

s64 read_next(ntfs_device* device, void* data, s64 count) {
    const auto bytes = read_at(device, data, count, device_of(device).position);
    if (bytes > 0) device_of(device).position += bytes;
    return bytes;
}

s64 refuse_write(ntfs_device* /*device*/, const void* /*data*/, s64 /*count*/) { return fail(EROFS); }
s64 refuse_write_at(ntfs_device* /*device*/, const void* /*data*/, s64 /*count*/, s64 /*offset*/) {
    return fail(EROFS);
}

int status_of_device(ntfs_device* device, struct stat* status) {
    *status = {};
    status->st_mode = S_IFREG | 0400;
    status->st_size = static_cast<off_t>(device_of(device).volume.bytes);
    return 0;
}

int refuse_control(ntfs_device* /*device*/, unsigned long /*request*/, void* /*argument*/) {
    return fail(EOPNOTSUPP);
}

ntfs_device_operations* operations() {
    static ntfs_device_operations all{.open = open_device,
                                      .close = do_nothing,
                                      .seek = seek,
                                      .read = read_next,
                                      .write = refuse_write,
                                      .pread = read_at,
                                      .pwrite = refuse_write_at,
                                      .sync = do_nothing,
                                      .stat = status_of_device,
                                      .ioctl = refuse_control};
    return &all;
}

struct VolumeDeleter {
    void operator()(ntfs_volume* volume) const noexcept { ::ntfs_umount(volume, TRUE); }
};
struct InodeDeleter {
    void operator()(ntfs_inode* inode) const noexcept { ::ntfs_inode_close(inode); }
};
struct AttributeDeleter {
    void operator()(ntfs_attr* attribute) const noexcept { ::ntfs_attr_close(attribute); }
};
struct Free {
    void operator()(char* text) const noexcept { std::free(text); }
};
using Inode = std::unique_ptr<ntfs_inode, InodeDeleter>;
using Text = std::unique_ptr<char, Free>;

bool is_reparse_point(const ntfs_inode& inode) { return (inode.flags & FILE_ATTR_REPARSE_POINT) != 0; }

/// What a directory is read into, by a callback that must not throw.
struct Listing {
    std::function<void(std::string name, std::uint64_t inode)> add;
    std::exception_ptr error{};
};

int add_name(void* data, const ntfschar* name, const int length, const int name_type, const s64 /*position*/,
             const MFT_REF reference, const unsigned /*type*/) {
    auto& listing = *static_cast<Listing*>(data);
    const auto number = MREF(reference);
    // Short names are second ones; the first inodes are the file system's own.
    if (name_type == FILE_NAME_DOS || number < FILE_first_user) return 0;
    try {
        char* out = nullptr;
        const auto bytes = ::ntfs_ucstombs(name, length, &out, 0);
        const Text text(out);
        if (bytes < 0) throw base::Error("the directory is damaged: it has a name that is no text");
        listing.add({out, static_cast<std::size_t>(bytes)}, number);
        return 0;
    } catch (...) {
        listing.error = std::current_exception();
        return -1;
    }
}

class NtfsTree final : public VolumeTree {
  public:
    explicit NtfsTree(const Volume& volume) : device_{volume} {
        ::ntfs_log_set_handler(::ntfs_log_handler_null);
        (void)::ntfs_set_char_encoding("C.UTF-8");
        auto* device = ::ntfs_device_alloc("disk", 0, operations(), &device_);
        if (device == nullptr) throw std::bad_alloc();
        volume_.reset(
            ::ntfs_device_mount(device, NTFS_MNT_RDONLY | NTFS_MNT_FORENSIC | NTFS_MNT_IGNORE_HIBERFILE));
        if (!volume_) {
            const auto number = errno;
            ::ntfs_device_free(device);
            fail_with(number);
        }
        // It also makes the library write all names in lower case: only find() wants it.
        ignores_case_ = ::ntfs_set_ignore_case(volume_.get()) == 0;
        NVolSetCaseSensitive(volume_.get());
    }

    [[nodiscard]] std::string warning() const override {
        return (volume_->flags & VOLUME_IS_DIRTY) != 0
                   ? "the file system was in use, and its log is not replayed: the changes of the last "
                     "seconds before the backup may be missing or incomplete"
                   : "";
    }

    [[nodiscard]] std::uint64_t find(const std::string& path) override {
        errno = 0;
        if (ignores_case_) NVolClearCaseSensitive(volume_.get());
        const Inode inode(::ntfs_pathname_to_inode(volume_.get(), nullptr, path.c_str()));
        NVolSetCaseSensitive(volume_.get());
        if (inode) return inode->mft_no;
        if (!device_.error && errno == ENOENT) throw NoSuchFile();
        if (!device_.error && errno == ENOTDIR) throw base::Error("not a directory");
        fail_with(errno);
    }

    [[nodiscard]] FileStatus status(std::uint64_t number) override {
        const auto inode = open(number);
        FileStatus status;
        const bool is_directory = (inode->mrec->flags & MFT_RECORD_IS_DIRECTORY) != 0;
        status.type = is_reparse_point(*inode) ? (target_of(*inode) ? FileType::link : FileType::other)
                      : is_directory           ? FileType::directory
                                               : FileType::file;
        status.mode = is_directory ? 0755 : 0644;
        status.links = inode->mrec->link_count;
        status.size_bytes = status.type == FileType::file
                                ? static_cast<std::uint64_t>(std::max<s64>(inode->data_size, 0))
                                : 0;
        const auto time = ::ntfs2timespec(inode->last_data_change_time);
        status.modified = time.tv_sec;
        status.modified_nanoseconds =
            static_cast<std::uint32_t>(std::clamp<long>(time.tv_nsec, 0, 999'999'999));
        return status;
    }

    [[nodiscard]] std::string link_target(std::uint64_t number) override {
        const auto target = target_of(*open(number));
        if (!target) throw base::Error("the symbolic link is damaged");
        return target.get();
    }

    [[nodiscard]] std::vector<DirectoryEntry> entries(std::uint64_t number) override {
        const auto inode = open(number);
        std::vector<DirectoryEntry> found;
        Listing listing{
            [&](std::string name, std::uint64_t child) { add_entry(found, std::move(name), child); }};
        s64 position = 0;
        const auto result = ::ntfs_readdir(inode.get(), &position, &listing, add_name);
        if (listing.error) std::rethrow_exception(listing.error);
        if (result != 0) fail_with(errno);
        return found;
    }

    void read(std::uint64_t number, const Sink& sink) override {
        const auto inode = open(number);
        if ((inode->flags & FILE_ATTR_ENCRYPTED) != 0)
            throw base::Unsupported("it is encrypted by the guest");
        const std::unique_ptr<ntfs_attr, AttributeDeleter> data(
            ::ntfs_attr_open(inode.get(), AT_DATA, AT_UNNAMED, 0));
        if (!data) fail_with(errno);
        std::vector<std::byte> piece(static_cast<std::size_t>(std::min(data->data_size, kPieceBytes)));
        for (s64 at = 0; at < data->data_size; at += kPieceBytes) {
            piece.resize(static_cast<std::size_t>(std::min(data->data_size - at, kPieceBytes)));
            const auto wanted = static_cast<s64>(piece.size());
            if (::ntfs_attr_pread(data.get(), at, wanted, piece.data()) != wanted) fail_with(errno);
            if (std::any_of(piece.begin(), piece.end(), [](std::byte byte) { return byte != std::byte{0}; }))
                sink(static_cast<std::uint64_t>(at), piece);
        }
    }

  private:
    [[noreturn]] void fail_with(int error_number) {
        if (device_.error) std::rethrow_exception(std::exchange(device_.error, nullptr));
        throw base::Error(fmt::format("the file system is damaged: {}", std::strerror(error_number)));
    }

    Inode open(std::uint64_t number) {
        Inode inode(::ntfs_inode_open(volume_.get(), number));
        if (!inode) fail_with(errno);
        return inode;
    }

    /// Of a symbolic link or a junction within the volume; null of another reparse point.
    static Text target_of(ntfs_inode& inode) {
        return Text(is_reparse_point(inode) ? ::ntfs_make_symlink(&inode, "") : nullptr);
    }

    Device device_;
    std::unique_ptr<ntfs_volume, VolumeDeleter> volume_;
    bool ignores_case_ = false;
};

}  // namespace

std::unique_ptr<VolumeTree> open_ntfs_tree(const Volume& volume) {
    return std::make_unique<NtfsTree>(volume);
}

}  // namespace vmad::guest
