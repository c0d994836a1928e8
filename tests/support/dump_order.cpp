#include "support/dump_order.hpp"

#include <algorithm>
#include <utility>

namespace vmad::testing {

DumpOrder::DumpOrder(const DumpDevices& devices, const DumpOptions& options, Random& random)
    : options_(options), random_(random) {
    for (const auto& [id, disk] : devices) {
        const auto count = static_cast<std::uint32_t>(clusters_of(disk->size_bytes));
        if (count > 0) queue_.push_back({.id = id, .name = disk->name, .seen = std::vector<bool>(count)});
    }
    // QEMU dumps the disk that was registered last first.
    std::sort(queue_.begin(), queue_.end(),
              [](auto& a, auto& b) { return a.name != b.name ? a.name > b.name : a.id < b.id; });
    if (options_.ascending) std::reverse(queue_.begin(), queue_.end());
}

void DumpOrder::walk(const Visit& visit) {
    if (options_.shuffle) return walk_shuffled(visit);
    while (const auto place = next()) {
        in_flight_.push_back(*place);
        if (in_flight_.size() >= options_.jitter) visit(complete_one());
        if (random_.chance(options_.injected)) inject(visit);
    }
    while (!in_flight_.empty()) visit(complete_one());
}

std::optional<Place> DumpOrder::next() {
    while (!queue_.empty()) {
        if (turn_ >= queue_.size()) turn_ = 0;
        Copy& copy = queue_[turn_];
        while (copy.position < copy.seen.size() && copy.seen[copy.position]) ++copy.position;
        if (copy.position == copy.seen.size()) {
            queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(turn_));
            continue;
        }
        copy.seen[copy.position] = true;
        if (options_.interleave) ++turn_;
        return Place{copy.id, copy.position};
    }
    return std::nullopt;
}

Place DumpOrder::complete_one() {
    std::swap(in_flight_[random_.below(in_flight_.size())], in_flight_.back());
    const Place place = in_flight_.back();
    in_flight_.pop_back();
    return place;
}

void DumpOrder::inject(const Visit& visit) {
    if (queue_.empty()) return;
    Copy& copy = queue_[random_.below(queue_.size())];
    const std::uint64_t first = random_.below(copy.seen.size());
    const std::uint64_t end = std::min<std::uint64_t>(first + 1 + random_.below(8), copy.seen.size());
    for (std::uint64_t c = first; c < end; ++c) {
        if (copy.seen[c]) continue;
        copy.seen[c] = true;
        visit(Place{copy.id, static_cast<std::uint32_t>(c)});
    }
}

void DumpOrder::walk_shuffled(const Visit& visit) {
    std::vector<Place> places;
    for (const auto& copy : queue_) {
        for (std::uint32_t c = 0; c < copy.seen.size(); ++c) places.push_back({copy.id, c});
    }
    random_.shuffle(places);
    for (const auto place : places) visit(place);
}

}  // namespace vmad::testing
