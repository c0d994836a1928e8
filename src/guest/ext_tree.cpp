#include "guest/ext_tree.hpp"

#include <ext2fs/ext2fs.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

namespace vmad::guest {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;  // that are read of a file at once
constexpr std::size_t kMaxTargetBytes = 4096;

/// What libext2fs reads through. What `read` throws waits here while it is told of an error.
struct Channel {
    const Volume& volume;
    std::exception_ptr error{};
    struct_io_channel io{};
};

Channel& channel_of(io_channel io) { return *static_cast<Channel*>(io->private_data); }

/// Which one is being opened: the library gives open_channel() a name, and nothing else.
thread_local Channel* opening = nullptr;

errcode_t open_channel(const char* /*name*/, int /*flags*/, io_channel* io);
errcode_t close_channel(io_channel /*io*/) { return 0; }

errcode_t set_block_size(io_channel io, int block_size) {
    io->block_size = block_size;
    return 0;
}

/// A negative count is one of bytes.
errcode_t read_blocks(io_channel io, unsigned long long block, int count, void* data) {
    auto& channel = channel_of(io);
    const auto block_bytes = static_cast<std::uint64_t>(io->block_size);
    const auto bytes = count < 0 ? static_cast<std::uint64_t>(-std::int64_t{count})
                                 : static_cast<std::uint64_t>(count) * block_bytes;
    const auto total = channel.volume.bytes;
    if (block > total / block_bytes || bytes > total - block * block_bytes) return EXT2_ET_SHORT_READ;
    try {
        channel.volume.read(block * block_bytes, {static_cast<std::byte*>(data), bytes});
        return 0;
    } catch (...) {
        channel.error = std::current_exception();
        return EXT2_ET_SHORT_READ;
    }
}

errcode_t read_blocks_by_32_bits(io_channel io, unsigned long block, int count, void* data) {
    return read_blocks(io, block, count, data);
}

errcode_t refuse_write(io_channel /*io*/, unsigned long long /*block*/, int /*count*/, const void* /*data*/) {
    return EXT2_ET_RO_FILSYS;
}

errcode_t refuse_write_by_32_bits(io_channel /*io*/, unsigned long /*block*/, int /*count*/,
                                  const void* /*data*/) {
    return EXT2_ET_RO_FILSYS;
}

errcode_t flush(io_channel /*io*/) { return 0; }

struct_io_manager make_manager() {
    struct_io_manager manager{};
    manager.magic = EXT2_ET_MAGIC_IO_MANAGER;
    manager.name = "vmad";
    manager.open = open_channel;
    manager.close = close_channel;
    manager.set_blksize = set_block_size;
    manager.read_blk = read_blocks_by_32_bits;
    manager.read_blk64 = read_blocks;
    manager.write_blk = refuse_write_by_32_bits;
    manager.write_blk64 = refuse_write;
    manager.flush = flush;
    return manager;
}

io_manager manager() {
    static struct_io_manager one = make_manager();
    return &one;
}

errcode_t open_channel(const char* /*name*/, int /*flags*/, io_channel* io) {
    auto* const channel = opening;
    channel->io.magic = EXT2_ET_MAGIC_IO_CHANNEL;
    channel->io.manager = manager();
    channel->io.block_size = 1024;
    channel->io.refcount = 1;
    channel->io.private_data = channel;
    *io = &channel->io;
    return 0;
}

struct FilesystemDeleter {
    void operator()(ext2_filsys fs) const noexcept { ::ext2fs_free(fs); }
};
struct ExtentDeleter {
    void operator()(ext2_extent_handle_t extents) const noexcept { ::ext2fs_extent_free(extents); }
};

/// Reads runs of blocks of a file, and gives what lies within its size.
class RunReader {
  public:
    RunReader(const Volume& volume, unsigned block_bytes, std::uint64_t size, const VolumeTree::Sink& sink)
        : volume_(volume), block_bytes_(block_bytes), size_(size), sink_(sink) {}

    /// `count` blocks of the file from `logical` on stand at `physical`. Gathers what stands together.
    void add(std::uint64_t logical, std::uint64_t physical, std::uint64_t count) {
        if (count_ > 0 && logical < logical_ + count_) throw base::Error("its blocks are in disorder");
        if (logical == logical_ + count_ && physical == physical_ + count_ && count_ > 0) {
            count_ += count;
            return;
        }
        flush();
        logical_ = logical;
        physical_ = physical;
        count_ = count;
    }

    void flush() {
        const auto begin = logical_ * block_bytes_;
        const auto end = std::min(size_, begin + count_ * block_bytes_);
        for (auto at = begin; at < end; at += kPieceBytes)
            give(at, physical_ * block_bytes_ + (at - begin), std::min(kPieceBytes, end - at));
    }

  private:
    void give(std::uint64_t offset, std::uint64_t from, std::uint64_t bytes) {
        if (from > volume_.bytes || bytes > volume_.bytes - from)
            throw base::Error("its blocks lie behind the end of the volume");
        piece_.resize(bytes);
        volume_.read(from, piece_);
        sink_(offset, piece_);
    }

