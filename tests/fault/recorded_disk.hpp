// What a power cut may leave of the files that were changed: a disk, and what was done to it so far.
//
// Modelled: written data, lengths, times, permissions and attributes of a file are durable when it was synced
// after; until then each file may have the old ones, the new ones, zeros or a torn mixture by blocks. Changes
// of the names in a directory are durable when the directory was synced after; until then each operation (one
// create, rename, exchange, link or unlink, as a whole) may be lost or not, whatever came before or after
// it. That is less than ext4, XFS and btrfs promise. Not modelled: half an operation on names, damage to what
// was synced, and files that are written by calls that do not go through io::FileSystem.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace vmad::fault {

/// Of a file or a directory, the same for its whole life.
using NodeNumber = std::uint64_t;

/// Bytes that many nodes share, and their hash, which is made once.
class Content {
  public:
    explicit Content(std::string text) : text_(std::move(text)) {}
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] std::size_t hash() const {
        if (!hash_) hash_ = std::hash<std::string>{}(text_);
        return *hash_;
    }

  private:
    std::string text_;
    mutable std::optional<std::size_t> hash_;
};

struct FileNode {
    std::shared_ptr<const Content> content = std::make_shared<const Content>("");
    std::int64_t modified_ns = 0;
    mode_t mode = 0600;
    std::map<std::string, std::string> attributes{};

    [[nodiscard]] const std::string& text() const noexcept { return content->text(); }
    void set_text(std::string text) { content = std::make_shared<const Content>(std::move(text)); }
};

using Names = std::map<std::string, NodeNumber>;

/// Files and directories; those without a name are there as well.
struct DiskImage {
    NodeNumber root = 0;
    std::map<NodeNumber, Names> directories;
    std::map<NodeNumber, FileNode> files;

    /// The node at a path below the root, or nothing.
    [[nodiscard]] std::optional<NodeNumber> find(const std::string& path) const;
    /// Null when it is no file.
    [[nodiscard]] const FileNode* file(const std::string& path) const;
    /// Paths below the root of all that have a name, directories included.
    [[nodiscard]] std::map<std::string, NodeNumber> paths() const;
    /// The same for two images that nobody can tell apart.
    [[nodiscard]] std::size_t hash() const;
};

/// The entries that one operation changes, all or none: a name and its new node, or none.
struct NameChange {
    NodeNumber directory = 0;
    std::map<std::string, std::optional<NodeNumber>> names;
};

/// What changes in a file.
using FileChange = std::function<void(FileNode&)>;

struct Operation {
    std::string title;
    NodeNumber node = 0;  ///< of the file or directory, where it matters
    std::optional<FileNode> created{};
    bool creates_directory = false;
    std::optional<NameChange> names{};
    FileChange change{};
    bool syncs = false;
};

/// What becomes of files that were changed and not synced.
enum class UnsyncedData { lost, zeroed, kept, torn };

/// A disk while operations are done on it, one after the other.
class ChangingDisk {
  public:
    explicit ChangingDisk(DiskImage durable) : durable_(std::move(durable)) {}

    void apply(const Operation& operation);

    /// How many changes of names are not durable yet.
    [[nodiscard]] std::size_t pending() const noexcept { return names_.size(); }
    /// What a cut now leaves when those of the pending changes are durable whose bit is set in `kept`. `seed`
    /// chooses how what is torn is torn.
    [[nodiscard]] DiskImage after_cut(std::uint64_t kept, UnsyncedData data, std::uint64_t seed) const;
    /// When nothing is lost.
    [[nodiscard]] DiskImage now() const { return after_cut(~std::uint64_t{0}, UnsyncedData::kept, 0); }
    /// Some file has changes that are not durable.
    [[nodiscard]] bool has_unsynced_data() const noexcept { return !changes_.empty(); }

  private:
    DiskImage durable_;
    std::vector<NameChange> names_;
    std::map<NodeNumber, std::vector<FileChange>> changes_;
};

}  // namespace vmad::fault
