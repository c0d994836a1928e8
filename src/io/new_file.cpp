#include "io/new_file.hpp"

#include <fcntl.h>

#include <cerrno>

#include <fmt/format.h>

#include "io/storage.hpp"
#include "io/temporary_name.hpp"

namespace vmad::io {

NewFile::NewFile(FileSystem& fs, const File& directory, std::string name)
    : fs_(fs), directory_(directory), name_(std::move(name)) {
    temporary_ = fmt::format("{}{}.tmp", kReservedPrefix, random_hex());
    // Where numbers do not last, an unnamed file can seldom be linked; that would show too late.
    auto unnamed = keeps_inode_numbers(fs_, directory_) ? fs_.open_unnamed(directory_) : std::nullopt;
    if (unnamed) {
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
        name_unnamed(name_);
    } else {
        if (!take_name_by_link()) fs_.rename(directory_, temporary_, name_);
        fs_.unlink(directory_, temporary_);  // after the rename of one name of a file to another, both stay
    }
    entry_ = name_;
}

/// What reports an error may have been done all the same: what counts is what is there.
void NewFile::name_unnamed(const std::string& name) {
    try {
        fs_.link_unnamed(file_, directory_, name);
    } catch (const base::Error&) {
        const auto named = fs_.status_at(directory_, name);
        if (!named || named->st_ino != fs_.status(file_).st_ino) throw;
    }
}

/// False where there are no hard links: then a name cannot be taken and refused in one step.
bool NewFile::take_name_by_link() {
    try {
        if (fs_.link(directory_, temporary_, name_)) return true;
    } catch (const base::SystemError&) {
        // Perhaps by this file.
    }
    const auto taken = fs_.status_at(directory_, name_);
    if (taken && taken->st_ino != fs_.status(file_).st_ino)
        throw base::SystemError(EEXIST, "link", directory_.entry(name_));
    return false;
}

void NewFile::replace() {
    if (entry_.empty()) name_unnamed(temporary_);
    entry_ = temporary_;
    fs_.rename(directory_, temporary_, name_);
    entry_.clear();  // to remove it now would leave neither the old file nor the new
}

}  // namespace vmad::io
