// powerdisk: shows a file as a disk whose power can be cut.
//
//     powerdisk FILE MOUNT_POINT
//
// MOUNT_POINT/disk is the disk, for a loop device: it has a volatile cache, as real ones do. What is written
// is durable, in FILE, when the disk is flushed after (fsync). Who writes a number into MOUNT_POINT/cut cuts
// the power: of what was not flushed each block of 4 KiB is written or lost, as chance has it with that
// number for a seed, and whoever writes or flushes from then on gets an I/O error. Goes on in the background
// until it is unmounted.
#define FUSE_USE_VERSION 31

#include <fcntl.h>
#include <fuse.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::uint64_t kBlockBytes = 4096;
constexpr std::string_view kDisk = "/disk";
constexpr std::string_view kCut = "/cut";

using Block = std::vector<char>;

/// The file, and what was written to it and not flushed.
class Disk {
  public:
    bool open(const char* path) {
        file_ = ::open(path, O_RDWR | O_CLOEXEC);
        struct stat status {};
        if (file_ < 0 || ::fstat(file_, &status) != 0) return false;
        size_ = static_cast<std::uint64_t>(status.st_size);
        return size_ % kBlockBytes == 0;
    }
    [[nodiscard]] std::uint64_t size() const { return size_; }

    int read(char* into, std::uint64_t count, std::uint64_t offset) {
        const std::lock_guard lock(mutex_);
        return each_block(count, offset, [&](std::uint64_t number, std::uint64_t within, std::uint64_t size) {
            const auto found = cache_.find(number);
            if (found != cache_.end())
                std::memcpy(into, found->second.data() + within, size);
            else if (!read_file(into, size, number * kBlockBytes + within))
                return false;
            into += size;
            return true;
        });
    }

    int write(const char* from, std::uint64_t count, std::uint64_t offset) {
        const std::lock_guard lock(mutex_);
        if (is_off_) return -EIO;
        return each_block(count, offset, [&](std::uint64_t number, std::uint64_t within, std::uint64_t size) {
            const auto [block, is_new] = cache_.try_emplace(number, kBlockBytes);
            const bool is_part = size < kBlockBytes;
            if (is_new && is_part && !read_file(block->second.data(), kBlockBytes, number * kBlockBytes))
                return false;
            std::memcpy(block->second.data() + within, from, size);
            from += size;
            return true;
        });
    }

    int flush() {
        const std::lock_guard lock(mutex_);
        if (is_off_) return -EIO;
        for (const auto& [number, block] : cache_)
            if (!write_file(block, number)) return -EIO;
        cache_.clear();
        return 0;
    }

    int cut(std::uint64_t seed) {
        const std::lock_guard lock(mutex_);
        is_off_ = true;
        std::mt19937_64 random(seed);
        // Between nothing of it and all, each time another share.
        const auto share = random() % 101;
        for (const auto& [number, block] : cache_)
            if (random() % 100 < share && !write_file(block, number)) return -EIO;
        cache_.clear();
        return 0;
    }

  private:
    template <typename Use>
    int each_block(std::uint64_t count, std::uint64_t offset, Use use) const {
        count = std::min(count, size_ - std::min(offset, size_));
        for (std::uint64_t done = 0; done < count;) {
            const auto number = (offset + done) / kBlockBytes;
            const auto within = (offset + done) % kBlockBytes;
            const auto size = std::min(kBlockBytes - within, count - done);
            if (!use(number, within, size)) return -EIO;
            done += size;
        }
        return static_cast<int>(count);
    }
    [[nodiscard]] bool read_file(char* into, std::uint64_t count, std::uint64_t offset) const {
        return ::pread(file_, into, count, static_cast<off_t>(offset)) == static_cast<ssize_t>(count);
    }
    [[nodiscard]] bool write_file(const Block& block, std::uint64_t number) const {
        return ::pwrite(file_, block.data(), block.size(), static_cast<off_t>(number * kBlockBytes)) ==
               static_cast<ssize_t>(block.size());
    }

    std::mutex mutex_;
    int file_ = -1;
    std::uint64_t size_ = 0;
    std::map<std::uint64_t, Block> cache_;
    bool is_off_ = false;
};

Disk disk;

int get_attributes(const char* path, struct stat* into, fuse_file_info*) {
    *into = {};
    into->st_nlink = 1;
    into->st_mode = S_IFREG | 0600;
    if (path == std::string_view("/")) {
        into->st_mode = S_IFDIR | 0700;
    } else if (path == kDisk) {
        into->st_size = static_cast<off_t>(disk.size());
    } else if (path != kCut) {
        return -ENOENT;
    }
    return 0;
}

int open_file(const char* path, fuse_file_info* info) {
    info->direct_io = 1;  // what the kernel would keep is no disk's
    return path == kDisk || path == kCut ? 0 : -ENOENT;
}

int read_file(const char* path, char* into, std::size_t count, off_t offset, fuse_file_info*) {
    return path == kDisk ? disk.read(into, count, static_cast<std::uint64_t>(offset)) : 0;
}

int write_file(const char* path, const char* from, std::size_t count, off_t offset, fuse_file_info*) {
    if (path == kDisk) return disk.write(from, count, static_cast<std::uint64_t>(offset));
    const int result = disk.cut(std::strtoull(std::string(from, count).c_str(), nullptr, 10));
    return result == 0 ? static_cast<int>(count) : result;
}

int sync_file(const char* path, int, fuse_file_info*) { return path == kDisk ? disk.flush() : 0; }

int truncate_file(const char* path, off_t, fuse_file_info*) { return path == kCut ? 0 : -EPERM; }

fuse_operations operations() {
    fuse_operations all{};
    all.getattr = get_attributes;
    all.open = open_file;
    all.read = read_file;
    all.write = write_file;
    all.fsync = sync_file;
    all.truncate = truncate_file;
    return all;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: powerdisk FILE MOUNT_POINT\n");
        return 2;
    }
    if (!disk.open(argv[1])) {
        std::fprintf(stderr, "powerdisk: %s is no file of whole blocks\n", argv[1]);
        return 1;
    }
    char mount_options[] = "fsname=powerdisk,subtype=powerdisk";
    char dash_o[] = "-o";
    char* arguments[] = {argv[0], argv[2], dash_o, mount_options, nullptr};
    const auto all = operations();
    return fuse_main(4, arguments, &all, nullptr);
}
