// Parameters of the methods of org.vmad.Queue, for both ends, and its errors. Pure data, no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/job.hpp"
#include "api/json_fields.hpp"
#include "varlink/protocol.hpp"

namespace vmad::api {

struct EnqueueCall {
    std::string path;  ///< as the caller wrote it: whether it can be queued is for the daemon to say
    bool announced = false;
    friend bool operator==(const EnqueueCall&, const EnqueueCall&) = default;
};

struct EnqueueReply {
    Job job;
    bool created = false;  ///< false: the path had this job already
    friend bool operator==(const EnqueueReply&, const EnqueueReply&) = default;
};

struct ListCall {
    std::vector<JobState> states;  ///< empty: all
    friend bool operator==(const ListCall&, const ListCall&) = default;
};

struct ShowCall {
    std::uint64_t id = 0;
    friend bool operator==(const ShowCall&, const ShowCall&) = default;
};

struct StatusCall {
    friend bool operator==(const StatusCall&, const StatusCall&) = default;
};

/// With neither ids nor paths: all jobs that have not ended.
struct WaitCall {
    std::vector<std::uint64_t> ids;
    std::vector<std::string> paths;
    friend bool operator==(const WaitCall&, const WaitCall&) = default;
};

/// A reply of List and Wait. No job: there was none.
struct JobReply {
    std::optional<Job> job;
    friend bool operator==(const JobReply&, const JobReply&) = default;
};

/// Reading throws FieldError. A call with an unknown parameter is refused, a reply with one is not.
void to_json(nlohmann::json& out, const EnqueueCall& call);
void from_json(const nlohmann::json& in, EnqueueCall& call);
void to_json(nlohmann::json& out, const EnqueueReply& reply);
void from_json(const nlohmann::json& in, EnqueueReply& reply);
void to_json(nlohmann::json& out, const ListCall& call);
void from_json(const nlohmann::json& in, ListCall& call);
void to_json(nlohmann::json& out, const ShowCall& call);
void from_json(const nlohmann::json& in, ShowCall& call);
void to_json(nlohmann::json& out, const StatusCall& call);
void from_json(const nlohmann::json& in, StatusCall& call);
void to_json(nlohmann::json& out, const WaitCall& call);
void from_json(const nlohmann::json& in, WaitCall& call);
void to_json(nlohmann::json& out, const JobReply& reply);
void from_json(const nlohmann::json& in, JobReply& reply);

/// For a handler: the parameters of a request as `T`, or InvalidParameter with the field that is wrong.
template <typename T>
[[nodiscard]] T parameters_as(const nlohmann::json& parameters) {
    try {
        return parameters.get<T>();
    } catch (const FieldError& error) {
        throw varlink::invalid_parameter(error.field());
    }
}

[[nodiscard]] varlink::RemoteError no_such_job(std::uint64_t id);
[[nodiscard]] varlink::RemoteError no_such_path(const std::string& path);
[[nodiscard]] varlink::RemoteError path_refused(const std::string& path, const std::string& reason);
[[nodiscard]] varlink::RemoteError failed(const std::string& reason);

}  // namespace vmad::api