    const Volume& volume_;
    std::uint64_t block_bytes_;
    std::uint64_t size_;
    const VolumeTree::Sink& sink_;
    std::vector<std::byte> piece_;
    std::uint64_t logical_ = 0;
    std::uint64_t physical_ = 0;
    std::uint64_t count_ = 0;
};

/// An object that a callback of the library works for, which must not throw.
template <typename Work>
struct Callback {
    Work work;
    std::exception_ptr error{};

    /// 0, or what the library takes as the wish to stop.
    template <typename... Arguments>
    int call(int stop, Arguments... arguments) noexcept {
        try {
            work(arguments...);
            return 0;
        } catch (...) {
            error = std::current_exception();
            return stop;
        }
    }
    void rethrow() const {
        if (error) std::rethrow_exception(error);
    }
};

FileType type_of(std::uint16_t mode) {
    switch (mode & LINUX_S_IFMT) {
        case LINUX_S_IFREG:
            return FileType::file;
        case LINUX_S_IFDIR:
            return FileType::directory;
        case LINUX_S_IFLNK:
            return FileType::link;
        case LINUX_S_IFCHR:
            return FileType::character_device;
        case LINUX_S_IFBLK:
            return FileType::block_device;
        case LINUX_S_IFIFO:
            return FileType::fifo;
        case LINUX_S_IFSOCK:
            return FileType::socket;
        default:
            return FileType::other;
    }
}

/// As the kernel's old_decode_dev() and new_decode_dev().
void set_device(FileStatus& status, const ext2_inode_large& inode) {
    const auto old_number = inode.i_block[0];
    const auto number = inode.i_block[1];
    status.device_major = old_number != 0 ? (old_number >> 8) & 0xff : (number >> 8) & 0xfff;
    status.device_minor = old_number != 0 ? old_number & 0xff : (number & 0xff) | ((number >> 12) & 0xfff00);
}

class ExtTree final : public VolumeTree {
  public:
    explicit ExtTree(const Volume& volume) : channel_{volume} {
        ::initialize_ext2_error_table();
        ext2_filsys fs = nullptr;
        opening = &channel_;
        check(::ext2fs_open2("disk", nullptr, EXT2_FLAG_64BITS, 0, 0, manager(), &fs));
        fs_.reset(fs);
    }

    [[nodiscard]] std::string warning() const override {
        return ext2fs_has_feature_journal_needs_recovery(fs_->super) != 0
                   ? "the file system was in use, and its journal is not replayed: the changes of the last "
                     "seconds before the backup may be missing or incomplete"
                   : "";
    }

    [[nodiscard]] std::uint64_t find(const std::string& path) override {
        ext2_ino_t inode = 0;
        const auto code =
            ::ext2fs_namei_follow(fs_.get(), EXT2_ROOT_INO, EXT2_ROOT_INO, path.c_str(), &inode);
        if (code == EXT2_ET_FILE_NOT_FOUND && !channel_.error) throw NoSuchFile();
        if (code == EXT2_ET_NO_DIRECTORY) throw base::Error("not a directory");
        check(code);
        return inode;
    }

    [[nodiscard]] FileStatus status(std::uint64_t number) override {
        const auto inode = inode_of(number);
        FileStatus status;
        status.type = type_of(inode.i_mode);
        status.mode = inode.i_mode & 07777U;
        status.owner = inode_uid(inode);
        status.group = inode_gid(inode);
        status.links = inode.i_links_count;
        status.size_bytes = EXT2_I_SIZE(&inode);
        status.modified = static_cast<std::int32_t>(inode.i_mtime);
        constexpr auto kExtraEnd =
            offsetof(ext2_inode_large, i_mtime_extra) + 4 - std::size_t{EXT2_GOOD_OLD_INODE_SIZE};
        if (EXT2_INODE_SIZE(fs_->super) > EXT2_GOOD_OLD_INODE_SIZE && inode.i_extra_isize >= kExtraEnd) {
            status.modified += std::int64_t{inode.i_mtime_extra & EXT4_EPOCH_MASK} << 32;
            status.modified_nanoseconds = std::min(inode.i_mtime_extra >> EXT4_EPOCH_BITS, 999'999'999U);
        }
        if (status.type == FileType::character_device || status.type == FileType::block_device)
            set_device(status, inode);
        return status;
    }

    [[nodiscard]] std::string link_target(std::uint64_t number) override {
        auto inode = inode_of(number);
        const auto size = EXT2_I_SIZE(&inode);
        if (size == 0 || size >= kMaxTargetBytes) throw base::Error("the symbolic link is damaged");
        std::string target(size, '\0');
        if (::ext2fs_is_fast_symlink(reinterpret_cast<ext2_inode*>(&inode)) != 0)
            std::memcpy(target.data(), inode.i_block, std::min(target.size(), sizeof inode.i_block));
        else
            read(number, [&](std::uint64_t offset, std::span<const std::byte> data) {
                std::memcpy(&target[offset], data.data(), data.size());
            });
        return target;
    }

