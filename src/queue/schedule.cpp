#include "queue/schedule.hpp"

#include <vector>

namespace vmad::queue {

namespace {

std::optional<std::uint64_t> older(std::optional<std::uint64_t> one, std::optional<std::uint64_t> other) {
    if (!one || !other) return one ? one : other;
    return std::min(*one, *other);
}

}  // namespace

void Schedule::update(const api::Job& job) {
    const auto old = remove(job.id);
    if (api::is_final(job.state)) return;
    Entry entry{.path = job.path, .kind = job.kind, .awaited = old && old->awaited};
    if (job.state == api::JobState::running || job.state == api::JobState::publishing) {
        entry.place = Place::running;
    } else if (job.state == api::JobState::waiting && job.retry_at) {
        entry.place = Place::waiting;
        entry.retry_at = *job.retry_at;
    }
    // A job that runs keeps the key under which it was picked; any other may lie elsewhere by now.
    const bool runs_on = old && entry.place == Place::running;
    entry.key = runs_on ? old->key : key_of_(job.path);
    entry.stalled = runs_on && old->stalled;
    insert(job.id, std::move(entry));
}

void Schedule::set_awaited(std::uint64_t id, bool awaited) {
    auto entry = remove(id);
    if (!entry) return;
    entry->awaited = awaited;
    insert(id, std::move(*entry));
}

void Schedule::set_stalled(std::uint64_t id, bool stalled) {
    auto entry = remove(id);
    if (!entry) return;
    entry->stalled = stalled && entry->place == Place::running;
    insert(id, std::move(*entry));
}

void Schedule::wake(std::uint64_t id) {
    auto entry = remove(id);
    if (!entry) return;
    if (entry->place == Place::waiting) entry->place = Place::ready;
    insert(id, std::move(*entry));
}

void Schedule::ask_keys_again() {
    std::vector<std::uint64_t> ids;
    for (const auto& [id, entry] : entries_)
        if (entry.place != Place::running) ids.push_back(id);
    for (const auto id : ids) {
        Entry entry = *remove(id);
        entry.key = key_of_(entry.path);
        insert(id, std::move(entry));
    }
}

std::optional<std::uint64_t> Schedule::next(std::int64_t now, Choice repacks, Choice verifies) {
    while (!waiting_.empty() && waiting_.begin()->first <= now) wake(waiting_.begin()->second);
    if (const auto repack = next_repack(repacks)) return repack;
    return next_verify(verifies);
}

std::optional<std::uint64_t> Schedule::first_of(const OfKind& jobs, Choice choice) {
    if (choice == Choice::none) return std::nullopt;
    const auto& candidates = choice == Choice::any ? jobs.ready : jobs.awaited;
    if (candidates.empty()) return std::nullopt;
    return *candidates.begin();
}

std::optional<std::uint64_t> Schedule::next_repack(Choice choice) const {
    if (running_repacks_ >= workers_) return std::nullopt;
    std::optional<std::uint64_t> oldest;
    for (const auto& [key, lane] : lanes_)
        if (lane.repacks.running == 0) oldest = older(oldest, first_of(lane.repacks, choice));
    return oldest;
}

std::optional<std::uint64_t> Schedule::next_verify(Choice choice) const {
    const auto running = halted();
    const auto going = std::count_if(running.begin(), running.end(), [this](const auto& verify) {
        return !verify.second && !entries_.at(verify.first).stalled;
    });
    if (static_cast<std::size_t>(going) >= left_workers()) return std::nullopt;
    std::optional<std::uint64_t> oldest;
    for (const auto& [key, lane] : lanes_)
        if (lane.repacks.running == 0 && lane.verifies.running == 0)
            oldest = older(oldest, first_of(lane.verifies, choice));
    return oldest;
}

std::map<std::uint64_t, bool> Schedule::halted() const {
    std::map<std::uint64_t, bool> halted;
    auto left = left_workers();
    for (const auto id : running_verifies_) {
        const Entry& entry = entries_.at(id);
        bool& is_halted = halted[id] = lanes_.at(entry.key).repacks.running > 0;
        if (is_halted || entry.stalled) continue;
        is_halted = left == 0;
        if (left > 0) --left;
    }
    return halted;
}

std::optional<std::int64_t> Schedule::look_again_at() const {
    if (waiting_.empty()) return std::nullopt;
    return waiting_.begin()->first;
}

void Schedule::insert(std::uint64_t id, Entry entry) {
    if (entry.place == Place::waiting) {
        waiting_.emplace(entry.retry_at, id);
    } else {
        OfKind& jobs = lanes_[entry.key].of(entry.kind);
        if (entry.place == Place::running) {
            ++jobs.running;
            count_running(id, entry, 1);
        } else {
            jobs.ready.insert(id);
            if (entry.awaited) jobs.awaited.insert(id);
        }
    }
    entries_.emplace(id, std::move(entry));
}

void Schedule::count_running(std::uint64_t id, const Entry& entry, int change) {
    if (entry.kind == api::JobKind::repack)
        running_repacks_ += entry.stalled ? 0 : static_cast<unsigned>(change);
    else if (change > 0)
        running_verifies_.insert(id);
    else
        running_verifies_.erase(id);
}

std::optional<Schedule::Entry> Schedule::remove(std::uint64_t id) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) return std::nullopt;
    Entry entry = std::move(found->second);
    entries_.erase(found);
    if (entry.place == Place::waiting) {
        waiting_.erase({entry.retry_at, id});
        return entry;
    }
    const auto lane = lanes_.find(entry.key);
    OfKind& jobs = lane->second.of(entry.kind);
    if (entry.place == Place::ready) {
        jobs.ready.erase(id);
        jobs.awaited.erase(id);
    } else {
        --jobs.running;
        count_running(id, entry, -1);
    }
    if (lane->second.repacks.is_empty() && lane->second.verifies.is_empty()) lanes_.erase(lane);
    return entry;
}

}  // namespace vmad::queue
