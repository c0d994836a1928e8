#include "io/file_metadata.hpp"

#include <cerrno>

#include "base/error.hpp"

namespace vmad::io {
namespace {

constexpr mode_t kModeBits = 07777;
constexpr const char* kAcl = "system.posix_acl_access";
constexpr const char* kUserPrefix = "user.";

/// An ACL, or why it cannot be read: none is neither.
struct Acl {
    std::optional<std::string> value;
    int error_number = 0;
    friend bool operator==(const Acl&, const Acl&) = default;
};

Acl read_acl(FileSystem& fs, const File& file) {
    try {
        return {fs.attribute(file, kAcl)};
    } catch (const base::SystemError& error) {
        return {std::nullopt, error.number()};
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
    const auto wanted = read_acl(fs, from);
    const auto actual = read_acl(fs, to);
    // Where none can be read, there are none.
    if (wanted == actual) return;
    if (wanted.error_number != 0)
        throw base::SystemError(wanted.error_number, "read the ACL of", from.path());
    if (wanted.value)
        fs.set_attribute(to, kAcl, *wanted.value);
    else if (actual.value)
        fs.remove_attribute(to, kAcl);
}

mode_t mode_of(FileSystem& fs, const File& file) { return fs.status(file).st_mode & kModeBits; }

void set_mode(FileSystem& fs, const File& file, mode_t mode) {
    if (mode != mode_of(fs, file)) fs.change_mode(file, mode);
}

/// Does what can be done: what fails is left out.
template <typename Action>
void try_to(Action action) {
    try {
        action();
    } catch (const base::Error&) {
    }
}

void set_note(FileSystem& fs, const File& file, const std::string& name, const std::string& value) {
    try_to([&] {
        if (fs.attribute(file, name) != value) fs.set_attribute(file, name, value);
    });
}

void copy_user_attributes(FileSystem& fs, const File& from, const File& to, const Attributes& extra) {
    try_to([&] {
        for (const auto& name : fs.attribute_names(from)) {
            if (!name.starts_with(kUserPrefix) || extra.contains(name)) continue;
            try_to([&] {
                if (const auto value = fs.attribute(from, name)) set_note(fs, to, name, *value);
            });
        }
    });
    for (const auto& [name, value] : extra) set_note(fs, to, name, value);
}

}  // namespace

void copy_access(FileSystem& fs, const File& from, const File& to) {
    copy_owner(fs, from, to);  // before the mode: it clears bits of it
    copy_acl(fs, from, to);    // before the mode: it sets the bits of the group
    set_mode(fs, to, mode_of(fs, from));
}

void require_settable_metadata(FileSystem& fs, const File& from, const File& to) {
    const auto mode = mode_of(fs, to);
    copy_access(fs, from, to);
    set_mode(fs, to, mode);  // an unprivileged user may set no attribute of a read-only file
    fs.set_modified(to, fs.status(from).st_mtim);
}

void copy_metadata(FileSystem& fs, const File& from, const File& to, const Attributes& extra) {
    // First the attributes: an unprivileged user may not set them on a read-only file.
    copy_user_attributes(fs, from, to, extra);
    copy_access(fs, from, to);
}

}  // namespace vmad::io
