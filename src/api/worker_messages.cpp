#include "api/worker_messages.hpp"

#include <fmt/format.h>

#include "base/json_fields.hpp"
#include "varlink/framing.hpp"

namespace vmad::api {

using nlohmann::json;

namespace {

/// Order as in WorkerEvent.
constexpr std::array<const char*, 3> kEvents{"progress", "publication", "result"};

json body(const JobProgress& progress) { return {{"progress", progress}}; }
json body(const WorkerPublication& publication) { return {{"record", publication.record}}; }
json body(const WorkerResult& result) {
    json out{{"outcome", to_string(result.outcome)}, {"reason", result.reason}};
    base::put(out, "size_before", result.size_before);
    base::put(out, "size_after", result.size_after);
    base::put(out, "retry_after_seconds", result.retry_after_seconds);
    if (!result.notice.empty()) out["notice"] = result.notice;
    if (result.settled) out["settled"] = true;
    return out;
}

WorkerResult read_result(base::Fields& fields) {
    WorkerResult result;
    result.outcome = static_cast<WorkerOutcome>(fields.choose("outcome", kWorkerOutcomeNames));
    result.reason = fields.get<std::string>("reason");
    result.settled = fields.find<bool>("settled").value_or(false);
    result.size_before = fields.find<std::uint64_t>("size_before");
    result.size_after = fields.find<std::uint64_t>("size_after");
    result.retry_after_seconds = fields.find<std::int64_t>("retry_after_seconds");
    result.notice = fields.find<std::string>("notice").value_or("");
    return result;
}

WorkerEvent read_event(std::size_t kind, base::Fields& fields) {
    switch (kind) {
        case 0:
            return fields.get<JobProgress>("progress");
        case 1:
            return WorkerPublication{fields.get<json>("record")};
        default:
            return read_result(fields);
    }
}

}  // namespace

const char* to_string(WorkerOutcome outcome) noexcept {
    return kWorkerOutcomeNames[static_cast<std::size_t>(outcome)];
}

std::string to_line(const WorkerOrder& order) {
    json out{{"job", order.job},
             {"directories", order.directories},
             {"state_dir", order.state_dir},
             {"settle_only", order.settle_only},
             {"threads", order.threads},
             {"memory_bytes", order.memory_bytes},
             {"spill_dir", order.spill_dir},
             {"zstd_level", order.zstd_level},
             {"linger_seconds", order.linger_seconds}};
    base::put(out, "reserve_bytes", order.reserve_bytes);
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
    order.settle_only = fields.get<bool>("settle_only");
    order.threads = fields.get<unsigned>("threads");
    order.memory_bytes = fields.get<std::uint64_t>("memory_bytes");
    order.spill_dir = fields.get<std::string>("spill_dir");
    order.zstd_level = fields.get<int>("zstd_level");
    order.linger_seconds = fields.get<std::int64_t>("linger_seconds");
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
