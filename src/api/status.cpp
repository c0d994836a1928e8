#include "api/status.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/json_fields.hpp"

namespace vmad::api {

using nlohmann::json;

namespace {

std::uint64_t duration_of(const Job& ended) {
    const auto ended_at = ended.ended_at.value_or(0);
    return static_cast<std::uint64_t>(
        std::max<std::int64_t>(ended_at - ended.started_at.value_or(ended_at), 0));
}

void add_done(Totals& totals, const Job& ended) {
    ++totals.done;
    totals.bytes_before += ended.size_before.value_or(0);
    totals.bytes_after += ended.size_after.value_or(0);
    const auto took = duration_of(ended);
    totals.duration_seconds += took;
    const auto limit =
        std::lower_bound(kDurationLimits.begin(), kDurationLimits.end(), static_cast<std::int64_t>(took));
    ++totals.durations[static_cast<std::size_t>(limit - kDurationLimits.begin())];
    totals.last_success_at = ended.ended_at;
}

void add_repack(Totals& totals, const Job& ended) {
    switch (ended.state) {
        case JobState::done:
            return add_done(totals, ended);
        case JobState::unchanged:
            ++totals.unchanged;
            totals.last_success_at = ended.ended_at;
            return;
        case JobState::vanished:
            ++totals.vanished;
            return;
        case JobState::failed:
            ++totals.failed;
            totals.last_failure_at = ended.ended_at;
            return;
        case JobState::cancelled:
            ++totals.cancelled;
            return;
        default:
            throw base::Error("only jobs that have ended are counted");
    }
}

void add_look(VerifyTotals& totals, const Job& ended) {
    totals.bytes += ended.size_before.value_or(0);
    totals.duration_seconds += duration_of(ended);
    (ended.damaged ? totals.last_damaged_at : totals.last_good_at) = ended.ended_at;
    ++(ended.damaged ? totals.damaged : totals.good);
}

void add_verify(VerifyTotals& totals, const Job& ended) {
    switch (ended.state) {
        case JobState::done:
        case JobState::unchanged:
            return add_look(totals, ended);
        case JobState::vanished:
            ++totals.vanished;
            return;
        case JobState::failed:
            if (ended.damaged) return add_look(totals, ended);
            ++totals.failed;
            return;
        case JobState::cancelled:
            ++totals.cancelled;
            return;
        default:
            throw base::Error("only jobs that have ended are counted");
    }
}

}  // namespace

void Totals::add(const Job& ended) {
    if (!ended.end_number || *ended.end_number <= counted) return;
    counted = *ended.end_number;
    if (ended.kind == JobKind::verify)
        add_verify(verify, ended);
    else
        add_repack(*this, ended);
}

void to_json(json& out, const VerifyTotals& totals) {
    out = {{"good", totals.good},
           {"damaged", totals.damaged},
           {"failed", totals.failed},
           {"vanished", totals.vanished},
           {"cancelled", totals.cancelled},
           {"bytes", totals.bytes},
           {"duration_seconds", totals.duration_seconds}};
    base::put(out, "last_good_at", totals.last_good_at);
    base::put(out, "last_damaged_at", totals.last_damaged_at);
}

void from_json(const json& in, VerifyTotals& totals) {
    base::Fields fields(in, "verify");
    VerifyTotals read;
    read.good = fields.get<std::uint64_t>("good");
    read.damaged = fields.get<std::uint64_t>("damaged");
    read.failed = fields.get<std::uint64_t>("failed");
    read.vanished = fields.get<std::uint64_t>("vanished");
    read.cancelled = fields.get<std::uint64_t>("cancelled");
    read.bytes = fields.get<std::uint64_t>("bytes");
    read.duration_seconds = fields.get<std::uint64_t>("duration_seconds");
    read.last_good_at = fields.find<std::int64_t>("last_good_at");
    read.last_damaged_at = fields.find<std::int64_t>("last_damaged_at");
    totals = read;
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
           {"verify", totals.verify},
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
    read.verify = fields.get<VerifyTotals>("verify");
    read.counted = fields.get<std::uint64_t>("counted");
    totals = read;
}

const char* to_string(Hold hold) noexcept { return kHoldNames[static_cast<std::size_t>(hold)]; }

void to_json(json& out, const ArchiveCounts& counts) {
    out = {{"known", counts.known},
           {"unverified", counts.unverified},
           {"damaged", counts.damaged},
           {"unacknowledged", counts.unacknowledged},
           {"overdue", counts.overdue}};
    base::put(out, "verified_at", counts.verified_at);
}

void from_json(const json& in, ArchiveCounts& counts) {
    base::Fields fields(in, "archives");
    ArchiveCounts read;
    read.known = fields.get<std::uint64_t>("known");
    read.unverified = fields.get<std::uint64_t>("unverified");
    read.damaged = fields.get<std::uint64_t>("damaged");
    read.unacknowledged = fields.get<std::uint64_t>("unacknowledged");
    read.overdue = fields.get<std::uint64_t>("overdue");
    read.verified_at = fields.find<std::int64_t>("verified_at");
    counts = read;
}

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
    out = {{"version", status.version},        {"pid", status.pid},
           {"started_at", status.started_at},  {"state_dir", status.state_dir},
           {"workers", status.workers},        {"counts", status.counts},
           {"active", status.active},          {"recent", status.recent},
           {"totals", status.totals},          {"waiting", status.waiting},
           {"archives", status.archives},      {"verify_counts", status.verify_counts},
           {"directories", status.directories}};
    if (status.hold) out["hold"] = to_string(*status.hold);
    base::put(out, "hold_until", status.hold_until);
    base::put(out, "oldest_at", status.oldest_at);
    base::put(out, "verify_every", status.verify_every_seconds);
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
    read.verify_counts = fields.get<JobCounts>("verify_counts");
    read.archives = fields.get<ArchiveCounts>("archives");
    read.verify_every_seconds = fields.find<std::int64_t>("verify_every");
    read.directories = fields.get<std::vector<std::string>>("directories");
    read.totals = fields.get<Totals>("totals");
    read.active = fields.get<std::vector<Job>>("active");
    read.waiting = fields.get<std::vector<Job>>("waiting");
    read.recent = fields.get<std::vector<Job>>("recent");
    status = std::move(read);
}

}  // namespace vmad::api
