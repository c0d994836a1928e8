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

    /// `limit` is for connecting and for each call but wait.
    explicit QueueClient(const std::string& socket_path,
                         std::chrono::milliseconds limit = std::chrono::seconds(10));

    /// `path` is absolute and UTF-8.
    EnqueueReply enqueue(const std::string& path, bool announced);
    /// The jobs in one of `states`, or all when it is empty, in order of their ids.
    [[nodiscard]] std::vector<Job> list(const std::vector<JobState>& states);
    [[nodiscard]] Job show(std::uint64_t id);
    [[nodiscard]] Status status();
    /// Passes each job of the call on when it ends. Throws TimedOut after `limit`.
    void wait(const WaitCall& call, varlink::Client::Limit limit, const OnJob& on_end);

  private:
    std::chrono::milliseconds limit_;
    varlink::Client client_;
};

}  // namespace vmad::api
