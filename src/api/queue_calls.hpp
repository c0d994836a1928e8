// Parameters of the methods of org.vmad.Queue, for both ends, and its errors. Pure data, no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "api/archive_record.hpp"
#include "api/guest_summary.hpp"
#include "api/job.hpp"

namespace vmad::varlink {
class RemoteError;
}

namespace vmad::api {

struct EnqueueCall {
    std::string path;  ///< as the caller wrote it: whether it can be queued is for the daemon to say
    bool announced = false;
    std::string storage{};  ///< Proxmox's name of the archive's storage, or empty
    /// The version of the file that the caller sees (publish::file_version()): if this one has failed for
    /// good, the failed job is the answer. Empty: it is queued in any case.
    std::string file{};
    JobKind kind = JobKind::repack;
    friend bool operator==(const EnqueueCall&, const EnqueueCall&) = default;
};

struct EnqueueReply {
    Job job;
    bool created = false;  ///< false: the path had this job of its kind already, or it failed with this file
    friend bool operator==(const EnqueueReply&, const EnqueueReply&) = default;
};

struct ListCall {
    std::vector<JobState> states;  ///< empty: all
    friend bool operator==(const ListCall&, const ListCall&) = default;
};

/// The parameters of Show, Cancel and Retry.
struct JobCall {
    std::uint64_t id = 0;
    friend bool operator==(const JobCall&, const JobCall&) = default;
};

struct PauseCall {
    bool now = false;  ///< running jobs are abandoned, and queued again
    friend bool operator==(const PauseCall&, const PauseCall&) = default;
};

/// The parameters of Status, Resume, Reload, Monitor, Archives and Guests.
struct EmptyCall {
    friend bool operator==(const EmptyCall&, const EmptyCall&) = default;
};

struct ReloadReply {
    std::vector<std::string> warnings;
    friend bool operator==(const ReloadReply&, const ReloadReply&) = default;
};

/// With neither ids nor paths: all repacks that have not ended.
struct WaitCall {
    std::vector<std::uint64_t> ids;
    std::vector<std::string> paths;
    friend bool operator==(const WaitCall&, const WaitCall&) = default;
};

/// A reply of List, Wait and Monitor. No job: there was none, or there was none yet.
struct JobReply {
    std::optional<Job> job;
    friend bool operator==(const JobReply&, const JobReply&) = default;
};

/// A reply of Archives. No archive: none is known.
struct ArchiveReply {
    std::optional<ArchiveRecord> archive;
    friend bool operator==(const ArchiveReply&, const ArchiveReply&) = default;
};

/// A reply of Guests. No guest: no archive is known.
struct GuestReply {
    std::optional<GuestSummary> guest;
    friend bool operator==(const GuestReply&, const GuestReply&) = default;
};

/// Archives that the caller has looked for and not found.
struct ForgetCall {
    std::vector<std::string> paths;
    friend bool operator==(const ForgetCall&, const ForgetCall&) = default;
};

struct ForgetReply {
    std::uint64_t forgotten = 0;  ///< records that there were
    friend bool operator==(const ForgetReply&, const ForgetReply&) = default;
};

/// Reading throws base::FieldError. A call with an unknown parameter is refused, a reply with one is not.
void to_json(nlohmann::json& out, const EnqueueCall& call);
void from_json(const nlohmann::json& in, EnqueueCall& call);
void to_json(nlohmann::json& out, const EnqueueReply& reply);
void from_json(const nlohmann::json& in, EnqueueReply& reply);
void to_json(nlohmann::json& out, const ListCall& call);
void from_json(const nlohmann::json& in, ListCall& call);
void to_json(nlohmann::json& out, const JobCall& call);
void from_json(const nlohmann::json& in, JobCall& call);
void to_json(nlohmann::json& out, const PauseCall& call);
void from_json(const nlohmann::json& in, PauseCall& call);
void to_json(nlohmann::json& out, const EmptyCall& call);
void from_json(const nlohmann::json& in, EmptyCall& call);
void to_json(nlohmann::json& out, const ReloadReply& reply);
void from_json(const nlohmann::json& in, ReloadReply& reply);
void to_json(nlohmann::json& out, const WaitCall& call);
void from_json(const nlohmann::json& in, WaitCall& call);
void to_json(nlohmann::json& out, const JobReply& reply);
void from_json(const nlohmann::json& in, JobReply& reply);
void to_json(nlohmann::json& out, const ArchiveReply& reply);
void from_json(const nlohmann::json& in, ArchiveReply& reply);
void to_json(nlohmann::json& out, const GuestReply& reply);
void from_json(const nlohmann::json& in, GuestReply& reply);
void to_json(nlohmann::json& out, const ForgetCall& call);
void from_json(const nlohmann::json& in, ForgetCall& call);
void to_json(nlohmann::json& out, const ForgetReply& reply);
void from_json(const nlohmann::json& in, ForgetReply& reply);

/// For a handler: the parameters of a request as `T`, one of the calls above, or InvalidParameter with the
/// field that is wrong.
template <typename T>
[[nodiscard]] T parameters_as(const nlohmann::json& parameters);

[[nodiscard]] varlink::RemoteError no_such_job(std::uint64_t id);
[[nodiscard]] varlink::RemoteError no_such_path(const std::string& path);
[[nodiscard]] varlink::RemoteError path_refused(const std::string& path, const std::string& reason);
/// The job has ended, so that it cannot be cancelled.
[[nodiscard]] varlink::RemoteError job_has_ended(const Job& job);
[[nodiscard]] varlink::RemoteError invalid_settings(const std::string& reason);
[[nodiscard]] varlink::RemoteError failed(const std::string& reason);

}  // namespace vmad::api
