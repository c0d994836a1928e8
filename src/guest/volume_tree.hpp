// The files on a volume of a guest: names, status and content, read-only.
//
// File systems are read by well-kept libraries, in this process: never by the kernel. These are made to read
// what a kernel wrote, not what an attacker did, so a program confines itself before it opens one
// (guest/confinement). One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "guest/volumes.hpp"

namespace vmad::guest {

/// What a directory can hold. `other` is what only its own system understands.
enum class FileType : std::uint8_t {
    file,
    directory,
    link,
    character_device,
    block_device,
    fifo,
    socket,
    other
};

struct FileStatus {
    FileType type = FileType::other;
    std::uint32_t mode = 0;  ///< permissions, at most 07777
    std::uint32_t owner = 0;
    std::uint32_t group = 0;
    std::uint64_t links = 1;
    std::uint64_t size_bytes = 0;
    std::int64_t modified = 0;  ///< seconds since the epoch
    std::uint32_t modified_nanoseconds = 0;
    std::uint32_t device_major = 0;
    std::uint32_t device_minor = 0;
};

struct DirectoryEntry {
    std::string name;  ///< any bytes but '/' and 0, and neither "." nor ".."
    std::uint64_t inode = 0;
};

/// There is nothing of that name.
class NoSuchFile : public base::Error {
  public:
    NoSuchFile() : Error("no such file or directory") {}
};

/// All functions throw base::Error for what is damaged, and what the volume's `read` throws.
class VolumeTree {
  public:
    /// Takes a part of a file; they come in ascending order, and what is between them is zero.
    using Sink = std::function<void(std::uint64_t offset, std::span<const std::byte> data)>;

    /// `volume` outlives the tree. Throws base::Unsupported, which says what can be done instead.
    [[nodiscard]] static std::unique_ptr<VolumeTree> open(const Volume& volume);
    /// True when open() knows this file system, by libblkid's name.
    [[nodiscard]] static bool can_open(const std::string& file_system);

    VolumeTree() = default;
    VolumeTree(const VolumeTree&) = delete;
    VolumeTree& operator=(const VolumeTree&) = delete;
    virtual ~VolumeTree() = default;

    /// What its reader should know; empty for most.
    [[nodiscard]] virtual std::string warning() const { return {}; }
    /// The inode that an absolute path names; symbolic links are followed, and stay within the tree. Throws
    /// NoSuchFile.
    [[nodiscard]] virtual std::uint64_t find(const std::string& path) = 0;
    [[nodiscard]] virtual FileStatus status(std::uint64_t inode) = 0;
    /// What a symbolic link points at.
    [[nodiscard]] virtual std::string link_target(std::uint64_t inode) = 0;
    /// Of a directory, in no order.
    [[nodiscard]] virtual std::vector<DirectoryEntry> entries(std::uint64_t inode) = 0;
    /// Reads a regular file.
    virtual void read(std::uint64_t inode, const Sink& sink) = 0;

  protected:
    /// Adds an entry, unless it is "." or "..". Throws base::Error for a name that is none, and for a
    /// directory without an end.
    static void add_entry(std::vector<DirectoryEntry>& entries, std::string name, std::uint64_t inode);
};

}  // namespace vmad::guest
