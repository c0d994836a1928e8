#include "api/status.hpp"

#include "base/json_fields.hpp"

namespace vmad::api {

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
