#include "queue/queue.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.hpp"
#include "queue/job_path.hpp"
#include "queue/transition.hpp"

namespace vmad::queue {

using api::Job;
using api::JobState;

Queue::Queue(Spool& spool, std::int64_t now) : spool_(spool) {
    Spool::Contents contents = spool.load();
    last_id_ = contents.last_id;
    bad_files_ = std::move(contents.bad);
    for (Job& job : contents.jobs) {
        // Not written: the next start is, and until then a load says the same again.
        if (is_running(job)) {
            auto reason = std::move(job.reason);  // only_settles() goes by it
            queue_again(job);
            job.reason = std::move(reason);
        }
        install(std::move(job));
    }
    // A crash between the two steps of end() owes a path its next job.
    std::vector<const Job*> owed;
    for (const auto& [id, job] : jobs_)
        if (is_end(job.state) && job.run_again && find(job.path) == &job) owed.push_back(&job);
    for (const Job* job : owed) save(next_for(*job, now));
}

const Job* Queue::find(std::uint64_t id) const {
    const auto found = jobs_.find(id);
    return found == jobs_.end() ? nullptr : &found->second;
}

const Job* Queue::find(const std::string& path) const {
    if (const Job* live = find_live(path)) return live;
    const auto last = std::find_if(jobs_.rbegin(), jobs_.rend(),
                                   [&](const auto& entry) { return entry.second.path == path; });
    return last == jobs_.rend() ? nullptr : &last->second;
}

std::vector<const Job*> Queue::in_state(JobState state) const {
    std::vector<const Job*> found;
    for (const auto& [id, job] : jobs_)
        if (job.state == state) found.push_back(&job);
    return found;
}

std::vector<const Job*> Queue::recent_ends(std::size_t most) const {
    std::vector<const Job*> ends;
    for (const auto& [id, job] : jobs_)
        if (is_end(job.state)) ends.push_back(&job);
    std::sort(ends.begin(), ends.end(), [](const Job* a, const Job* b) {
        return std::pair(a->ended_at, a->id) > std::pair(b->ended_at, b->id);
    });
    ends.resize(std::min(ends.size(), most));
    return ends;
}

Queue::Enqueued Queue::enqueue(const std::string& path, bool announced, const std::string& mount_point,
                               std::int64_t now) {
    if (const auto fault = fault_of_path(path)) throw base::UsageError("the path is " + *fault);
    const Job* live = find_live(path);
    if (!live) {
        Job job;
        job.id = last_id_ + 1;
        job.path = path;
        job.announced = announced;
        job.queued_at = now;
        job.mount_point = mount_point;
        job.publication = unsettled_of(path);
        return {save(std::move(job)), true};
    }
    Job job = *live;
    if (is_running(job)) {
        // From here on the flag speaks of the next run; the one under way has been told already.
        job.announced = announced || (job.run_again && job.announced);
        job.run_again = true;
    } else if (announced) {
        job.announced = true;
        if (job.state == JobState::waiting) queue_anew(job, now);
    }
    // Only who announces has seen the file on its file system; else what is remembered is the better guess.
    if (announced) job.mount_point = mount_point;
    return {job == *live ? *live : save(std::move(job)), false};
}

const Job& Queue::start(std::uint64_t id, std::int64_t now) {
    Job job = require(id);
    if (job.state != JobState::queued && job.state != JobState::waiting)
        throw base::Error(fmt::format("job {} is {}, it cannot be started", id, to_string(job.state)));
    if (job.state == JobState::waiting) job.reason.clear();
    job.state = JobState::running;
    job.retry_at.reset();
    job.started_at = now;
    ++job.starts;
    return save(std::move(job));
}

const Job& Queue::record_publication(std::uint64_t id, JobState state, nlohmann::json publication) {
    Job job = require_running(id);
    job.state = state;
    job.publication = std::move(publication);
    return save(std::move(job));
}

Queue::Finished Queue::finish(std::uint64_t id, const api::WorkerResult& result, std::int64_t now) {
    Job job = require_running(id);
    const bool run_again = job.run_again;
    apply_result(job, result, now);
    return leave_run(std::move(job), run_again, now);
}

Queue::Finished Queue::worker_died(std::uint64_t id, const std::string& how, std::int64_t now) {
    Job job = require_running(id);
    const bool run_again = job.run_again;
    apply_death(job, how, now);
    return leave_run(std::move(job), run_again, now);
}

Queue::Finished Queue::leave_run(Job job, bool run_again, std::int64_t now) {
    const std::uint64_t id = job.id;
    if (!is_end(job.state) && to_cancel_.contains(id)) {
        // The wish was about the archive that the run began with, not about one that came since.
        job.run_again = run_again;
        end_as(job, JobState::cancelled, now);
    }
    const Finished finished =
        is_end(job.state) ? end(std::move(job), now) : Finished{save(std::move(job)), nullptr};
    to_cancel_.erase(id);
    return finished;
}

const Job& Queue::cancel(std::uint64_t id, std::int64_t now) {
    Job job = require(id);
    if (is_running(job)) to_cancel_.insert(id);
    if (is_running(job) || is_end(job.state)) return require(id);
    end_as(job, JobState::cancelled, now);
    return save(std::move(job));
}

const Job& Queue::retry(std::uint64_t id, std::int64_t now) {
    Job job = require(id);
    const Job* live = find_live(job.path);
    if (live && (live->id != id || live->state != JobState::waiting)) return *live;
    queue_anew(job, now);
    return save(std::move(job));
}

std::vector<std::uint64_t> Queue::prune(std::int64_t ended_before, std::size_t most) {
    std::vector<std::uint64_t> pruned;
    const auto ends = recent_ends(jobs_.size());
    // The oldest first, so that a job never outlives the one that was made because of it.
    for (std::size_t i = ends.size(); i-- > 0;) {
        const std::uint64_t id = ends[i]->id;
        const bool kept = i < most && ends[i]->ended_at >= ended_before;
        const auto unsettled = unsettled_.find(ends[i]->path);
        if (kept || id == last_id_ || (unsettled != unsettled_.end() && unsettled->second == id)) continue;
        spool_.remove(id);
        pruned.push_back(id);
        jobs_.erase(id);
    }
    return pruned;
}

const Job& Queue::require(std::uint64_t id) const {
    const Job* job = find(id);
    if (!job) throw base::Error(fmt::format("there is no job {}", id));
    return *job;
}

const Job& Queue::require_running(std::uint64_t id) const {
    const Job& job = require(id);
    if (!is_running(job))
        throw base::Error(fmt::format("job {} is {}, it does not run", id, to_string(job.state)));
    return job;
}

const Job* Queue::find_live(const std::string& path) const {
    const auto found = live_.find(path);
    return found == live_.end() ? nullptr : find(found->second);
}

const Job& Queue::save(Job job) {
    spool_.save(job);
    return install(std::move(job));
}

const Job& Queue::install(Job job) {
    if (!is_end(job.state))
        live_[job.path] = job.id;
    else if (const auto live = live_.find(job.path); live != live_.end() && live->second == job.id)
        live_.erase(live);
    last_id_ = std::max(last_id_, job.id);
    // What the latest job of a path says of its publication holds: an earlier one has handed its own on.
    if (job.publication.is_null() || !is_end(job.state))
        unsettled_.erase(job.path);
    else
        unsettled_[job.path] = job.id;
    Job& place = jobs_[job.id];
    place = std::move(job);
    return place;
}

// Two files cannot change at once, so the end is written first, still marked to run again: a crash in
// between is then made good by the next start.
Queue::Finished Queue::end(Job job, std::int64_t now) {
    if (!job.run_again) return {save(std::move(job)), nullptr};
    const Job before = require(job.id);
    const Job next = next_for(job, now);
    spool_.save(job);
    try {
        spool_.save(next);
    } catch (...) {
        try {
            spool_.save(before);
        } catch (const base::Error&) {
            // The end stays on the disk, marked to run again, and the first failure is the one to report.
        }
        throw;
    }
    const Job& ended = install(std::move(job));
    return {ended, &install(next)};
}

nlohmann::json Queue::unsettled_of(const std::string& path) const {
    const auto found = unsettled_.find(path);
    return found == unsettled_.end() ? nlohmann::json() : require(found->second).publication;
}

Job Queue::next_for(const Job& job, std::int64_t now) const {
    Job next;
    next.id = last_id_ + 1;
    next.path = job.path;
    next.announced = job.announced;
    next.queued_at = now;
    next.mount_point = job.mount_point;
    next.publication = job.publication;
    return next;
}

}  // namespace vmad::queue
