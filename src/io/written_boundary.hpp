// How far a file that is still being written can be read back from its device.
//
// One thread writes and says how far the file has come; another reads up to there, and waits for more. Any
// thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace vmad::io {

class WrittenBoundary {
  public:
    struct State {
        std::uint64_t bytes = 0;  ///< of the file that are on the device, from its start
        bool complete = false;    ///< these are all: the file is written and synced
    };

    /// `bytes` of the file are on the device; more than before.
    void advance(std::uint64_t bytes);
    /// The file is complete, with this size, and synced.
    void complete(std::uint64_t size_bytes);
    /// Nothing more is written, and what was is not wanted: who waits, now or later, gets base::Cancelled.
    void abort() noexcept;

    [[nodiscard]] State state() const;
    /// Waits until `bytes` are there, or the file is complete. Throws base::Cancelled after abort().
    State wait_for(std::uint64_t bytes) const;

  private:
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    State state_;
    bool aborted_ = false;
};

}  // namespace vmad::io
