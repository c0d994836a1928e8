#include "queue/schedule.hpp"

#include <vector>

namespace vmad::queue {

void Schedule::update(const api::Job& job) {
    const auto old = remove(job.id);
    if (api::is_final(job.state)) return;
    Entry entry{.path = job.path, .awaited = old && old->awaited};
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

std::optional<std::uint64_t> Schedule::next(std::int64_t now, Choice choice) {
    while (!waiting_.empty() && waiting_.begin()->first <= now) wake(waiting_.begin()->second);
    if (running_ >= workers_) return std::nullopt;
    std::optional<std::uint64_t> oldest;
    for (const auto& [key, lane] : lanes_) {
        const auto& candidates = choice == Choice::any ? lane.ready : lane.awaited;
        if (lane.running > 0 || candidates.empty()) continue;
        if (!oldest || *candidates.begin() < *oldest) oldest = *candidates.begin();
    }
    return oldest;
}

std::optional<std::int64_t> Schedule::look_again_at() const {
    if (waiting_.empty()) return std::nullopt;
    return waiting_.begin()->first;
}

void Schedule::insert(std::uint64_t id, Entry entry) {
    switch (entry.place) {
        case Place::ready:
            lanes_[entry.key].ready.insert(id);
            if (entry.awaited) lanes_[entry.key].awaited.insert(id);
            break;
        case Place::waiting:
            waiting_.emplace(entry.retry_at, id);
            break;
        case Place::running:
            ++lanes_[entry.key].running;
            if (!entry.stalled) ++running_;
            break;
    }
    entries_.emplace(id, std::move(entry));
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
    if (entry.place == Place::ready) {
        lane->second.ready.erase(id);
        lane->second.awaited.erase(id);
    } else {
        --lane->second.running;
        if (!entry.stalled) --running_;
    }
    if (lane->second.ready.empty() && lane->second.running == 0) lanes_.erase(lane);
    return entry;
}

}  // namespace vmad::queue
