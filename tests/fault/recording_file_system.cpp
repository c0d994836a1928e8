#include "recording_file_system.hpp"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

namespace vmad::fault {
namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

/// Above all inode numbers, so that one is never taken for the other.
constexpr NodeNumber kFirstNumber = NodeNumber{1} << 40;
constexpr std::int64_t kNanoseconds = 1'000'000'000;

std::int64_t nanoseconds(const timespec& time) { return time.tv_sec * kNanoseconds + time.tv_nsec; }

struct stat real_status(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) throw std::runtime_error("fstat");
    return status;
}

FileNode empty_node(const struct stat& status) {
    return {.modified_ns = nanoseconds(status.st_mtim), .mode = status.st_mode & 07777};
}

void check(bool done, const std::string& what) {
    if (!done) throw std::runtime_error(what);
}

NodeNumber next_number(const DiskImage& image) {
    NodeNumber last = std::max(kFirstNumber, image.root);
    if (!image.directories.empty()) last = std::max(last, image.directories.rbegin()->first);
    if (!image.files.empty()) last = std::max(last, image.files.rbegin()->first);
    return last + 1;
}

void write_node(const std::string& path, const FileNode& file) {
    const base::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    check(fd.get() >= 0, "cannot make " + path);
    const auto& content = file.text();
    check(::write(fd.get(), content.data(), content.size()) == static_cast<ssize_t>(content.size()), "write");
    for (const auto& [name, value] : file.attributes)
        check(::fsetxattr(fd.get(), name.c_str(), value.data(), value.size(), 0) == 0, "fsetxattr");
    check(::fchmod(fd.get(), file.mode) == 0, "fchmod");
    const timespec modified{file.modified_ns / kNanoseconds, file.modified_ns % kNanoseconds};
    const timespec times[2] = {{0, UTIME_OMIT}, modified};
    check(::futimens(fd.get(), times) == 0, "futimens");
}

}  // namespace

RecordingFileSystem::RecordingFileSystem(const support::TemporaryDirectory& directory, const DiskImage& image)
    : directory_(directory), start_(image), last_number_(next_number(image)) {
    make(image);
}

void RecordingFileSystem::make(const DiskImage& image) {
    for (const auto& name : directory_.names()) std::filesystem::remove_all(directory_ / name);
    struct stat status {};
    const auto remember = [&](const std::string& path, NodeNumber node) {
        check(::stat(path.c_str(), &status) == 0, "stat " + path);
        numbers_[status.st_ino] = node;
    };
    remember(directory_.path(), image.root);
    std::map<NodeNumber, std::string> made;
    for (const auto& [path, node] : image.paths()) {
        const auto target = directory_ / path;
        if (image.directories.contains(node))
            check(::mkdir(target.c_str(), 0700) == 0, "mkdir " + target);
        else if (const auto other = made.find(node); other != made.end())
            std::filesystem::create_hard_link(other->second, target);
        else
            write_node(target, image.files.at(node));
        made.try_emplace(node, target);
        remember(target, node);
    }
}

NodeNumber RecordingFileSystem::number_of(const struct stat& status) {
    const Lock lock(mutex_);
    const auto [found, is_new] = numbers_.try_emplace(status.st_ino, last_number_ + 1);
    if (is_new) ++last_number_;
    return found->second;
}

NodeNumber RecordingFileSystem::number_of(const io::File& file) { return number_of(real_status(file.fd())); }

NodeNumber RecordingFileSystem::number_new(const io::File& file) {
    return numbers_[real_status(file.fd()).st_ino] = ++last_number_;
}

