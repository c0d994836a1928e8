#include "io/new_file.hpp"

#include <fcntl.h>

#include <fmt/format.h>

#include "io/temporary_name.hpp"

namespace vmad::io {

NewFile::NewFile(FileSystem& fs, const File& directory, std::string name)
    : fs_(fs), directory_(directory), name_(std::move(name)) {
    temporary_ = fmt::format("{}{}.tmp", kReservedPrefix, random_hex());
    if (auto unnamed = fs_.open_unnamed(directory_)) {
        file_ = std::move(*unnamed);
    } else {
        file_ = fs_.open_at(directory_, temporary_, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        entry_ = temporary_;
    }
}

NewFile::~NewFile() {
    if (entry_.empty()) return;
    try {
        fs_.unlink(directory_, entry_);
    } catch (...) {
        // The error that brought us here is the one to report.
    }
}

void NewFile::publish() {
    if (entry_.empty()) {
        fs_.link_unnamed(file_, directory_, name_);
    } else if (fs_.link(directory_, temporary_, name_)) {
        fs_.unlink(directory_, temporary_);
    } else {
        // Without hard links a name cannot be taken and refused in one step; the caller has looked before.
        fs_.rename(directory_, temporary_, name_);
    }
    entry_ = name_;
}

void NewFile::replace() {
    if (entry_.empty()) fs_.link_unnamed(file_, directory_, temporary_);
    entry_ = temporary_;
    fs_.rename(directory_, temporary_, name_);
    entry_.clear();  // to remove it now would leave neither the old file nor the new
}

}  // namespace vmad::io
