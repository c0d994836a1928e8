#include "daemon/subscriptions.hpp"

#include "api/queue_calls.hpp"

namespace vmad::daemon {

using api::Job;

namespace {

/// There is nothing left to wait for: in its grace period the archive of a job is canonical.
bool is_over(const Job& job) {
    return is_final(job.state) || job.waiting_for == api::WaitReason::grace_period;
}

}  // namespace

void Subscriptions::wait(varlink::Request request, const std::map<std::uint64_t, const Job*>& jobs) {
    waiters_.push_front({std::move(request), {}});
    const auto self = waiters_.begin();
    for (const auto& [id, job] : jobs) {
        self->ids.insert(id);
        if (!is_over(*job)) await(id);
    }
    self->request.when_gone([this, self] {
        const auto ids = std::move(self->ids);
        waiters_.erase(self);
        for (const auto id : ids) await_no_longer(id);
    });
    for (const auto& [id, job] : jobs)
        if (is_over(*job)) answer_waiters(*job);
}

void Subscriptions::monitor(varlink::Request request) {
    monitors_.push_front(std::move(request));
    const auto self = monitors_.begin();
    self->when_gone([this, self] { monitors_.erase(self); });
    self->reply_continues(api::JobReply{});
}

void Subscriptions::notify(const Job& job) {
    notify_progress(job);
    if (is_over(job)) answer_waiters(job);
}

void Subscriptions::notify_progress(const Job& job) {
    for (auto& request : monitors_) request.reply_continues(api::JobReply{job});
}

void Subscriptions::answer_waiters(const Job& ended) {
    awaited_.erase(ended.id);
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
        const auto current = waiter++;
        if (current->ids.erase(ended.id) == 0) continue;
        if (!current->ids.empty()) {
            current->request.reply_continues(api::JobReply{ended});
            continue;
        }
        current->request.reply(api::JobReply{ended});
        waiters_.erase(current);
    }
}

void Subscriptions::await(std::uint64_t id) {
    if (++awaited_[id] == 1) on_awaited_(id, true);
}

void Subscriptions::await_no_longer(std::uint64_t id) {
    const auto count = awaited_.find(id);
    if (count == awaited_.end() || --count->second != 0) return;
    awaited_.erase(count);
    on_awaited_(id, false);
}

}  // namespace vmad::daemon
