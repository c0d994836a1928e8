// The clients that want to hear of jobs as they change: calls of Wait and of Monitor.
//
// A client that goes is forgotten, one that does not read is the business of varlink/. One thread, that of
// the event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <set>

#include "api/job.hpp"
#include "varlink/request.hpp"

namespace vmad::daemon {

class Subscriptions {
  public:
    /// `on_awaited` is called when the first client begins to wait for a job that has not ended, and when
    /// the last one no longer does.
    explicit Subscriptions(std::function<void(std::uint64_t id, bool awaited)> on_awaited)
        : on_awaited_(std::move(on_awaited)) {}
    Subscriptions(const Subscriptions&) = delete;
    Subscriptions& operator=(const Subscriptions&) = delete;

    /// Replies with each of `jobs`, of which there is at least one, when it ends or reaches its grace period,
    /// and at once with those that already have.
    void wait(varlink::Request request, const std::map<std::uint64_t, const api::Job*>& jobs);
    /// Replies at once without a job, then with each job that changes.
    void monitor(varlink::Request request);

    /// A job has changed.
    void notify(const api::Job& job);
    /// A running job is further.
    void notify_progress(const api::Job& job);

  private:
    struct Waiter {
        varlink::Request request;
        std::set<std::uint64_t> ids;  ///< not answered yet
    };
    void answer_waiters(const api::Job& ended);
    void await(std::uint64_t id);
    void await_no_longer(std::uint64_t id);

    std::function<void(std::uint64_t, bool)> on_awaited_;
    std::list<Waiter> waiters_;
    std::list<varlink::Request> monitors_;
    std::map<std::uint64_t, unsigned> awaited_;  ///< by how many waiters
};

}  // namespace vmad::daemon
