// A file that appears under its name only when it is complete.
//
// Until then it has no name, or a temporary one where the file system cannot do without. What is not kept
// goes away with this object. One thread.
#pragma once

#include <string>

#include "io/file_system.hpp"

namespace vmad::io {

class NewFile {
  public:
    /// Makes an empty file, mode 0600, in `directory`, to be called `name` there. `fs` and `directory`
    /// outlive this object.
    NewFile(FileSystem& fs, const File& directory, std::string name);
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    /// Removes what was neither replaced nor kept. Never throws.
    ~NewFile();

    /// Open for reading and writing.
    [[nodiscard]] const File& file() const noexcept { return file_; }

    /// Gives it its name; fails with EEXIST when that is taken. It still goes away unless keep() follows, so
    /// that several files can appear together or not at all.
    void publish();
    void keep() noexcept { entry_.clear(); }

    /// Gives it its name, whether or not another file has it now, and keeps it.
    void replace();
    /// The same under another name.
    void replace(std::string name) {
        name_ = std::move(name);
        replace();
    }

  private:
    void name_unnamed(const std::string& name);
    [[nodiscard]] bool take_name_by_link();

    FileSystem& fs_;
    const File& directory_;
    std::string name_;
    std::string temporary_;
    std::string entry_;  ///< what the destructor removes
    File file_;
};

}  // namespace vmad::io
