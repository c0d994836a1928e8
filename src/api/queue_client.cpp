#include "api/queue_client.hpp"

#include <utility>

#include "api/queue_interface.hpp"
#include "base/json_fields.hpp"
#include "base/text.hpp"
#include "varlink/protocol.hpp"

namespace vmad::api {

using nlohmann::json;

QueueClient::QueueClient(const std::string& socket_path, std::chrono::milliseconds limit)
    : limit_(limit), client_(socket_path, limit) {}

EnqueueReply QueueClient::enqueue(const EnqueueCall& call) {
    // On the way its bytes would be replaced: another path.
    if (!base::is_utf8(call.path)) throw path_refused(call.path, "it is not UTF-8: rename it");
    return client_.call(kEnqueueMethod, call, limit_).get<EnqueueReply>();
}

std::vector<Job> QueueClient::list(const std::vector<JobState>& states) {
    std::vector<Job> jobs;
    client_.call_more(kListMethod, ListCall{states}, limit_, [&](const json& reply) {
        if (auto job = reply.get<JobReply>().job) jobs.push_back(std::move(*job));
    });
    return jobs;
}

Job QueueClient::show(std::uint64_t id) {
    const json reply = client_.call(kShowMethod, JobCall{id}, limit_);
    return base::Fields(reply, "reply").get<Job>("job");
}

Status QueueClient::status() {
    const json reply = client_.call(kStatusMethod, EmptyCall{}, limit_);
    return base::Fields(reply, "reply").get<Status>("status");
}

void QueueClient::wait(const WaitCall& call, varlink::Client::Limit limit, const OnJob& on_end) {
    client_.call_more(kWaitMethod, call, limit, [&](const json& reply) {
        if (const auto job = reply.get<JobReply>().job) on_end(*job);
    });
}

void QueueClient::monitor(const std::function<void()>& on_begin, const OnJob& on_change) {
    client_.call_more(kMonitorMethod, EmptyCall{}, std::nullopt, [&](const json& reply) {
        if (const auto job = reply.get<JobReply>().job)
            on_change(*job);
        else
            on_begin();
    });
}

Job QueueClient::cancel(std::uint64_t id) {
    const json reply = client_.call(kCancelMethod, JobCall{id}, limit_);
    return base::Fields(reply, "reply").get<Job>("job");
}

Job QueueClient::retry(std::uint64_t id) {
    const json reply = client_.call(kRetryMethod, JobCall{id}, limit_);
    return base::Fields(reply, "reply").get<Job>("job");
}

void QueueClient::pause(bool now) { (void)client_.call(kPauseMethod, PauseCall{now}, limit_); }

void QueueClient::resume() { (void)client_.call(kResumeMethod, EmptyCall{}, limit_); }

std::vector<std::string> QueueClient::reload() {
    return client_.call(kReloadMethod, EmptyCall{}, limit_).get<ReloadReply>().warnings;
}

std::vector<ArchiveRecord> QueueClient::archives() {
    std::vector<ArchiveRecord> archives;
    client_.call_more(kArchivesMethod, EmptyCall{}, limit_, [&](const json& reply) {
        if (auto archive = reply.get<ArchiveReply>().archive) archives.push_back(std::move(*archive));
    });
    return archives;
}

std::vector<GuestSummary> QueueClient::guests() {
    std::vector<GuestSummary> guests;
    client_.call_more(kGuestsMethod, EmptyCall{}, limit_, [&](const json& reply) {
        if (auto guest = reply.get<GuestReply>().guest) guests.push_back(std::move(*guest));
    });
    return guests;
}

std::uint64_t QueueClient::forget(const std::vector<std::string>& paths) {
    return client_.call(kForgetMethod, ForgetCall{paths}, limit_).get<ForgetReply>().forgotten;
}

}  // namespace vmad::api
