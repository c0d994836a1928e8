#include "queue/transition.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/text.hpp"

namespace vmad::queue {

using api::Job;
using api::JobState;
using api::WaitReason;

namespace {

constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kLongestTransientDelay = 60 * kMinute;
constexpr std::int64_t kLongestConditionDelay = 10 * kMinute;
constexpr std::int64_t kFirstSpaceDelay = 60 * kMinute;
constexpr std::int64_t kLongestSpaceDelay = std::int64_t{24} * 60 * kMinute;

std::int64_t doubled(std::int64_t delay, std::uint32_t times, std::int64_t longest) noexcept {
    for (std::uint32_t i = 1; i < times && delay < longest; ++i) delay *= 2;
    return std::min(delay, longest);
}

/// Durable, so that no attempt after a restart fills the disk once more.
void remember_refusal(Job& job, const api::SpaceRefusal& refusal, std::int64_t now) {
    const auto times = job.space_refusal ? job.space_refusal->times + 1 : 1;
    job.space_refusal = refusal;
    job.space_refusal->times = times;
    job.space_refusal->try_again_at = now + space_refusal_delay(times);
}

void forget_findings(Job& job) {
    job.since.reset();
    job.shared_bytes.reset();
    job.damage.clear();
    job.last_good_at.reset();
}

void take_findings(Job& job, const api::WorkerResult& result) {
    forget_findings(job);
    job.since = result.since;
    job.shared_bytes = result.shared_bytes;
    if (job.kind != api::JobKind::verify || result.state != JobState::failed) return;
    job.damage = result.damage;
    if (result.record) job.last_good_at = result.record->verified_at;
}

void wait_until(Job& job, WaitReason what, std::int64_t when, const std::string& reason) {
    // In the grace period it waits all the same: the run after it looks at the archive's name anew.
    if (job.run_again && what != WaitReason::grace_period) {
        // The reason is about a file that has been replaced.
        job.failed_attempts = 0;
        job.space_refusal.reset();
        queue_again(job);
        return;
    }
    job.run_again = false;
    job.state = JobState::waiting;
    job.waiting_for = what;
    if (!job.state_after_recovery || job.reason.empty()) job.reason = reason;
    job.retry_at = when;
}

/// An earlier attempt's stands, as what it found may have got into the archive meanwhile.
void add_warning(std::string& warnings, const std::string& more) {
    constexpr std::size_t kMostBytes = 10'000;  // two of the longest path, and more
    if (!more.empty() && warnings.size() + more.size() > kMostBytes) warnings.clear();
    base::append_sentence(warnings, more);
}

/// All that was to be done is done, recovery included.
void end_well(Job& job, JobState state, std::int64_t now) {
    job.recovery.clear();
    end_as(job, state, now);
}

void fail(Job& job, const std::string& reason, std::int64_t now) {
    if (job.state_after_recovery == JobState::cancelled) return end_as(job, JobState::cancelled, now);
    end_as(job, JobState::failed, now, job.state_after_recovery ? job.reason : reason);
}

void wait_or_fail(Job& job, const api::WorkerResult& result, std::uint32_t failed_attempts,
                  std::int64_t now) {
    const auto look_again = now + result.retry_after_seconds.value_or(condition_delay(now - job.queued_at));
    const auto what = result.waiting_for.value();
    switch (what) {
        case WaitReason::retry:
            job.failed_attempts = failed_attempts + 1;
            if (job.failed_attempts >= kMostFailedAttempts) return fail(job, result.reason, now);
            return wait_until(job, what, now + transient_delay(job.failed_attempts), result.reason);
        case WaitReason::grace_period:
            job.ended_at = now;
            return wait_until(job, what, look_again, result.reason);
        case WaitReason::space:
        case WaitReason::storage:
        case WaitReason::locked:
        case WaitReason::too_recent:
            return wait_until(job, what, look_again, result.reason);
    }
}

}  // namespace

std::int64_t transient_delay(std::uint32_t tries) noexcept {
    return doubled(kMinute, tries, kLongestTransientDelay);
}

std::int64_t space_refusal_delay(std::uint32_t times) noexcept {
    return doubled(kFirstSpaceDelay, times, kLongestSpaceDelay);
}

// The time in the queue is durable already and doubles from look to look, so no counter needs to be kept.
std::int64_t condition_delay(std::int64_t seconds_in_queue) noexcept {
    return std::clamp(seconds_in_queue, kMinute, kLongestConditionDelay);
}

bool is_running(const Job& job) {
    return job.state == JobState::running || job.state == JobState::publishing;
}

bool only_recovers(const Job& job) { return job.state_after_recovery.has_value(); }

void queue_again(Job& job) {
    // Who queued it meanwhile wants it repacked, not only recovered.
    if (job.run_again) job.state_after_recovery.reset();
    job.state = JobState::queued;
    if (!job.state_after_recovery) job.reason.clear();
    job.waiting_for.reset();
    job.retry_at.reset();
    job.run_again = false;
}

void queue_anew(Job& job, std::int64_t now) {
    job.state_after_recovery.reset();
    queue_again(job);
    job.queued_at = now;
    job.started_at.reset();
    job.ended_at.reset();
    job.end_number.reset();
    job.warning.clear();
    job.damaged = false;
    job.attempts = 0;
    job.failed_attempts = 0;
    job.refused_file.clear();
    job.space_refusal.reset();
    job.size_before.reset();
    job.size_after.reset();
    forget_findings(job);
}

void give_up(Job& job, bool run_again, std::int64_t now) {
    if (job.recovery.empty()) {
        job.run_again = run_again;
        return end_as(job, JobState::cancelled, now);
    }
    job.reason.clear();
    job.state_after_recovery.reset();
    if (!run_again) job.state_after_recovery = JobState::cancelled;
    queue_again(job);
}

void end_as(Job& job, JobState state, std::int64_t now, const std::string& reason) {
    job.state = state;
    job.reason = reason;
    job.waiting_for.reset();
    job.retry_at.reset();
    job.state_after_recovery.reset();
    job.space_refusal.reset();
    // A job in its grace period had ended, for everybody but us, when its archive was there.
    if (!job.ended_at) job.ended_at = now;
}

void begin_run(Job& job, std::int64_t now) {
    if (job.waiting_for != WaitReason::grace_period) {
        job.started_at = now;
        job.ended_at.reset();
    }
    if (!job.state_after_recovery) job.reason.clear();
    job.state = JobState::running;
    job.waiting_for.reset();
    job.retry_at.reset();
    ++job.attempts;
}

void apply_result(Job& job, const api::WorkerResult& result, std::int64_t now) {
    if (result.cleaned_up) job.recovery.clear();
    if (result.state == JobState::queued) {
        job.attempts -= 1;
        return queue_again(job);
    }
    job.attempts = 0;
    job.size_before = result.size_before;
    job.size_after = result.size_after;
    take_findings(job, result);
    job.damaged = result.damaged;
    add_warning(job.warning, result.warning);
    const auto failed_attempts = std::exchange(job.failed_attempts, 0);
    if (!job.state_after_recovery) job.refused_file = result.refused_file;
    if (result.space_refusal) remember_refusal(job, *result.space_refusal, now);
    if (result.state == JobState::waiting) return wait_or_fail(job, result, failed_attempts, now);
    if (result.state == JobState::failed) return fail(job, result.reason, now);
    end_well(job, result.state, now);
}

void apply_death(Job& job, const std::string& how, std::int64_t now) {
    if (job.attempts < kMostAttempts) return queue_again(job);
    const auto reason = fmt::format("worker died ({})", how);
    if (job.recovery.empty() || only_recovers(job)) return end_as(job, JobState::failed, now, reason);
    // It failed, but the last worker may have left a whole copy beside the archive.
    job.state_after_recovery = JobState::failed;
    job.reason = reason;
    queue_again(job);
}

}  // namespace vmad::queue
