// The queue of a running daemon, as a command line tool sees it: org.vmad.Queue with types.
//
// Blocking, one thread at a time. Failures are those of varlink::Client; a reply that breaks the interface is
// a base::Error.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "api/job.hpp"
#include "api/queue_calls.hpp"
#include "api/status.hpp"
#include "varlink/client.hpp"

namespace vmad::api {

class QueueClient {
  public:
    using OnJob = std::function<void(const Job&)>;

    /// `limit` is for connecting and for each call but wait and monitor.
    explicit QueueClient(const std::string& socket_path,
                         std::chrono::milliseconds limit = std::chrono::seconds(10));

    void set_idle(std::function<void()> idle) { client_.set_idle(std::move(idle)); }
    void set_limit(std::chrono::milliseconds limit) noexcept { limit_ = limit; }

    /// The path is absolute. Refuses one that is not UTF-8 itself, as the daemon would.
    EnqueueReply enqueue(const EnqueueCall& call);
    /// The jobs in one of `states`, or all when it is empty, in order of their ids.
    [[nodiscard]] std::vector<Job> list(const std::vector<JobState>& states);
    [[nodiscard]] Job show(std::uint64_t id);
    [[nodiscard]] Status status();
    /// Passes each job of the call on when it ends. Throws TimedOut after `limit`.
    void wait(const WaitCall& call, varlink::Client::Limit limit, const OnJob& on_end);
    /// Passes each job on whenever it changes, and running ones as they progress, until the daemon goes or
    /// `on_change` throws. `on_begin` is called first, when nothing that follows can be missed any more.
    void monitor(const std::function<void()>& on_begin, const OnJob& on_change);
    Job cancel(std::uint64_t id);
    Job retry(std::uint64_t id);
    void pause(bool now);
    void resume();
    /// Returns what is odd about the settings.
    std::vector<std::string> reload();
    /// Every archive that the daemon knows, by path.
    [[nodiscard]] std::vector<ArchiveRecord> archives();
    /// By storage and guest.
    [[nodiscard]] std::vector<GuestSummary> guests();
    /// Drops what is known of archives that the caller has looked for and not found. Returns how many there
    /// were.
    std::uint64_t forget(const std::vector<std::string>& paths);

  private:
    std::chrono::milliseconds limit_;
    varlink::Client client_;
};

}  // namespace vmad::api
