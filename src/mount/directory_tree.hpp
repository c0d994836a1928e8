// Directories of backups, with each archive as its raw form: as one folder each, or a single one as all there
// is.
//
// Live: what comes, goes or is replaced in a directory does so here, within a second. An open file stays what
// it was when it was opened.
#pragma once

#include <deque>

#include "mount/dump_folder.hpp"
#include "mount/open_sources.hpp"

namespace vmad::mount {

/// A directory of backups.
struct FolderSource {
    std::string name;  ///< of the folder, unique; empty for a single one
    std::string path;  ///< absolute
};

class DirectoryTree final : public FileTree {
  public:
    /// `sources` is one or more. `fs` outlives the tree. `memory_bytes` are for decoded parts of archives.
    /// Throws what DumpFolder throws.
    DirectoryTree(io::FileSystem& fs, const std::vector<FolderSource>& sources, std::uint64_t memory_bytes,
                  const DumpFolder::Warn& warn);

    [[nodiscard]] std::deque<DumpFolder>& folders() noexcept { return folders_; }

    std::optional<Attributes> attributes(Inode inode) override;
    std::optional<Attributes> find(Inode directory, std::string_view name) override;
    std::optional<std::vector<Entry>> entries(Inode directory) override;
    std::unique_ptr<OpenFile> open(Inode inode) override;

  private:
    [[nodiscard]] bool is_single() const noexcept { return folders_.front().name().empty(); }
    [[nodiscard]] Attributes root_attributes();
    [[nodiscard]] DumpFolder* folder(Inode inode);
    /// The folder that has, or had when it was last looked at, this file.
    [[nodiscard]] DumpFolder* owner(Inode file);

    std::deque<DumpFolder> folders_;
    OpenSources sources_;
};

}  // namespace vmad::mount
