// One archive as a directory: its disks as DEVICE.raw, its configs under their names, and info.json.
//
// The names are made fit for a directory, whatever the archive says. What is shown is what was opened: the
// archive may be replaced or removed meanwhile.
#pragma once

#include <functional>

#include "access/disk_reader.hpp"
#include "mount/file_tree.hpp"

namespace vmad::mount {

inline constexpr char kInfoName[] = "info.json";

class ArchiveTree final : public FileTree {
  public:
    /// `index` outlives the tree; `modified` is the time of all files. `info` gives the text of info.json, in
    /// any thread, each time that it is opened.
    ArchiveTree(const access::ArchiveIndex& index, access::DiskReader::Options options, timespec modified,
                const std::function<std::string()>& info);

    std::optional<Attributes> attributes(Inode inode) override;
    std::optional<Attributes> find(Inode directory, std::string_view name) override;
    std::optional<std::vector<Entry>> entries(Inode directory) override;
    std::unique_ptr<OpenFile> open(Inode inode) override;

  private:
    struct File {
        std::uint64_t size_bytes = 0;
        std::uint64_t stored_bytes = 0;
        std::function<std::unique_ptr<OpenFile>()> open{};
        bool is_lasting = true;
    };
    void add_disk(const vma::Device& device);
    void add_config(const vma::Config& config);
    void add(const std::string& name, File file);
    [[nodiscard]] Attributes attributes_of(std::size_t number) const;
    [[nodiscard]] const File* file(Inode inode) const noexcept;

    access::DiskReader reader_;
    timespec modified_;
    std::vector<std::string> taken_;  ///< names
    std::vector<std::string> names_;  ///< of files_
    std::vector<File> files_;  ///< the inode of one is its place, counted from the first behind the root's
};

}  // namespace vmad::mount
