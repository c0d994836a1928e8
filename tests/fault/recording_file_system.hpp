// A file system below one directory that records what changes it, so that the states can be made which a
// power cut may leave; and one that starts from such a state.
//
// Files keep the numbers that they had, where they have any: records name them. Not recorded are owners,
// symbolic links, and blocks that are shared. Any thread.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "recorded_disk.hpp"
#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fault {

class RecordingFileSystem : public support::FaultFileSystem {
  public:
    /// Makes `directory` what the image says.
    RecordingFileSystem(const support::TemporaryDirectory& directory, const DiskImage& image);

    /// What was done so far, and on what.
    [[nodiscard]] const DiskImage& start() const noexcept { return start_; }
    [[nodiscard]] const std::vector<Operation>& operations() const noexcept { return operations_; }

    /// Something else that happens now, and that nobody can cut in two.
    void note(std::string title);

    io::File open_at(const io::File& directory, const std::string& name, int flags, mode_t mode = 0) override;
    std::optional<io::File> open_unnamed(const io::File& directory) override;
    std::size_t write_at(const io::File& file, std::span<const iovec> from, std::uint64_t offset) override;
    std::optional<std::size_t> copy_range(const io::File& from, std::uint64_t from_offset, const io::File& to,
                                          std::uint64_t to_offset, std::size_t size_bytes) override;
    void truncate(const io::File& file, std::uint64_t size_bytes) override;
    void discard(const io::File& file, std::uint64_t offset, std::uint64_t length) override;
    void sync(const io::File& file) override;
    struct stat status(const io::File& file) override;
    std::optional<struct stat> status_at(const io::File& directory, const std::string& name) override;
    void change_mode(const io::File& file, mode_t mode) override;
    void set_modified(const io::File& file, timespec modified) override;
    void set_attribute(const io::File& file, const std::string& name, const std::string& value) override;
    void remove_attribute(const io::File& file, const std::string& name) override;
    void link_unnamed(const io::File& file, const io::File& directory, const std::string& name) override;
    bool link(const io::File& directory, const std::string& from, const std::string& to) override;
    void rename(const io::File& directory, const std::string& from, const std::string& to) override;
    bool exchange(const io::File& directory, const std::string& a, const std::string& b) override;
    bool unlink(const io::File& directory, const std::string& name) override;
    bool make_directory(const std::string& path, mode_t mode) override;

  private:
    void make(const DiskImage& image);
    NodeNumber number_of(const struct stat& status);
    NodeNumber number_of(const io::File& file);
    [[nodiscard]] std::optional<NodeNumber> number_at(const io::File& directory, const std::string& name);
    /// A new file has no number yet, whoever had its inode before.
    NodeNumber number_new(const io::File& file);
    void record_names(const char* title, const io::File& directory, const std::vector<std::string>& names);
    void record_change(const char* title, const io::File& file, FileChange change);
    void record_content(const char* title, const io::File& file, std::uint64_t offset, std::size_t size);

    const support::TemporaryDirectory& directory_;
    DiskImage start_;
    std::recursive_mutex mutex_;
    std::map<ino_t, NodeNumber> numbers_;
    NodeNumber last_number_;
    std::vector<Operation> operations_;
};

/// An image with an empty root directory.
[[nodiscard]] DiskImage empty_image();
/// Gives it a directory or a file below the root. Returns its number.
NodeNumber add_directory(DiskImage& image, const std::string& name);
NodeNumber add_file(DiskImage& image, NodeNumber directory, const std::string& name, FileNode file);

}  // namespace vmad::fault
