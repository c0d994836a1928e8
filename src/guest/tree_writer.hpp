// Writes what CopyRecords describe into a directory, or the content of one file to a stream.
//
// Paths come from a hostile guest: no symbolic link is followed below the directory, which the kernel checks,
// and nothing is made outside of it. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "guest/copy_record.hpp"

namespace vmad::guest {

/// Takes the records from begin to failed, in the order in which they come.
class FileWriter {
  public:
    FileWriter() = default;
    FileWriter(const FileWriter&) = delete;
    FileWriter& operator=(const FileWriter&) = delete;
    virtual ~FileWriter() = default;
    /// Throws base::SystemError for what cannot be written, which is then left out, up to its end.
    virtual void take(const CopyRecord& record) = 0;
};

class TreeWriter final : public FileWriter {
  public:
    struct Options {
        bool force = false;        ///< existing files are replaced
        bool keep_owners = false;  ///< also the set-user-ID and set-group-ID bits, and device nodes
        /// What may be written in the directory, with all that is below; anything where one is empty.
        std::vector<std::string> names{""};
    };

    /// `directory` exists. Throws base::SystemError.
    TreeWriter(const std::string& directory, Options options);
    /// Removes a file that has not ended.
    ~TreeWriter() override;

    void take(const CopyRecord& record) override;

    /// Of what was written: everything but directories.
    [[nodiscard]] std::uint64_t files() const noexcept { return files_; }

  private:
    /// An entry of a directory below the target.
    struct Place {
        base::UniqueFd directory;
        std::string name;
    };

    [[nodiscard]] bool is_allowed(const std::string& path) const;
    [[nodiscard]] Place place_of(const std::string& path) const;
    [[nodiscard]] base::UniqueFd open_beneath(const std::string& path, int flags) const;
    [[nodiscard]] std::string shown(const std::string& path) const;
    void begin(const CopyRecord& record);
    void make(const CopyRecord& record, const Place& place);
    void make_directory(const CopyRecord& record, const Place& place);
    void make_hard_link(const CopyRecord& record);
    void remove_existing(const Place& place) const;
    void write(const CopyRecord& record);
    void end(const CopyRecord& record);
    void set_metadata(const FileStatus& status, int entry, const std::string& path);
    void abandon() noexcept;
    [[nodiscard]] bool is_left_out(const CopyRecord& record) const;

    std::string name_;
    base::UniqueFd directory_;
    Options options_;
    base::UniqueFd file_;                  ///< that has begun
    std::string path_;                     ///< its path
    std::optional<std::string> left_out_;  ///< could not begin, nor can what is below it
    std::set<std::string> made_;           ///< directories that have begun
    std::uint64_t files_ = 0;
};

/// The content of one file, with zeros for its holes.
class ContentWriter final : public FileWriter {
  public:
    /// `name` is for messages.
    ContentWriter(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
    void take(const CopyRecord& record) override;

  private:
    void write_zeros(std::uint64_t until);
    void write(std::string_view data);

    int fd_;
    std::string name_;
    std::uint64_t written_ = 0;
    std::uint64_t size_bytes_ = 0;
};

}  // namespace vmad::guest
