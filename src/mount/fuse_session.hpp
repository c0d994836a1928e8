// A mount: the kernel's questions about a FileTree, answered by several threads. The one face of libfuse.
//
// One at a time in a process: libfuse's log and the signals are global.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/threads.hpp"
#include "mount/file_tree.hpp"

struct fuse_session;

namespace vmad::mount {

struct SessionOptions {
    std::string mount_point;   ///< absolute
    std::string source;        ///< what the table of mounts says is mounted
    bool allow_other = false;  ///< other users may read it, too
    unsigned threads = 1;      ///< that answer, at most
    /// Called in some thread, once: the mount can be used. What it throws ends serve(), and is thrown there.
    std::function<void()> on_ready;
    /// Called in any thread, with what a reader got an error for.
    std::function<void(const std::string&)> on_failure;
};

/// SIGTERM, SIGINT and SIGHUP wait, for this thread and those that it starts, while this object lives. So
/// none of them ends the program between mounting and serve().
class HeldSignals {
  public:
    HeldSignals();
    HeldSignals(const HeldSignals&) = delete;
    HeldSignals& operator=(const HeldSignals&) = delete;
    ~HeldSignals();
    /// Lets them through to the calling thread.
    static void release();
};

/// What the kernel has open, by the numbers that it knows it by. What it has not closed goes with this
/// object.
template <typename Object>
class Handles {
  public:
    [[nodiscard]] std::uint64_t add(std::unique_ptr<Object> object) {
        const auto handle = reinterpret_cast<std::uint64_t>(object.get());
        const std::lock_guard lock(mutex_);
        objects_.emplace(handle, std::move(object));
        return handle;
    }
    void close(std::uint64_t handle) {
        const std::lock_guard lock(mutex_);
        objects_.erase(handle);
    }
    /// Of one that is open.
    [[nodiscard]] static Object& at(std::uint64_t handle) noexcept {
        return *reinterpret_cast<Object*>(handle);  // NOLINT(performance-no-int-to-ptr)
    }

  private:
    std::mutex mutex_;
    std::unordered_map<std::uint64_t, std::unique_ptr<Object>> objects_;
};

class FuseSession {
  public:
    /// Mounts. The tree outlives the session. Throws base::Error that says why it cannot be mounted.
    FuseSession(FileTree& tree, SessionOptions options);
    FuseSession(const FuseSession&) = delete;
    FuseSession& operator=(const FuseSession&) = delete;
    /// Unmounts, unless that has happened.
    ~FuseSession();

    /// Answers until the mount is gone, or one of the signals that HeldSignals holds back arrives. Throws
    /// base::Error when no thread can be started.
    void serve();

    /// What the callbacks share.
    struct State {
        FileTree& tree;
        SessionOptions options;
        fuse_session* session = nullptr;
        base::FirstError error{};
        Handles<OpenFile> files{};
        Handles<std::vector<Entry>> listings{};
    };

  private:
    void mount();

    State state_;

    struct Destroy {
        void operator()(fuse_session* session) const noexcept;
    };
    std::unique_ptr<fuse_session, Destroy> session_;
};

}  // namespace vmad::mount
