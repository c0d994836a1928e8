#include "io/file_metadata.hpp"

#include <cerrno>

#include "base/error.hpp"

namespace vmad::io {
namespace {

constexpr mode_t kModeBits = 07777;
constexpr const char* kAcl = "system.posix_acl_access";
constexpr const char* kUserPrefix = "user.";

/// False when there is no such thing as this attribute here.
bool try_set(FileSystem& fs, const File& file, const std::string& name, const std::string& value) {
    try {
        if (fs.attribute(file, name) != value) fs.set_attribute(file, name, value);
        return true;
    } catch (const base::SystemError& error) {
        if (error.number() == EOPNOTSUPP) return false;
        throw;
    }
}

void copy_owner(FileSystem& fs, const File& from, const File& to) {
    const auto wanted = fs.status(from);
    const auto actual = fs.status(to);
    if (wanted.st_uid != actual.st_uid || wanted.st_gid != actual.st_gid)
        fs.change_owner(to, wanted.st_uid, wanted.st_gid);
}

/// A new file may have got an ACL from its directory that the original does not have.
void copy_acl(FileSystem& fs, const File& from, const File& to) {
    const auto wanted = fs.attribute(from, kAcl);
    const auto actual = fs.attribute(to, kAcl);
    if (wanted == actual) return;
    if (wanted)
        fs.set_attribute(to, kAcl, *wanted);
    else
        fs.remove_attribute(to, kAcl);
}

void copy_mode(FileSystem& fs, const File& from, const File& to) {
    const auto wanted = fs.status(from).st_mode & kModeBits;
    if (wanted != (fs.status(to).st_mode & kModeBits)) fs.change_mode(to, wanted);
}

void copy_user_attributes(FileSystem& fs, const File& from, const File& to, const Attributes& extra) {
    for (const auto& name : fs.attribute_names(from)) {
        if (!name.starts_with(kUserPrefix) || extra.contains(name)) continue;
        const auto value = fs.attribute(from, name);
        if (value && !try_set(fs, to, name, *value)) return;
    }
    for (const auto& [name, value] : extra) {
        try {
            if (!try_set(fs, to, name, value)) return;
        } catch (const NoSpace&) {
            // ext4 says so when the attributes of one file have outgrown its 4 KiB for them. The caller's own
            // are notes that can be missing; a disk that is really full has nothing more to write anyway.
        }
    }
}

}  // namespace

void copy_metadata(FileSystem& fs, const File& from, const File& to, const Attributes& extra) {
    // First the attributes: an unprivileged user may not set them on a read-only file.
    copy_user_attributes(fs, from, to, extra);
    copy_owner(fs, from, to);  // before the mode: it clears bits of it
    copy_acl(fs, from, to);    // before the mode: it sets the bits of the group
    copy_mode(fs, from, to);
}

}  // namespace vmad::io
