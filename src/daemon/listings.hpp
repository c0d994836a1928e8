// Calls of List: the jobs of the queue in portions, as fast as each client reads, so that neither a long
// queue nor a slow client holds up anybody else. One thread, that of the event loop.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "api/queue_calls.hpp"
#include "daemon/job_runner.hpp"
#include "queue/queue.hpp"
#include "varlink/request.hpp"

namespace vmad::daemon {

class Listings {
  public:
    Listings(const queue::Queue& queue, const JobRunner& runner) : queue_(queue), runner_(runner) {}
    Listings(const Listings&) = delete;
    Listings& operator=(const Listings&) = delete;

    /// Jobs that change while the list is on its way come as they are when it is their turn.
    void start(varlink::Request request, const api::ListCall& call);

  private:
    struct Listing {
        varlink::Request request;
        std::vector<api::JobState> states;  ///< empty: all
        std::uint64_t last_id = 0;          ///< looked at last
        std::optional<api::Job> held{};     ///< not sent before it is known whether another follows
    };
    void send_portion(std::list<Listing>::iterator listing);

    const queue::Queue& queue_;
    const JobRunner& runner_;
    std::list<Listing> listings_;
};

}  // namespace vmad::daemon
