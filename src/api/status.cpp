#include "api/status.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/json_fields.hpp"

namespace vmad::api {

using nlohmann::json;

void Totals::add(const Job& ended) {
    if (!ended.end_number || *ended.end_number <= counted) return;
    counted = *ended.end_number;
    switch (ended.state) {
        case JobState::done: {
            ++done;
            bytes_before += ended.size_before.value_or(0);
            bytes_after += ended.size_after.value_or(0);
            const auto took = std::max<std::int64_t>(
                ended.ended_at.value_or(0) - ended.started_at.value_or(ended.ended_at.value_or(0)), 0);
            duration_seconds += static_cast<std::uint64_t>(took);
            const auto limit = std::lower_bound(kDurationLimits.begin(), kDurationLimits.end(), took);
            ++durations[static_cast<std::size_t>(limit - kDurationLimits.begin())];
            last_success_at = ended.ended_at;
            break;
        }
        case JobState::unchanged:
            ++unchanged;
            last_success_at = ended.ended_at;
            break;
        case JobState::vanished:
            ++vanished;
            break;
        case JobState::failed:
            ++failed;
            last_failure_at = ended.ended_at;
            break;
        case JobState::cancelled:
            ++cancelled;
            break;
        default:
            throw base::Error("only jobs that have ended are counted");
    }
}

void to_json(json& out, const Totals& totals) {
    out = {{"done", totals.done},
           {"unchanged", totals.unchanged},
           {"vanished", totals.vanished},
           {"failed", totals.failed},
           {"cancelled", totals.cancelled},
           {"bytes_before", totals.bytes_before},
           {"bytes_after", totals.bytes_after},
           {"durations", totals.durations},
           {"duration_seconds", totals.duration_seconds},
           {"counted", totals.counted}};
    base::put(out, "last_success_at", totals.last_success_at);
    base::put(out, "last_failure_at", totals.last_failure_at);
}

void from_json(const json& in, Totals& totals) {
    base::Fields fields(in, "totals");
    Totals read;
    read.done = fields.get<std::uint64_t>("done");
    read.unchanged = fields.get<std::uint64_t>("unchanged");
    read.vanished = fields.get<std::uint64_t>("vanished");
    read.failed = fields.get<std::uint64_t>("failed");
    read.cancelled = fields.get<std::uint64_t>("cancelled");
    read.bytes_before = fields.get<std::uint64_t>("bytes_before");
    read.bytes_after = fields.get<std::uint64_t>("bytes_after");
    const auto durations = fields.get<std::vector<std::uint64_t>>("durations");
    if (durations.size() != read.durations.size())
        fields.refuse("durations", "has not the classes of this version");
    std::copy(durations.begin(), durations.end(), read.durations.begin());
    read.duration_seconds = fields.get<std::uint64_t>("duration_seconds");
    read.last_success_at = fields.find<std::int64_t>("last_success_at");
    read.last_failure_at = fields.find<std::int64_t>("last_failure_at");
    read.counted = fields.get<std::uint64_t>("counted");
    totals = read;
}

using nlohmann::json;

const char* to_string(Hold hold) noexcept { return kHoldNames[static_cast<std::size_t>(hold)]; }

void to_json(json& out, const JobCounts& counts) {
    out = json::object();
    for (std::size_t i = 0; i < kJobStateNames.size(); ++i)
        out[kJobStateNames[i]] = counts[static_cast<JobState>(i)];
}

void from_json(const json& in, JobCounts& counts) {
    base::Fields fields(in, "counts");
    JobCounts read;
    for (std::size_t i = 0; i < kJobStateNames.size(); ++i)
        read[static_cast<JobState>(i)] = fields.get<std::uint64_t>(kJobStateNames[i]);
    counts = read;
}

void to_json(json& out, const Status& status) {
    out = {{"version", status.version},     {"pid", status.pid},         {"started_at", status.started_at},
           {"state_dir", status.state_dir}, {"workers", status.workers}, {"counts", status.counts},
           {"active", status.active},       {"recent", status.recent},   {"totals", status.totals},
           {"waiting", status.waiting}};
    if (status.hold) out["hold"] = to_string(*status.hold);
    base::put(out, "hold_until", status.hold_until);
    base::put(out, "oldest_at", status.oldest_at);
}

void from_json(const json& in, Status& status) {
    base::Fields fields(in, "status");
    Status read;
    read.version = fields.get<std::string>("version");
    read.pid = fields.get<std::int64_t>("pid");
    read.started_at = fields.get<std::int64_t>("started_at");
    read.state_dir = fields.get<std::string>("state_dir");
    read.workers = fields.get<std::uint32_t>("workers");
    read.counts = fields.get<JobCounts>("counts");
    if (const auto index = fields.find_choice("hold", kHoldNames)) read.hold = static_cast<Hold>(*index);
    read.hold_until = fields.find<std::int64_t>("hold_until");
    read.oldest_at = fields.find<std::int64_t>("oldest_at");
    read.totals = fields.get<Totals>("totals");
    read.active = fields.get<std::vector<Job>>("active");
    read.waiting = fields.get<std::vector<Job>>("waiting");
    read.recent = fields.get<std::vector<Job>>("recent");
    status = std::move(read);
}

}  // namespace vmad::api
