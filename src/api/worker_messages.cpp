#include "api/worker_messages.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/json_fields.hpp"
#include "varlink/framing.hpp"

namespace vmad::api {

using nlohmann::json;

namespace {

/// Order as in WorkerEvent.
constexpr std::array<const char*, 4> kEvents{"progress", "record", "result", "guest"};

json body(const JobProgress& progress) { return {{"progress", progress}}; }
json body(const WorkerRecord& record) {
    return {{"state", to_string(record.state)}, {"recovery", json::parse(record.recovery)}};
}
json body(const WorkerResult& result) {
    json out{{"state", to_string(result.state)}};
    if (result.waiting_for) out["waiting_for"] = to_string(*result.waiting_for);
    if (!result.reason.empty()) out["reason"] = result.reason;
    base::put(out, "size_before", result.size_before);
    base::put(out, "size_after", result.size_after);
    base::put(out, "retry_after_seconds", result.retry_after_seconds);
    if (!result.warning.empty()) out["warning"] = result.warning;
    if (!result.refused_file.empty()) out["refused_file"] = result.refused_file;
    base::put(out, "space_refusal", result.space_refusal);
    if (!result.gone.empty()) out["gone"] = result.gone;
    base::put(out, "since", result.since);
    base::put(out, "shared_bytes", result.shared_bytes);
    if (!result.damage.empty()) out["damage"] = result.damage;
    base::put(out, "record", result.record);
    if (result.damaged) out["damaged"] = true;
    if (result.cleaned_up) out["cleaned_up"] = true;
    return out;
}

json body(const WorkerGuest& guest) { return {{"name", guest.name}}; }

bool is_result(JobState state) {
    return state == JobState::queued || state == JobState::waiting ||
           (is_final(state) && state != JobState::cancelled);
}

WorkerResult read_result(base::Fields& fields) {
    WorkerResult result;
    result.state = static_cast<JobState>(fields.choose("state", kJobStateNames));
    if (!is_result(result.state)) fields.refuse("state", "is no result of a run");
    if (const auto index = fields.find_choice("waiting_for", kWaitReasonNames))
        result.waiting_for = static_cast<WaitReason>(*index);
    if (result.waiting_for.has_value() != (result.state == JobState::waiting))
        fields.refuse("waiting_for", "belongs to the state waiting");
    result.reason = fields.find<std::string>("reason").value_or("");
    result.size_before = fields.find<std::uint64_t>("size_before");
    result.size_after = fields.find<std::uint64_t>("size_after");
    result.retry_after_seconds = fields.find<std::int64_t>("retry_after_seconds");
    result.warning = fields.find<std::string>("warning").value_or("");
    result.refused_file = fields.find<std::string>("refused_file").value_or("");
    result.space_refusal = fields.find<SpaceRefusal>("space_refusal");
    result.gone = fields.find<std::vector<std::string>>("gone").value_or(std::vector<std::string>());
    result.since = fields.find<NewSince>("since");
    result.shared_bytes = fields.find<std::uint64_t>("shared_bytes");
    result.damage = fields.find<std::vector<DamagedPlace>>("damage").value_or(std::vector<DamagedPlace>());
    if (result.damage.size() > kMaxDamagedPlaces) fields.refuse("damage", "has too many entries");
    result.record = fields.find<ArchiveRecord>("record");
    result.damaged = fields.find<bool>("damaged").value_or(false);
    result.cleaned_up = fields.find<bool>("cleaned_up").value_or(false);
    return result;
}

WorkerRecord read_record(base::Fields& fields) {
    WorkerRecord record;
    record.state = static_cast<JobState>(fields.choose("state", kJobStateNames));
    if (record.state != JobState::running && record.state != JobState::publishing)
        fields.refuse("state", "is not that of a running job");
    record.recovery = fields.get<json>("recovery").dump();
    return record;
}

WorkerEvent read_event(std::size_t type, base::Fields& fields) {
    switch (type) {
        case 0:
            return fields.get<JobProgress>("progress");
        case 1:
            return read_record(fields);
        case 3:
            return WorkerGuest{fields.get<std::string>("name")};
        default:
            return read_result(fields);
    }
}

}  // namespace

void bound(WorkerResult& result) {
    constexpr std::size_t kMostNameBytes = 128;
    const auto cut = [](std::string& text, std::size_t most) { text.resize(std::min(text.size(), most)); };
    cut(result.reason, kMostSentenceBytes);
    cut(result.warning, kMostSentenceBytes);
    for (auto& place : result.damage) cut(place.disk, kMostNameBytes);
    if (result.since)
        for (auto& disk : result.since->disks) cut(disk.disk, kMostNameBytes);
    if (result.record) bound(*result.record);
}

std::string to_line(const WorkerOrder& order) {
    json out{{"job", order.job},
             {"directories", order.directories},
             {"state_dir", order.state_dir},
             {"recover_only", order.recover_only},
             {"threads", order.threads},
             {"memory_bytes", order.memory_bytes},
             {"known_beside", order.known_beside},
             {"share_blocks", order.share_blocks},
             {"verify_source", base::kVerifySourceWords[static_cast<std::size_t>(order.verify_source)]},
             {"last_attempt", order.last_attempt},
             {"spill_dir", order.spill_dir},
             {"zstd_level", order.zstd_level},
             {"grace_period_seconds", order.grace_period_seconds}};
    base::put(out, "reserve_bytes", order.reserve_bytes);
    base::put(out, "known", order.known);
    return varlink::frame_message(out, '\n');
}

std::string to_line(const WorkerEvent& event) {
    json out = std::visit([](const auto& message) { return body(message); }, event);
    out["event"] = kEvents[event.index()];
    return varlink::frame_message(out, '\n');
}

WorkerOrder worker_order_from_line(std::string_view line) {
    const json in = varlink::parse_message(line);
    base::Fields fields(in, "order");
    WorkerOrder order;
    order.job = fields.get<Job>("job");
    order.directories = fields.get<std::vector<std::string>>("directories");
    order.state_dir = fields.get<std::string>("state_dir");
    order.recover_only = fields.get<bool>("recover_only");
    order.threads = fields.get<unsigned>("threads");
    order.memory_bytes = fields.get<std::uint64_t>("memory_bytes");
    order.known = fields.find<ArchiveRecord>("known");
    order.known_beside = fields.get<std::vector<std::string>>("known_beside");
    order.share_blocks = fields.get<bool>("share_blocks");
    order.verify_source =
        static_cast<base::VerifySource>(fields.choose("verify_source", base::kVerifySourceWords));
    order.last_attempt = fields.get<bool>("last_attempt");
    order.spill_dir = fields.get<std::string>("spill_dir");
    order.zstd_level = fields.get<int>("zstd_level");
    order.grace_period_seconds = fields.get<std::int64_t>("grace_period_seconds");
    order.reserve_bytes = fields.find<std::uint64_t>("reserve_bytes");
    fields.refuse_others();
    return order;
}

WorkerEvent worker_event_from_line(std::string_view line) {
    const json in = varlink::parse_message(line);
    base::Fields fields(in, "event");
    WorkerEvent event = read_event(fields.choose("event", kEvents), fields);
    fields.refuse_others();
    return event;
}

}  // namespace vmad::api
