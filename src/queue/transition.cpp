#include "queue/transition.hpp"

#include <utility>

#include <fmt/format.h>

#include "queue/retry.hpp"

namespace vmad::queue {

using api::Job;
using api::JobState;
using api::WaitReason;
using api::WorkerOutcome;

namespace {

void wait_until(Job& job, WaitReason what, std::int64_t when, const std::string& reason) {
    // One that lingers waits all the same: the run after it looks at the archive's name anew.
    if (job.run_again && what != WaitReason::linger) {
        // The reason is about a file that has been replaced.
        job.tries = 0;
        queue_again(job);
        return;
    }
    job.run_again = false;
    job.state = JobState::waiting;
    job.waiting_for = what;
    if (!job.settles_to || job.reason.empty()) job.reason = reason;
    job.retry_at = when;
}

}  // namespace

bool is_running(const Job& job) {
    return job.state == JobState::running || job.state == JobState::publishing;
}

bool only_settles(const Job& job) { return job.settles_to.has_value(); }

void queue_again(Job& job) {
    // Who named it meanwhile wants it repacked, not only settled.
    if (job.run_again) job.settles_to.reset();
    job.state = JobState::queued;
    if (!job.settles_to) job.reason.clear();
    job.waiting_for.reset();
    job.retry_at.reset();
    job.run_again = false;
}

void queue_anew(Job& job, std::int64_t now) {
    job.settles_to.reset();
    queue_again(job);
    job.queued_at = now;
    job.started_at.reset();
    job.ended_at.reset();
    job.end_number.reset();
    job.notice.clear();
    job.starts = 0;
    job.tries = 0;
    job.size_before.reset();
    job.size_after.reset();
}

void give_up(Job& job, bool run_again, std::int64_t now) {
    if (job.publication.is_null()) {
        job.run_again = run_again;
        return end_as(job, JobState::cancelled, now);
    }
    job.reason.clear();
    job.settles_to.reset();
    if (!run_again) job.settles_to = JobState::cancelled;
    queue_again(job);
}

void end_as(Job& job, JobState state, std::int64_t now, const std::string& reason) {
    job.state = state;
    job.reason = reason;
    job.waiting_for.reset();
    job.retry_at.reset();
    job.settles_to.reset();
    // A job that lingered ended, for everybody but us, when its archive was there.
    if (!job.ended_at) job.ended_at = now;
}

void begin_run(Job& job, std::int64_t now) {
    if (job.waiting_for != WaitReason::linger) {
        job.started_at = now;
        job.ended_at.reset();
    }
    if (!job.settles_to) job.reason.clear();
    job.state = JobState::running;
    job.waiting_for.reset();
    job.retry_at.reset();
    ++job.starts;
}

void apply_result(Job& job, const api::WorkerResult& result, std::int64_t now) {
    if (result.settled) job.publication = nullptr;
    if (result.outcome == WorkerOutcome::cancelled) {
        job.starts -= 1;
        queue_again(job);
        return;
    }
    job.starts = 0;
    job.size_before = result.size_before;
    job.size_after = result.size_after;
    if (!result.notice.empty()) job.notice = result.notice;
    const std::uint32_t tries = std::exchange(job.tries, 0);
    const auto look_again = now + result.retry_after_seconds.value_or(condition_delay(now - job.queued_at));
    const auto end_well = [&](JobState state) {
        job.publication = nullptr;
        end_as(job, state, now);
    };
    const auto end_badly = [&](const std::string& reason) {
        if (job.settles_to == JobState::cancelled) return end_as(job, JobState::cancelled, now);
        end_as(job, JobState::failed, now, job.settles_to ? job.reason : reason);
    };
    switch (result.outcome) {
        case WorkerOutcome::done:
            return end_well(JobState::done);
        case WorkerOutcome::unchanged:
            return end_well(JobState::unchanged);
        case WorkerOutcome::vanished:
            return end_well(JobState::vanished);
        case WorkerOutcome::failed:
            return end_badly(result.reason);
        case WorkerOutcome::transient:
            job.tries = tries + 1;
            if (job.tries >= kMostTries) return end_badly(result.reason);
            return wait_until(job, WaitReason::retry, now + transient_delay(job.tries), result.reason);
        case WorkerOutcome::no_space:
            return wait_until(job, WaitReason::space, look_again, result.reason);
        case WorkerOutcome::no_storage:
            return wait_until(job, WaitReason::storage, look_again, result.reason);
        case WorkerOutcome::busy:
            return wait_until(job, WaitReason::busy, look_again, result.reason);
        case WorkerOutcome::lingering:
            job.ended_at = now;
            return wait_until(job, WaitReason::linger, look_again, result.reason);
        case WorkerOutcome::cancelled:
            break;
    }
}

void apply_death(Job& job, const std::string& how, std::int64_t now) {
    if (job.starts < kMostDeaths) return queue_again(job);
    const auto reason = fmt::format("worker died ({})", how);
    if (job.publication.is_null() || only_settles(job)) return end_as(job, JobState::failed, now, reason);
    // It failed, but the last worker may have left a whole copy beside the archive.
    job.settles_to = JobState::failed;
    job.reason = reason;
    queue_again(job);
}

}  // namespace vmad::queue
