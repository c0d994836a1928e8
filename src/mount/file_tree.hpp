// What a mount shows: files and directories by the numbers of their inodes, all of them only to be read.
//
// FuseSession gives it to the kernel; ArchiveTree says what there is. Every method is called by many threads
// at once. A failure is any exception: the reader gets EIO, ENOMEM for want of memory, and the log its text,
// once.
#pragma once

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace vmad::mount {

/// Chosen by the tree. The kernel uses a number as long as it likes, also when what it stood for is gone: it
/// must not come to stand for something else while the mount lives.
using Inode = std::uint64_t;
inline constexpr Inode kRootInode = 1;

struct Attributes {
    Inode inode = kRootInode;
    bool is_directory = false;
    std::uint64_t size_bytes = 0;
    std::uint64_t stored_bytes = 0;  ///< without the holes
    timespec modified{};
    /// How long the kernel may go by them, and by the name that they were found under, without asking again.
    double valid_seconds = 0;
};

struct Entry {
    std::string name;
    Attributes attributes;
};

/// Where a range of a file ends that is data or a hole as a whole.
struct FileRange {
    std::uint64_t end = 0;
    bool stored = true;
};

/// One opening of a file.
class OpenFile {
  public:
    OpenFile() = default;
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    virtual ~OpenFile() = default;

    [[nodiscard]] virtual std::uint64_t size_bytes() const = 0;
    /// [offset, offset + into.size()), which lies within the file.
    virtual void read_at(std::uint64_t offset, std::span<std::byte> into) = 0;
    /// The range that `offset`, below the size, is in. A file without holes leaves it as it is.
    [[nodiscard]] virtual FileRange range_at(std::uint64_t offset);
    /// Whether the next opening has the same content: the kernel keeps in its page cache what it has read. If
    /// not, it keeps nothing, and may read beyond the size that the attributes had.
    [[nodiscard]] virtual bool is_lasting() const { return true; }
};

class FileTree {
  public:
    FileTree() = default;
    FileTree(const FileTree&) = delete;
    FileTree& operator=(const FileTree&) = delete;
    virtual ~FileTree() = default;

    // Nothing, and null, for what is not there, or not any longer.

    [[nodiscard]] virtual std::optional<Attributes> attributes(Inode inode) = 0;
    [[nodiscard]] virtual std::optional<Attributes> find(Inode directory, std::string_view name) = 0;
    /// In the order in which they are listed; without "." and "..".
    [[nodiscard]] virtual std::optional<std::vector<Entry>> entries(Inode directory) = 0;
    /// A file, not a directory.
    [[nodiscard]] virtual std::unique_ptr<OpenFile> open(Inode inode) = 0;
};

/// A file name for a text that may be anything: printable, without a slash, not "." or "..", at most NAME_MAX
/// bytes, and none of `taken`, to which it is added.
[[nodiscard]] std::string file_name_for(std::string_view text, std::vector<std::string>& taken);

}  // namespace vmad::mount
