#include "power_cut_file_system.hpp"

#include <filesystem>
#include <stdexcept>

namespace vmad::fault {

PowerCutFileSystem::PowerCutFileSystem(const support::TemporaryDirectory& directory,
                                       const support::TemporaryDirectory& vault)
    : directory_(directory), vault_(vault) {
    for (const auto& name : directory.names()) {
        const auto file = FileSystem::open(directory / name, O_RDONLY);
        keep_alive(file.fd());
        const auto inode = FileSystem::status(file).st_ino;
        durable_.names[name] = inode;
        durable_.contents[inode] = content_of(inode);
    }
}

void PowerCutFileSystem::cut_before(unsigned n) {
    forget_calls();
    before = [n](const support::Call& call) {
        if (call.number >= n) throw PowerCut();
    };
}

PowerCutFileSystem::State PowerCutFileSystem::after_cut(unsigned kept, UnsyncedData data) const {
    State state = durable_;
    for (std::size_t i = 0; i < pending_.size(); ++i)
        if (kept >> i & 1) apply(pending_[i], state);
    for (const auto& name : vault_.names()) {
        const ino_t inode = std::stoull(name);
        auto& content = state.contents[inode];  // one that was never synced is empty, without a time
        const auto written = content_of(inode);
        if (data == UnsyncedData::kept) content = written;
        if (data == UnsyncedData::zeroed && content.data != written.data)
            content.data = std::string(written.data.size(), '\0');
    }
    return state;
}

void PowerCutFileSystem::reset(const State& state) {
    before = nullptr;
    durable_ = state;
    pending_.clear();
    for (const auto& name : directory_.names()) std::filesystem::remove(directory_ / name);
    for (const auto& [name, inode] : state.names)
        std::filesystem::create_hard_link(in_vault(inode), directory_ / name);
    for (const auto& [inode, content] : state.contents) {
        vault_.write(std::to_string(inode), content.data);
        vault_.set_modified(std::to_string(inode), content.modified);
    }
}

void PowerCutFileSystem::apply(const Change& change, State& state) {
    for (const auto& [name, inode] : change) {
        if (inode)
            state.names[name] = *inode;
        else
            state.names.erase(name);
    }
}

std::optional<io::File> PowerCutFileSystem::open_unnamed(const io::File& directory) {
    auto file = FaultFileSystem::open_unnamed(directory);
    if (file) keep_alive(file->fd());
    return file;
}

io::File PowerCutFileSystem::open_at(const io::File& directory, const std::string& name, int flags,
                                     mode_t mode) {
    auto file = FaultFileSystem::open_at(directory, name, flags, mode);
    if (flags & O_CREAT) {
        keep_alive(file.fd());
        pending_.push_back({{name, FileSystem::status(file).st_ino}});
    }
    return file;
}

void PowerCutFileSystem::sync(const io::File& file) {
    FaultFileSystem::sync(file);
    const auto status = FileSystem::status(file);
    if (!S_ISDIR(status.st_mode)) {
        durable_.contents[status.st_ino] = content_of(status.st_ino);
        return;
    }
    for (const auto& change : pending_) apply(change, durable_);
    pending_.clear();
}

void PowerCutFileSystem::link_unnamed(const io::File& file, const io::File& directory,
                                      const std::string& name) {
    FaultFileSystem::link_unnamed(file, directory, name);
    pending_.push_back({{name, inode_of(name)}});
}

bool PowerCutFileSystem::link(const io::File& directory, const std::string& from, const std::string& to) {
    const bool done = FaultFileSystem::link(directory, from, to);
    if (done) pending_.push_back({{to, inode_of(to)}});
    return done;
}

void PowerCutFileSystem::rename(const io::File& directory, const std::string& from, const std::string& to) {
    FaultFileSystem::rename(directory, from, to);
    pending_.push_back({{from, inode_of(from)}, {to, inode_of(to)}});
}

bool PowerCutFileSystem::exchange(const io::File& directory, const std::string& a, const std::string& b) {
    const bool done = FaultFileSystem::exchange(directory, a, b);
    if (done) pending_.push_back({{a, inode_of(a)}, {b, inode_of(b)}});
    return done;
}

bool PowerCutFileSystem::unlink(const io::File& directory, const std::string& name) {
    const bool done = FaultFileSystem::unlink(directory, name);
    if (done) pending_.push_back({{name, std::nullopt}});
    return done;
}

struct stat PowerCutFileSystem::status(const io::File& file) {
    auto status = FaultFileSystem::status(file);
    if (S_ISREG(status.st_mode)) --status.st_nlink;
    return status;
}

std::optional<ino_t> PowerCutFileSystem::inode_of(const std::string& name) const {
    struct stat status {};
    if (::lstat((directory_ / name).c_str(), &status) != 0) return std::nullopt;
    return status.st_ino;
}

void PowerCutFileSystem::keep_alive(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) throw std::runtime_error("fstat");
    const auto source = "/proc/self/fd/" + std::to_string(fd);
    if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, in_vault(status.st_ino).c_str(), AT_SYMLINK_FOLLOW) != 0)
        throw std::runtime_error("linkat " + in_vault(status.st_ino));
}

PowerCutFileSystem::State::Content PowerCutFileSystem::content_of(ino_t inode) const {
    struct stat status {};
    if (::stat(in_vault(inode).c_str(), &status) != 0) throw std::runtime_error("stat");
    return {vault_.read(std::to_string(inode)), status.st_mtim};
}

}  // namespace vmad::fault
