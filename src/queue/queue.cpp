#include "queue/queue.hpp"

#include <algorithm>
#include <utility>

#include <climits>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/path.hpp"
#include "base/text.hpp"
#include "queue/transition.hpp"

namespace vmad::queue {

using api::Job;
using api::JobKind;
using api::JobState;

namespace {

/// With its '/' at the end.
std::string directory_of(const std::string& path) { return path.substr(0, path.rfind('/') + 1); }

}  // namespace

std::optional<std::string> fault_of_path(const std::string& path) {
    if (!path.starts_with('/')) return "not absolute";
    if (path.find('\0') != path.npos) return "cut short by a NUL";
    if (path.size() >= PATH_MAX) return "too long";
    if (!base::is_utf8(path)) return "not UTF-8";
    if (base::has_component(path, "..")) return "not free of \"..\"";
    return std::nullopt;
}

Queue::Queue(Spool& spool, std::int64_t now) : spool_(spool) {
    Spool::Contents contents = spool.load();
    last_id_ = contents.last_id;
    bad_files_ = std::move(contents.bad);
    totals_ = spool.load_totals(bad_files_);
    totals_saved_ = totals_.counted;
    for (Job& job : contents.jobs) {
        // Not written: the next start is, and until then a load says the same again.
        if (is_running(job)) queue_again(job);
        install(std::move(job));
    }
    // A crash between the two steps of end() owes a path its next job.
    std::vector<const Job*> owed;
    for (const auto& [id, job] : jobs_)
        if (is_final(job.state) && job.run_again && find(job.path, job.kind) == &job) owed.push_back(&job);
    for (const Job* job : owed) save(next_for(*job, now));
    // Ends that the totals on the disk do not know yet, in the order in which they were.
    std::map<std::uint64_t, const Job*> uncounted;
    for (const auto& [id, job] : jobs_)
        if (is_final(job.state) && job.end_number > totals_.counted) uncounted[*job.end_number] = &job;
    for (const auto& [number, job] : uncounted) totals_.add(*job);
}

const Job* Queue::find(std::uint64_t id) const {
    const auto found = jobs_.find(id);
    return found == jobs_.end() ? nullptr : &found->second;
}

const Job* Queue::find(const std::string& path, JobKind kind) const {
    if (const Job* live = find_live(path, kind)) return live;
    const auto last = of(kind).last.find(path);
    return last == of(kind).last.end() ? nullptr : find(last->second);
}

const Job* Queue::find(const std::string& path) const {
    const Job* repack = find(path, JobKind::repack);
    const Job* verify = find(path, JobKind::verify);
    if (!repack || !verify) return repack ? repack : verify;
    if (is_final(repack->state) && !is_final(verify->state)) return verify;
    if (is_final(repack->state) && verify->id > repack->id) return verify;
    return repack;
}

std::vector<const Job*> Queue::recently_ended(std::size_t most) const {
    std::vector<TimedIds::value_type> ends;
    for (const OfKind& kind : by_kind_)
        for (auto end = kind.ends.rbegin(); end != kind.ends.rend() && ends.size() < 2 * most; ++end)
            ends.push_back(*end);
    std::sort(ends.rbegin(), ends.rend());
    if (ends.size() > most) ends.resize(most);
    std::vector<const Job*> recent;
    for (const auto& [ended_at, id] : ends) recent.push_back(&jobs_.at(id));
    return recent;
}

std::vector<const Job*> Queue::oldest_waiting(std::size_t most) const {
    std::vector<const Job*> oldest;
    for (const OfKind& kind : by_kind_) {
        auto left = std::min<std::size_t>(most - oldest.size(), kind.counts[JobState::waiting]);
        for (auto next = kind.unfinished.begin(); left > 0; ++next) {
            const Job& job = jobs_.at(next->second);
            if (job.state != JobState::waiting) continue;
            oldest.push_back(&job);
            --left;
        }
    }
    return oldest;
}

std::optional<std::int64_t> Queue::oldest_queued_at() const {
    const auto& unfinished = of(JobKind::repack).unfinished;
    if (unfinished.empty()) return std::nullopt;
    return unfinished.begin()->first;
}

std::optional<std::int64_t> Queue::oldest_ended_at() const {
    std::optional<std::int64_t> oldest;
    for (const OfKind& kind : by_kind_)
        if (!kind.ends.empty())
            oldest = std::min(oldest.value_or(kind.ends.begin()->first), kind.ends.begin()->first);
    return oldest;
}

std::size_t Queue::ended_count() const noexcept {
    std::size_t most = 0;
    for (const OfKind& kind : by_kind_) most = std::max(most, kind.ends.size());
    return most;
}

std::vector<std::string> Queue::failed_beside(const std::string& path, std::size_t most) const {
    const auto directory = directory_of(path);
    std::set<std::string> paths;
    for (const auto& kind : by_kind_)
        for (auto next = kind.failures.lower_bound(directory);
             next != kind.failures.end() && next->first.starts_with(directory) && paths.size() < most; ++next)
            if (directory_of(next->first) == directory && next->first != path) paths.insert(next->first);
    return {paths.begin(), paths.end()};
}

const api::SpaceRefusal* Queue::space_refusal_for(const Job& job) const {
    if (job.space_refusal) return &*job.space_refusal;
    for (const auto id : short_of_space_)
        if (const Job& other = jobs_.at(id); directory_of(other.path) == directory_of(job.path))
            return &*other.space_refusal;
    return nullptr;
}

Queue::Enqueued Queue::enqueue(const Archive& archive, bool announced, std::int64_t now) {
    if (const auto fault = fault_of_path(archive.path)) throw base::UsageError("the path is " + *fault);
    const Job* live = find_live(archive.path, archive.kind);
    // Also when the failure was acknowledged: the file is no better for that.
    if (const Job* last = find(archive.path, archive.kind); last && is_final(last->state) && !announced &&
                                                            !archive.file.empty() &&
                                                            last->refused_file == archive.file)
        return {*last, false, false};
    if (!live) {
        Job job;
        job.id = last_id_ + 1;
        job.path = archive.path;
        job.kind = archive.kind;
        job.announced = announced;
        job.queued_at = now;
        job.mount_point = archive.mount_point;
        job.storage = archive.storage;
        job.guest = archive.guest;
        job.vmid = archive.vmid;
        if (archive.kind == JobKind::repack) job.recovery = open_recovery_of(archive.path);
        return {save(std::move(job)), true, true};
    }
    bool moved = false;
    Job job = *live;
    if (is_running(job)) {
        // From here on the flag speaks of the next run; the one under way has its order already.
        job.announced = announced || (job.run_again && job.announced);
        job.run_again = true;
    } else {
        job.announced = job.announced || announced;
        // In its grace period it looks at the archive's name anyway when it goes on.
        const bool waits = job.state == JobState::waiting && job.waiting_for != api::WaitReason::grace_period;
        moved = only_recovers(job) || (announced && waits);
        if (moved) queue_anew(job, now);
    }
    // Only who announces has seen the file on its file system; else what is remembered is the better guess.
    if (announced) job.mount_point = archive.mount_point;
    if (!archive.storage.empty()) job.storage = archive.storage;
    return {job == *live ? *live : save(std::move(job)), false, moved};
}

const Job& Queue::start(std::uint64_t id, const std::string& mount_point, std::int64_t now) {
    Job job = require(id);
    if (job.state != JobState::queued && job.state != JobState::waiting)
        throw base::Error(fmt::format("job {} is {}, it cannot be started", id, to_string(job.state)));
    // A job that was queued while its share was away would otherwise take the bare directory for it.
    if (mount_point.size() > job.mount_point.size()) job.mount_point = mount_point;
    begin_run(job, now);
    return save(std::move(job));
}

const Job& Queue::name_guest(std::uint64_t id, const std::string& name) {
    Job job = require_running(id);
    if (job.guest == name) return require(id);
    job.guest = name;
    return save(std::move(job));
}

const Job& Queue::save_recovery(std::uint64_t id, const api::WorkerRecord& record) {
    Job job = require_running(id);
    if (job.kind != JobKind::repack)
        throw base::Error(fmt::format("job {} replaces nothing, it has no recovery record", id));
    job.state = record.state;
    job.recovery = record.recovery;
    return save(std::move(job));
}

Queue::Finished Queue::finish(std::uint64_t id, const api::WorkerResult& result, std::int64_t now) {
    Job job = require_running(id);
    const bool run_again = job.run_again;
    apply_result(job, result, now);
    std::vector<const Job*> superseded;
    for (const auto& path : result.gone)
        for (const auto kind : {JobKind::repack, JobKind::verify})
            supersede(path, kind, "the archive is gone", superseded);
    auto finished = leave_run(std::move(job), run_again, now);
    finished.superseded.insert(finished.superseded.end(), superseded.begin(), superseded.end());
    return finished;
}

Queue::Finished Queue::worker_died(std::uint64_t id, const std::string& how, std::int64_t now) {
    Job job = require_running(id);
    const bool run_again = job.run_again;
    apply_death(job, how, now);
    return leave_run(std::move(job), run_again, now);
}

Queue::Finished Queue::leave_run(Job job, bool run_again, std::int64_t now) {
    const std::uint64_t id = job.id;
    // The wish was about the archive that the run began with, not about one that came since. And in its
    // grace period the archive is canonical already.
    if (!is_final(job.state) && job.waiting_for != api::WaitReason::grace_period && to_cancel_.contains(id))
        give_up(job, run_again, now);
    std::vector<const Job*> superseded;
    // Before the end, so that a failure to write lets the whole end be reported once more.
    if (is_final(job.state)) supersede_by(job, superseded);
    Finished finished =
        is_final(job.state) ? end(std::move(job), now) : Finished{save(std::move(job)), nullptr};
    finished.superseded = std::move(superseded);
    to_cancel_.erase(id);
    return finished;
}

void Queue::supersede_by(const Job& ended, std::vector<const Job*>& superseded) {
    if (ended.state == JobState::cancelled) return;
    const auto reason = fmt::format("superseded by job {}", ended.id);
    const bool is_repack = ended.kind == JobKind::repack;
    // What is gone cannot be at fault, and what was repacked was verified.
    const bool both = ended.state == JobState::vanished || (is_repack && ended.state == JobState::done);
    if (is_repack || both) supersede(ended.path, JobKind::repack, reason, superseded);
    if (!is_repack || both) supersede(ended.path, JobKind::verify, reason, superseded);
}

void Queue::supersede(const std::string& path, JobKind kind, const std::string& reason,
                      std::vector<const Job*>& superseded) {
    const auto found = of(kind).failures.find(path);
    if (found == of(kind).failures.end()) return;
    const auto ids = found->second;
    for (const auto id : ids) {
        Job job = require(id);
        keep_totals_of(job);  // where it stays a failure
        job.state = JobState::cancelled;
        job.reason = reason;
        // What it left has been handed on to the later job.
        if (find(path, kind)->id != id) job.recovery.clear();
        superseded.push_back(&save(std::move(job)));
    }
}

const Job& Queue::cancel(std::uint64_t id, std::int64_t now) {
    Job job = require(id);
    if (is_running(job)) {
        to_cancel_.insert(id);
        return require(id);
    }
    if (job.state == JobState::failed) {
        keep_totals_of(job);  // where it stays a failure
        job.state = JobState::cancelled;
    } else if (is_final(job.state)) {
        return require(id);
    } else if (job.waiting_for == api::WaitReason::grace_period) {
        queue_again(job);
    } else {
        give_up(job, false, now);
    }
    return save(std::move(job));
}

const Job& Queue::retry(std::uint64_t id, std::int64_t now) {
    Job job = *find(require(id).path, require(id).kind);
    if (is_running(job) || (job.state == JobState::queued && !only_recovers(job))) return require(job.id);
    if (is_final(job.state)) keep_totals_of(job);
    queue_anew(job, now);
    // Whoever asks for it knows what is mounted; but what a run left lies where it was.
    if (job.recovery.empty()) job.mount_point.clear();
    return save(std::move(job));
}

std::vector<std::uint64_t> Queue::prune(std::int64_t ended_before, std::size_t most) {
    std::vector<std::uint64_t> pruned;
    for (const OfKind& kind : by_kind_) {
        for (auto next = kind.ends.begin(); next != kind.ends.end();) {
            const auto [ended_at, id] = *next++;
            if (kind.ends.size() <= most && ended_at >= ended_before) break;
            const Job& job = jobs_.at(id);
            const auto open = open_recoveries_.find(job.path);
            if (id == last_id_ || (open != open_recoveries_.end() && open->second == id)) continue;
            keep_totals_of(job);
            spool_.remove(id);
            leave_indexes(job);
            jobs_.erase(id);
            pruned.push_back(id);
        }
    }
    return pruned;
}

void Queue::keep_totals_of(const Job& ended) {
    if (ended.end_number <= totals_saved_) return;
    spool_.save_totals(totals_);
    totals_saved_ = totals_.counted;
}

void Queue::leave_indexes(const Job& job) {
    OfKind& kind = of(job.kind);
    --kind.counts[job.state];
    kind.ends.erase({job.ended_at.value_or(0), job.id});
    kind.unfinished.erase({job.queued_at, job.id});
    short_of_space_.erase(job.id);
    if (const auto failed = kind.failures.find(job.path); failed != kind.failures.end()) {
        failed->second.erase(job.id);
        if (failed->second.empty()) kind.failures.erase(failed);
    }
    if (const auto last = kind.last.find(job.path); last != kind.last.end() && last->second == job.id)
        kind.last.erase(last);
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

const Job* Queue::find_live(const std::string& path, JobKind kind) const {
    const auto found = of(kind).live.find(path);
    return found == of(kind).live.end() ? nullptr : find(found->second);
}

const Job& Queue::save(Job job) {
    // A number at once durable with the end: it shows what the totals miss after a crash.
    if (is_final(job.state) && !job.end_number) job.end_number = totals_.counted + 1;
    spool_.save(job);
    if (is_final(job.state)) totals_.add(job);
    return install(std::move(job));
}

const Job& Queue::install(Job job) {
    OfKind& kind = of(job.kind);
    if (!is_final(job.state))
        kind.live[job.path] = job.id;
    else if (const auto live = kind.live.find(job.path); live != kind.live.end() && live->second == job.id)
        kind.live.erase(live);
    last_id_ = std::max(last_id_, job.id);
    // The recovery record of the latest repack of a path is the one that holds: an earlier one has handed its
    // own on.
    if (job.kind == JobKind::repack) {
        if (job.recovery.empty() || !is_final(job.state))
            open_recoveries_.erase(job.path);
        else
            open_recoveries_[job.path] = job.id;
    }
    if (const auto old = jobs_.find(job.id); old != jobs_.end()) leave_indexes(old->second);
    auto& last = kind.last[job.path];
    last = std::max(last, job.id);
    const Job& place = jobs_[job.id] = std::move(job);
    ++kind.counts[place.state];
    if (place.state == JobState::failed) kind.failures[place.path].insert(place.id);
    if (place.state == JobState::waiting && place.space_refusal) short_of_space_.insert(place.id);
    if (is_final(place.state))
        kind.ends.emplace(place.ended_at.value_or(0), place.id);
    else
        kind.unfinished.emplace(place.queued_at, place.id);
    return place;
}

// Two files cannot change at once, so the end is written first, still marked to run again: a crash in
// between is then made good by the next start.
Queue::Finished Queue::end(Job job, std::int64_t now) {
    if (!job.run_again) return {save(std::move(job)), nullptr};
    job.end_number = totals_.counted + 1;
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
    totals_.add(job);
    const Job& ended = install(std::move(job));
    return {ended, &install(next)};
}

std::string Queue::open_recovery_of(const std::string& path) const {
    const auto found = open_recoveries_.find(path);
    return found == open_recoveries_.end() ? std::string() : require(found->second).recovery;
}

Job Queue::next_for(const Job& job, std::int64_t now) const {
    Job next;
    next.id = last_id_ + 1;
    next.path = job.path;
    next.kind = job.kind;
    next.announced = job.announced;
    next.queued_at = now;
    next.mount_point = job.mount_point;
    next.storage = job.storage;
    next.vmid = job.vmid;
    next.recovery = job.recovery;
    return next;
}

}  // namespace vmad::queue