std::optional<NodeNumber> RecordingFileSystem::number_at(const io::File& directory, const std::string& name) {
    struct stat status {};
    if (::fstatat(directory.fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
    return number_of(status);
}

/// As they are now.
void RecordingFileSystem::record_names(const char* title, const io::File& directory,
                                       const std::vector<std::string>& names) {
    NameChange change{.directory = number_of(directory), .names = {}};
    for (const auto& name : names) change.names[name] = number_at(directory, name);
    operations_.push_back({.title = std::string(title) + " " + names.back(), .names = std::move(change)});
}

void RecordingFileSystem::record_change(const char* title, const io::File& file, FileChange change) {
    operations_.push_back({.title = std::string(title) + " " + file.path(),
                           .node = number_of(file),
                           .change = [change = std::move(change), now = real_status(file.fd())](auto& node) {
                               node.modified_ns = nanoseconds(now.st_mtim);
                               change(node);
                           }});
}

void RecordingFileSystem::record_content(const char* title, const io::File& file, std::uint64_t offset,
                                         std::size_t size) {
    std::string bytes(size, '\0');
    iovec slice{bytes.data(), bytes.size()};
    bytes.resize(io::FileSystem::read_at(file, {&slice, 1}, offset));
    record_change(title, file, [offset, bytes = std::move(bytes)](FileNode& node) {
        auto content = node.text();
        content.resize(std::max<std::size_t>(content.size(), offset + bytes.size()));
        content.replace(offset, bytes.size(), bytes);
        node.set_text(std::move(content));
    });
}

void RecordingFileSystem::note(std::string title) {
    const Lock lock(mutex_);
    operations_.push_back({.title = std::move(title)});
}

io::File RecordingFileSystem::open_at(const io::File& directory, const std::string& name, int flags,
                                      mode_t mode) {
    if ((flags & O_CREAT) == 0) return FaultFileSystem::open_at(directory, name, flags, mode);
    const Lock lock(mutex_);
    const bool is_new = !number_at(directory, name);
    auto file = FaultFileSystem::open_at(directory, name, flags, mode);
    if (!is_new) return file;
    const auto number = number_new(file);
    record_names("create", directory, {name});
    operations_.back().node = number;
    operations_.back().created = empty_node(real_status(file.fd()));
    return file;
}

std::optional<io::File> RecordingFileSystem::open_unnamed(const io::File& directory) {
    const Lock lock(mutex_);
    auto file = FaultFileSystem::open_unnamed(directory);
    if (file)
        operations_.push_back({.title = "create unnamed",
                               .node = number_new(*file),
                               .created = empty_node(real_status(file->fd()))});
    return file;
}

std::size_t RecordingFileSystem::write_at(const io::File& file, std::span<const iovec> from,
                                          std::uint64_t offset) {
    const Lock lock(mutex_);
    const auto size = FaultFileSystem::write_at(file, from, offset);
    std::string bytes;
    for (const auto& slice : from) bytes.append(static_cast<const char*>(slice.iov_base), slice.iov_len);
    bytes.resize(size);
    record_change("write", file, [offset, bytes = std::move(bytes)](FileNode& node) {
        auto content = node.text();
        content.resize(std::max<std::size_t>(content.size(), offset + bytes.size()));
        content.replace(offset, bytes.size(), bytes);
        node.set_text(std::move(content));
    });
    return size;
}

std::optional<std::size_t> RecordingFileSystem::copy_range(const io::File& from, std::uint64_t from_offset,
                                                           const io::File& to, std::uint64_t to_offset,
                                                           std::size_t size_bytes) {
    const Lock lock(mutex_);
    const auto size = FaultFileSystem::copy_range(from, from_offset, to, to_offset, size_bytes);
    if (size) record_content("copy_range", to, to_offset, *size);
    return size;
}

void RecordingFileSystem::truncate(const io::File& file, std::uint64_t size_bytes) {
    const Lock lock(mutex_);
    FaultFileSystem::truncate(file, size_bytes);
    record_change("truncate", file, [size_bytes](FileNode& node) {
        auto content = node.text();
        content.resize(size_bytes);
        node.set_text(std::move(content));
    });
}

void RecordingFileSystem::discard(const io::File& file, std::uint64_t offset, std::uint64_t length) {
    const Lock lock(mutex_);
    FaultFileSystem::discard(file, offset, length);
    record_content("discard", file, offset, length);
}

void RecordingFileSystem::sync(const io::File& file) {
    const Lock lock(mutex_);
    FaultFileSystem::sync(file);
    operations_.push_back({.title = "sync " + file.path(), .node = number_of(file), .syncs = true});
}

struct stat RecordingFileSystem::status(const io::File& file) {
    auto status = FaultFileSystem::status(file);
    if (numbers == support::Numbers::kept) status.st_ino = number_of(status);
    return status;
}

std::optional<struct stat> RecordingFileSystem::status_at(const io::File& directory,
                                                          const std::string& name) {
    auto status = FaultFileSystem::status_at(directory, name);
    if (status && numbers == support::Numbers::kept) status->st_ino = number_of(*status);
    return status;
}

void RecordingFileSystem::change_mode(const io::File& file, mode_t mode) {
    const Lock lock(mutex_);
    FaultFileSystem::change_mode(file, mode);
    record_change("change_mode", file, [mode](FileNode& node) { node.mode = mode & 07777; });
}

void RecordingFileSystem::set_modified(const io::File& file, timespec modified) {
    const Lock lock(mutex_);
    FaultFileSystem::set_modified(file, modified);
    record_change("set_modified", file, [](FileNode&) {});
}

void RecordingFileSystem::set_attribute(const io::File& file, const std::string& name,
                                        const std::string& value) {
    const Lock lock(mutex_);
    FaultFileSystem::set_attribute(file, name, value);
    record_change("set_attribute", file, [name, value](FileNode& node) { node.attributes[name] = value; });
}

void RecordingFileSystem::remove_attribute(const io::File& file, const std::string& name) {
    const Lock lock(mutex_);
    FaultFileSystem::remove_attribute(file, name);
    record_change("remove_attribute", file, [name](FileNode& node) { node.attributes.erase(name); });
}

void RecordingFileSystem::link_unnamed(const io::File& file, const io::File& directory,
                                       const std::string& name) {
    const Lock lock(mutex_);
    FaultFileSystem::link_unnamed(file, directory, name);
    record_names("link_unnamed", directory, {name});
}

bool RecordingFileSystem::link(const io::File& directory, const std::string& from, const std::string& to) {
    const Lock lock(mutex_);
    const bool done = FaultFileSystem::link(directory, from, to);
    if (done) record_names("link", directory, {to});
    return done;
}

void RecordingFileSystem::rename(const io::File& directory, const std::string& from, const std::string& to) {
    const Lock lock(mutex_);
    FaultFileSystem::rename(directory, from, to);
    record_names("rename", directory, {from, to});
}

bool RecordingFileSystem::exchange(const io::File& directory, const std::string& a, const std::string& b) {
    const Lock lock(mutex_);
    const bool done = FaultFileSystem::exchange(directory, a, b);
    if (done) record_names("exchange", directory, {a, b});
    return done;
}

bool RecordingFileSystem::unlink(const io::File& directory, const std::string& name) {
    const Lock lock(mutex_);
    const bool done = FaultFileSystem::unlink(directory, name);
    if (done) record_names("unlink", directory, {name});
    return done;
}

bool RecordingFileSystem::make_directory(const std::string& path, mode_t mode) {
    const Lock lock(mutex_);
    const bool done = FaultFileSystem::make_directory(path, mode);
    if (!done) return false;
    const auto slash = path.rfind('/');
    const auto parent = io::FileSystem::open(path.substr(0, slash), O_RDONLY | O_DIRECTORY);
    record_names("make_directory", parent, {path.substr(slash + 1)});
    operations_.back().node = *number_at(parent, path.substr(slash + 1));
    operations_.back().creates_directory = true;
    return true;
}

DiskImage empty_image() {
    DiskImage image{.root = kFirstNumber, .directories = {}, .files = {}};
    image.directories[image.root];
    return image;
}

NodeNumber add_directory(DiskImage& image, const std::string& name) {
    const auto number = next_number(image);
    image.directories[image.root][name] = number;
    image.directories[number];
    return number;
}

NodeNumber add_file(DiskImage& image, NodeNumber directory, const std::string& name, FileNode file) {
    const auto number = next_number(image);
    image.directories[directory][name] = number;
    image.files[number] = std::move(file);
    return number;
}

}  // namespace vmad::fault
