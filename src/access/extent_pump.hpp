// Reads the extents of an archive in one thread and works on its extents in others.
//
// The first exception of any of them wins: it stops the rest and is rethrown by join. Extents are worked on
// in no particular order; each worker sees its own in ascending order.
#pragma once

#include <functional>
#include <thread>
#include <vector>

#include "base/task.hpp"
#include "base/threads.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::access {

/// reader.next(), but an error also names the disks that could not be read to their end.
[[nodiscard]] bool next_extent(vma::ArchiveReader& reader, vma::Extent& extent);

class ExtentPump {
  public:
    struct Callbacks {
        /// Works on one extent; `worker` is 0 to workers - 1.
        std::function<void(const vma::Extent&, unsigned worker)> work;
        /// In the reader's thread, after each extent, in order.
        std::function<void()> progress;
        /// In some thread: every extent was worked on; or there was an error, then it may be called again.
        std::function<void(bool failed)> ended;
    };

    /// Gives the next extent; false at the end. Called in one thread.
    using Read = std::function<bool(vma::Extent&)>;

    /// Starts the threads. All that the arguments refer to outlives this object; `workers` is at least 1.
    ExtentPump(Read read, unsigned workers, const base::CancelFlag& cancel, Callbacks callbacks);
    ExtentPump(const ExtentPump&) = delete;
    ExtentPump& operator=(const ExtentPump&) = delete;
    /// Stops at once and waits for the threads.
    ~ExtentPump();

    /// Waits for the end and rethrows the first exception, base::Cancelled included.
    void join();

  private:
    void read_all();
    void work(unsigned worker);
    void end_thread();
    void stop() noexcept;

    Read read_;
    const base::CancelFlag& cancel_;
    Callbacks callbacks_;
    base::BoundedQueue<vma::Extent> queue_;
    base::FirstError error_;
    std::atomic<unsigned> running_;
    std::vector<std::thread> threads_;
};

}  // namespace vmad::access
