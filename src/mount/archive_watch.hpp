// Whether the path that an archive was opened by still leads to it: a look now and then, in a thread of its
// own, since a share that hangs must not hold up a reader.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace vmad::mount {

enum class ArchiveState { present, replaced, removed };

/// "present" and so on.
[[nodiscard]] const char* to_string(ArchiveState state) noexcept;

class ArchiveWatch {
  public:
    /// `opened` is the status of the open file. `on_change` is called in the thread, when it is first seen
    /// that the path leads elsewhere; never again.
    ArchiveWatch(std::string path, const struct stat& opened, std::function<void(ArchiveState)> on_change);
    ArchiveWatch(const ArchiveWatch&) = delete;
    ArchiveWatch& operator=(const ArchiveWatch&) = delete;
    /// Waits for the thread.
    ~ArchiveWatch();

    [[nodiscard]] ArchiveState state() const noexcept { return state_; }

  private:
    [[nodiscard]] ArchiveState look() const noexcept;
    void run();

    std::string path_;
    struct stat opened_;
    std::function<void(ArchiveState)> on_change_;
    std::atomic<ArchiveState> state_{ArchiveState::present};
    std::mutex mutex_;
    std::condition_variable wake_;
    bool is_over_ = false;
    std::thread thread_;
};

}  // namespace vmad::mount
