// What the tests of the queue share: a state directory, in memory where that can be, a queue on one, and a
// call that fails.
#pragma once

#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "queue/queue.hpp"
#include "support/fault_file_system.hpp"
#include "support/run_outcome.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::queue::test {

class StateDirectory : public support::TemporaryDirectory {
  public:
    StateDirectory() : TemporaryDirectory(fast_base()) {}
};

inline const std::string kRecord = R"({"temporary":".vmad-x.tmp"})";

/// A queue on a state directory of its own.
struct Fixture {
    StateDirectory state;
    support::FaultFileSystem fs;
    std::unique_ptr<Spool> spool;
    std::unique_ptr<Queue> queue;

    Fixture() { restart(); }
    /// As after a crash of the daemon.
    void restart(std::int64_t now = 0) {
        queue.reset();
        spool.reset();
        spool = std::make_unique<Spool>(fs, state.path());
        queue = std::make_unique<Queue>(*spool, now);
    }
    std::uint64_t add(const std::string& path, bool announced = false, std::int64_t now = 0) {
        return queue->enqueue({path, "/mnt"}, announced, now).job.id;
    }
    Queue::Finished finish(std::uint64_t id, support::Outcome ending, std::int64_t now,
                           const std::string& reason = "") {
        return queue->finish(id, ending.because(reason), now);
    }
};

inline std::set<std::string> names_in(const std::string& directory) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
        names.insert(entry.path().filename());
    return names;
}

/// Makes the call with this number, from now on, fail with EIO; 0: none.
inline void fail_call(support::FaultFileSystem& fs, unsigned number) {
    fs.forget_calls();
    fs.before = [number](const support::Call& call) {
        if (call.number == number) support::FaultFileSystem::fail(EIO, call);
    };
}

}  // namespace vmad::queue::test
