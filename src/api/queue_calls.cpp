#include "api/queue_calls.hpp"

#include "api/queue_interface.hpp"
#include "base/json_fields.hpp"
#include "varlink/protocol.hpp"

namespace vmad::api {

using nlohmann::json;
using varlink::RemoteError;

void to_json(json& out, const EnqueueCall& call) {
    out = {{"path", call.path}, {"announced", call.announced}};
    if (!call.storage.empty()) out["storage"] = call.storage;
    if (!call.file.empty()) out["file"] = call.file;
    if (call.kind != JobKind::repack) out["kind"] = to_string(call.kind);
}

void from_json(const json& in, EnqueueCall& call) {
    base::Fields fields(in, "Enqueue");
    call.path = fields.get<std::string>("path");
    call.announced = fields.find<bool>("announced").value_or(false);
    call.storage = fields.find<std::string>("storage").value_or("");
    call.file = fields.find<std::string>("file").value_or("");
    call.kind = static_cast<JobKind>(fields.find_choice("kind", kJobKindNames).value_or(0));
    fields.refuse_others();
}

void to_json(json& out, const EnqueueReply& reply) { out = {{"job", reply.job}, {"created", reply.created}}; }

void from_json(const json& in, EnqueueReply& reply) {
    base::Fields fields(in, "reply");
    reply.job = fields.get<Job>("job");
    reply.created = fields.get<bool>("created");
}

void to_json(json& out, const ListCall& call) {
    out = json::object();
    for (const JobState state : call.states) out["states"].push_back(to_string(state));
}

void from_json(const json& in, ListCall& call) {
    base::Fields fields(in, "List");
    call.states.clear();
    for (const std::size_t index : fields.choose_many("states", kJobStateNames))
        call.states.push_back(static_cast<JobState>(index));
    fields.refuse_others();
}

void to_json(json& out, const JobCall& call) { out = {{"id", call.id}}; }

void from_json(const json& in, JobCall& call) {
    base::Fields fields(in, "call");
    call.id = fields.get<std::uint64_t>("id");
    fields.refuse_others();
}

void to_json(json& out, const PauseCall& call) { out = {{"now", call.now}}; }

void from_json(const json& in, PauseCall& call) {
    base::Fields fields(in, "Pause");
    call.now = fields.find<bool>("now").value_or(false);
    fields.refuse_others();
}

void to_json(json& out, const EmptyCall&) { out = json::object(); }

void from_json(const json& in, EmptyCall&) { base::Fields(in, "call").refuse_others(); }

void to_json(json& out, const ReloadReply& reply) { out = {{"warnings", reply.warnings}}; }

void from_json(const json& in, ReloadReply& reply) {
    reply.warnings = base::Fields(in, "reply").get<std::vector<std::string>>("warnings");
}

void to_json(json& out, const WaitCall& call) {
    out = json::object();
    if (!call.ids.empty()) out["ids"] = call.ids;
    if (!call.paths.empty()) out["paths"] = call.paths;
}

void from_json(const json& in, WaitCall& call) {
    base::Fields fields(in, "Wait");
    call.ids = fields.find<std::vector<std::uint64_t>>("ids").value_or(std::vector<std::uint64_t>());
    call.paths = fields.find<std::vector<std::string>>("paths").value_or(std::vector<std::string>());
    fields.refuse_others();
}

void to_json(json& out, const JobReply& reply) {
    out = json::object();
    base::put(out, "job", reply.job);
}

void from_json(const json& in, JobReply& reply) { reply.job = base::Fields(in, "reply").find<Job>("job"); }

void to_json(json& out, const ArchiveReply& reply) {
    out = json::object();
    base::put(out, "archive", reply.archive);
}

void from_json(const json& in, ArchiveReply& reply) {
    reply.archive = base::Fields(in, "reply").find<ArchiveRecord>("archive");
}

void to_json(json& out, const GuestReply& reply) {
    out = json::object();
    base::put(out, "guest", reply.guest);
}

void from_json(const json& in, GuestReply& reply) {
    reply.guest = base::Fields(in, "reply").find<GuestSummary>("guest");
}

void to_json(json& out, const ForgetCall& call) { out = {{"paths", call.paths}}; }

void from_json(const json& in, ForgetCall& call) {
    base::Fields fields(in, "Forget");
    call.paths = fields.get<std::vector<std::string>>("paths");
    fields.refuse_others();
}

void to_json(json& out, const ForgetReply& reply) { out = {{"forgotten", reply.forgotten}}; }

void from_json(const json& in, ForgetReply& reply) {
    reply.forgotten = base::Fields(in, "reply").get<std::uint64_t>("forgotten");
}

template <typename T>
T parameters_as(const json& parameters) {
    try {
        return parameters.get<T>();
    } catch (const base::FieldError& error) {
        throw varlink::invalid_parameter(error.field());
    }
}

template EnqueueCall parameters_as<EnqueueCall>(const json&);
template ListCall parameters_as<ListCall>(const json&);
template JobCall parameters_as<JobCall>(const json&);
template PauseCall parameters_as<PauseCall>(const json&);
template EmptyCall parameters_as<EmptyCall>(const json&);
template WaitCall parameters_as<WaitCall>(const json&);
template ForgetCall parameters_as<ForgetCall>(const json&);

RemoteError no_such_job(std::uint64_t id) { return RemoteError(kNoSuchJobError, {{"id", id}}); }
RemoteError no_such_path(const std::string& path) { return RemoteError(kNoSuchPathError, {{"path", path}}); }
RemoteError path_refused(const std::string& path, const std::string& reason) {
    return RemoteError(kPathRefusedError, {{"path", path}, {"reason", reason}});
}
RemoteError job_has_ended(const Job& job) {
    return RemoteError(kJobHasEndedError, {{"id", job.id}, {"state", to_string(job.state)}});
}
RemoteError invalid_settings(const std::string& reason) {
    return RemoteError(kInvalidSettingsError, {{"reason", reason}});
}
RemoteError failed(const std::string& reason) { return RemoteError(kFailedError, {{"reason", reason}}); }

}  // namespace vmad::api