    [[nodiscard]] std::vector<DirectoryEntry> entries(std::uint64_t number) override {
        std::vector<DirectoryEntry> found;
        const auto add = [&](ext2_dir_entry* entry) {
            const auto length = static_cast<std::size_t>(ext2fs_dirent_name_len(entry));
            add_entry(found, std::string(entry->name, length), entry->inode);
        };
        Callback<decltype(add)> callback{add};
        const auto code = ::ext2fs_dir_iterate2(
            fs_.get(), inode_number(number), 0, nullptr,
            [](ext2_ino_t /*dir*/, int /*kind*/, ext2_dir_entry* entry, int /*offset*/, int /*size*/,
               char* /*buffer*/,
               void* data) { return static_cast<decltype(callback)*>(data)->call(DIRENT_ABORT, entry); },
            &callback);
        callback.rethrow();
        check(code);
        return found;
    }

    void read(std::uint64_t number, const Sink& sink) override {
        auto inode = inode_of(number);
        if ((inode.i_flags & EXT4_ENCRYPT_FL) != 0) throw base::Unsupported("it is encrypted by the guest");
        if ((inode.i_flags & EXT4_INLINE_DATA_FL) != 0) return read_inline(number, inode, sink);
        RunReader runs(channel_.volume, fs_->blocksize, EXT2_I_SIZE(&inode), sink);
        if ((inode.i_flags & EXT4_EXTENTS_FL) != 0)
            read_extents(number, runs);
        else
            read_mapped(number, runs);
        runs.flush();
    }

  private:
    void check(errcode_t code) {
        if (channel_.error) std::rethrow_exception(std::exchange(channel_.error, nullptr));
        if (code != 0)
            throw base::Error(fmt::format("the file system is damaged: {}", ::error_message(code)));
    }

    static ext2_ino_t inode_number(std::uint64_t number) { return static_cast<ext2_ino_t>(number); }

    ext2_inode_large inode_of(std::uint64_t number) {
        ext2_inode_large inode{};
        check(::ext2fs_read_inode_full(fs_.get(), inode_number(number), reinterpret_cast<ext2_inode*>(&inode),
                                       sizeof inode));
        return inode;
    }

    void read_inline(std::uint64_t number, const ext2_inode_large& inode, const Sink& sink) {
        std::size_t size = 0;
        check(::ext2fs_inline_data_size(fs_.get(), inode_number(number), &size));
        std::vector<std::byte> data(size);
        check(::ext2fs_inline_data_get(fs_.get(), inode_number(number), nullptr, data.data(), &size));
        data.resize(std::min<std::uint64_t>(data.size(), EXT2_I_SIZE(&inode)));
        sink(0, data);
    }

    void read_extents(std::uint64_t number, RunReader& runs) {
        ext2_extent_handle_t handle = nullptr;
        check(::ext2fs_extent_open(fs_.get(), inode_number(number), &handle));
        const std::unique_ptr<ext2_extent_handle, ExtentDeleter> extents(handle);
        ext2fs_extent extent{};
        std::uint64_t end = 0;  // of those so far; a tree whose nodes are their own children has none
        for (int step = EXT2_EXTENT_ROOT;; step = EXT2_EXTENT_NEXT) {
            const auto code = ::ext2fs_extent_get(handle, step, &extent);
            if (code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE) break;
            check(code);
            if ((extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) == 0) continue;
            if (extent.e_lblk < end || extent.e_len == 0) throw base::Error("its blocks are in disorder");
            end = extent.e_lblk + extent.e_len;
            if ((extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT) == 0)
                runs.add(extent.e_lblk, extent.e_pblk, extent.e_len);
        }
    }

    void read_mapped(std::uint64_t number, RunReader& runs) {
        const auto add = [&](const blk64_t* block, e2_blkcnt_t logical) {
            runs.add(static_cast<std::uint64_t>(logical), *block, 1);
        };
        Callback<decltype(add)> callback{add};
        const auto code = ::ext2fs_block_iterate3(
            fs_.get(), inode_number(number), BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY, nullptr,
            [](ext2_filsys /*fs*/, blk64_t* block, e2_blkcnt_t logical, blk64_t /*in*/, int /*offset*/,
               void* data) {
                return static_cast<decltype(callback)*>(data)->call(BLOCK_ABORT, block, logical);
            },
            &callback);
        callback.rethrow();
        check(code);
    }

    Channel channel_;
    std::unique_ptr<std::remove_pointer_t<ext2_filsys>, FilesystemDeleter> fs_;
};

}  // namespace

std::unique_ptr<VolumeTree> open_ext_tree(const Volume& volume) { return std::make_unique<ExtTree>(volume); }

}  // namespace vmad::guest
