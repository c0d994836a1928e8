// A file system of which single system calls fail, so that its own code says what becomes of an errno.
//
// The program is linked so that the system calls that io/file_system.cpp makes come here first (the list is
// in meson.build). They are counted by the method of io::FileSystem that makes them, from whichever thread.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "support/pretended_mount.hpp"

namespace vmad::fault {

/// In place of an errno.
enum Trouble : int {
    kShort = -1,    ///< half of what was asked for is read, written or copied
    kNothing = -2,  ///< nothing is written, and that is no error
};

/// Which system calls fail, and how.
struct Failure {
    std::string method{};   ///< of io::FileSystem; none: none fails
    int error = 0;          ///< errno or Trouble
    unsigned number = 1;    ///< which one of those that the method makes, from 1
    bool was_done = false;  ///< it does what it is to do all the same
    bool stays = false;     ///< and so do all after it
};

/// One at a time. Any thread.
class FailingFileSystem final : public support::PretendedMount {
  public:
    FailingFileSystem();
    ~FailingFileSystem() override;

    void fail(const Failure& failure);
    [[nodiscard]] const Failure& failure() const noexcept { return failure_; }
    /// A call has failed.
    [[nodiscard]] bool was_hit() const noexcept { return was_hit_; }
    /// How many system calls each method has made.
    [[nodiscard]] const std::map<std::string, unsigned>& counts() const noexcept { return counts_; }

    /// For the system call that a method makes now: 0, or how it fails.
    [[nodiscard]] Failure strike();

  private:
    std::mutex mutex_;
    Failure failure_;
    std::map<std::string, unsigned> counts_;
    std::atomic<bool> was_hit_ = false;
};

}  // namespace vmad::fault
