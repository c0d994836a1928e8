// What compressing and decompressing with lzop have in common: starting it, and waiting for it while another
// thread moves bytes at its other end.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

#include "base/task.hpp"
#include "base/threads.hpp"
#include "codec/child_program.hpp"

namespace vmad::codec {

/// How long nobody looks at a flag at most.
inline constexpr std::chrono::milliseconds kLzopSlice{200};
/// What is moved between lzop and the other side at once.
inline constexpr std::size_t kLzopPieceBytes = std::size_t{1} << 20;

/// Runs the lzop that PATH names, without the options of the variable LZOP. Throws base::Error when there is
/// none.
[[nodiscard]] ChildProgram start_lzop(std::vector<std::string> options);

/// Throws base::Error for any end but that with exit status 0 to `max_status`.
void check_ended(const ProgramEnd& end, int max_status);

/// The thread that moves bytes at the other end of lzop, as the thread that waits for lzop sees it.
class OtherEnd {
  public:
    base::CancelFlag stop;   ///< the thread is to end
    base::FirstError error;  ///< why it ended

    /// Around what may take any time and is not for lzop to do.
    template <typename Work>
    void outside(Work work) {
        outside_ = true;
        work();
        outside_ = false;
        ++moves_;
    }
    void note_progress() noexcept { ++moves_; }
    void end() {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        changed_.notify_all();
    }

    [[nodiscard]] bool is_outside() const noexcept { return outside_; }
    [[nodiscard]] std::uint64_t moves() const noexcept { return moves_; }
    /// Waits up to `wait` until the thread has ended. False when it has not.
    [[nodiscard]] bool wait_end(std::chrono::milliseconds wait) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, wait, [this] { return ended_; });
    }

  private:
    std::atomic<bool> outside_{false};
    std::atomic<std::uint64_t> moves_{0};
    std::mutex mutex_;
    std::condition_variable changed_;
    bool ended_ = false;
};

/// One wait for lzop: ends it when a stop is requested, the other end has failed, or lzop hangs.
class Watch {
  public:
    Watch(ChildProgram& lzop, OtherEnd& other, const base::CancelFlag* cancel,
          std::chrono::milliseconds patience)
        : lzop_(lzop), other_(other), cancel_(cancel), patience_(patience) {}

    /// Before each wait of a slice.
    void begin_slice();
    void note_progress() noexcept { idle_ = {}; }
    /// After a slice in which nothing came of the wait.
    void note_idle();
    /// Waits for lzop's end.
    [[nodiscard]] ProgramEnd wait_end();

  private:
    ChildProgram& lzop_;
    OtherEnd& other_;
    const base::CancelFlag* cancel_;
    std::chrono::milliseconds patience_;
    std::uint64_t moves_ = 0;
    std::chrono::steady_clock::time_point began_;
    std::chrono::nanoseconds idle_{};
};

}  // namespace vmad::codec
