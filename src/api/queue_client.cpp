#include "api/queue_client.hpp"

#include <utility>

#include "api/json_fields.hpp"
#include "api/queue_interface.hpp"

namespace vmad::api {

using nlohmann::json;

QueueClient::QueueClient(const std::string& socket_path, std::chrono::milliseconds limit)
    : limit_(limit), client_(socket_path, limit) {}

EnqueueReply QueueClient::enqueue(const std::string& path, bool announced) {
    return client_.call(kEnqueueMethod, EnqueueCall{path, announced}, limit_).get<EnqueueReply>();
}

std::vector<Job> QueueClient::list(const std::vector<JobState>& states) {
    std::vector<Job> jobs;
    client_.call_more(kListMethod, ListCall{states}, limit_, [&](const json& reply) {
        if (auto job = reply.get<JobReply>().job) jobs.push_back(std::move(*job));
    });
    return jobs;
}

Job QueueClient::show(std::uint64_t id) {
    const json reply = client_.call(kShowMethod, ShowCall{id}, limit_);
    return Fields(reply, "reply").get<Job>("job");
}

Status QueueClient::status() {
    const json reply = client_.call(kStatusMethod, StatusCall{}, limit_);
    return Fields(reply, "reply").get<Status>("status");
}

void QueueClient::wait(const WaitCall& call, varlink::Client::Limit limit, const OnJob& on_end) {
    client_.call_more(kWaitMethod, call, limit, [&](const json& reply) {
        if (const auto job = reply.get<JobReply>().job) on_end(*job);
    });
}

}  // namespace vmad::api
