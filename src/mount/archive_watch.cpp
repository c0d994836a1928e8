#include "mount/archive_watch.hpp"

#include <cerrno>
#include <chrono>

namespace vmad::mount {
namespace {

constexpr std::chrono::seconds kInterval{2};

}  // namespace

const char* to_string(ArchiveState state) noexcept {
    switch (state) {
        case ArchiveState::present:
            return "present";
        case ArchiveState::replaced:
            return "replaced";
        case ArchiveState::removed:
            return "removed";
    }
    __builtin_unreachable();
}

ArchiveWatch::ArchiveWatch(std::string path, const struct stat& opened,
                           std::function<void(ArchiveState)> on_change)
    : path_(std::move(path)), opened_(opened), on_change_(std::move(on_change)), thread_([this] { run(); }) {}

ArchiveWatch::~ArchiveWatch() {
    {
        const std::lock_guard lock(mutex_);
        is_over_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

ArchiveState ArchiveWatch::look() const noexcept {
    struct stat status {};
    if (::stat(path_.c_str(), &status) != 0)
        return errno == ENOENT || errno == ENOTDIR ? ArchiveState::removed : ArchiveState::present;
    const bool is_same_file = status.st_dev == opened_.st_dev && status.st_ino == opened_.st_ino;
    // Some file systems make numbers up, others each time.
    const bool looks_same = status.st_size == opened_.st_size &&
                            status.st_mtim.tv_sec == opened_.st_mtim.tv_sec &&
                            status.st_mtim.tv_nsec == opened_.st_mtim.tv_nsec;
    return is_same_file || looks_same ? ArchiveState::present : ArchiveState::replaced;
}

void ArchiveWatch::run() {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, kInterval, [this] { return is_over_; })) {
        lock.unlock();
        const auto seen = look();
        lock.lock();
        if (seen == ArchiveState::present) continue;
        state_ = seen;
        on_change_(seen);
        return;
    }
}

}  // namespace vmad::mount
