#include "api/job.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/json_fields.hpp"
#include "base/task.hpp"

namespace vmad::api {

using nlohmann::json;

namespace {

void put_text(json& out, const char* field, const std::string& text) {
    if (!text.empty()) out[field] = text;
}

template <typename T>
void require_at_most(std::size_t most, const std::vector<T>& items, const base::Fields& fields,
                     const char* field) {
    if (items.size() > most) fields.refuse(field, fmt::format("has more than {} entries", most));
}

}  // namespace

const char* to_string(JobKind kind) noexcept { return kJobKindNames[static_cast<std::size_t>(kind)]; }

const char* to_string(JobState state) noexcept { return kJobStateNames[static_cast<std::size_t>(state)]; }

const char* to_string(WaitReason reason) noexcept {
    return kWaitReasonNames[static_cast<std::size_t>(reason)];
}

JobState job_state_from_string(const std::string& name) {
    const auto found = std::find(kJobStateNames.begin(), kJobStateNames.end(), name);
    if (found == kJobStateNames.end()) throw base::Error(fmt::format("there is no state '{}'", name));
    return static_cast<JobState>(found - kJobStateNames.begin());
}

bool is_final(JobState state) noexcept {
    switch (state) {
        case JobState::queued:
        case JobState::running:
        case JobState::publishing:
        case JobState::waiting:
            return false;
        case JobState::done:
        case JobState::unchanged:
        case JobState::vanished:
        case JobState::failed:
        case JobState::cancelled:
            return true;
    }
    __builtin_unreachable();
}

void to_json(json& out, const JobProgress& progress) {
    out = {{"stage", progress.stage},
           {"done_bytes", progress.done_bytes},
           {"total_bytes", progress.total_bytes},
           {"bytes_per_second", progress.bytes_per_second}};
    base::put(out, "remaining_seconds", progress.remaining_seconds);
}

void from_json(const json& in, JobProgress& progress) {
    base::Fields fields(in, "progress");
    JobProgress read;
    read.stage = base::kStageNames[fields.choose("stage", base::kStageNames)];
    read.done_bytes = fields.get<std::uint64_t>("done_bytes");
    read.total_bytes = fields.get<std::uint64_t>("total_bytes");
    read.bytes_per_second = fields.get<std::uint64_t>("bytes_per_second");
    read.remaining_seconds = fields.find<std::uint64_t>("remaining_seconds");
    progress = std::move(read);
}

void to_json(json& out, const NewStretch& stretch) {
    out = {{"offset", stretch.offset}, {"bytes", stretch.bytes}, {"new_bytes", stretch.new_bytes}};
    put_text(out, "partition", stretch.partition);
}

void from_json(const json& in, NewStretch& stretch) {
    base::Fields fields(in, "largest");
    NewStretch read;
    read.offset = fields.get<std::uint64_t>("offset");
    read.bytes = fields.get<std::uint64_t>("bytes");
    read.new_bytes = fields.get<std::uint64_t>("new_bytes");
    read.partition = fields.find<std::string>("partition").value_or("");
    stretch = std::move(read);
}

void to_json(json& out, const DiskGrowth& growth) {
    out = {{"disk", growth.disk}, {"bytes", growth.bytes}, {"new_bytes", growth.new_bytes}};
    base::put(out, "largest", growth.largest);
}

void from_json(const json& in, DiskGrowth& growth) {
    base::Fields fields(in, "disks");
    DiskGrowth read;
    read.disk = fields.get<std::string>("disk");
    read.bytes = fields.get<std::uint64_t>("bytes");
    read.new_bytes = fields.get<std::uint64_t>("new_bytes");
    read.largest = fields.find<NewStretch>("largest");
    growth = std::move(read);
}

void to_json(json& out, const NewSince& since) {
    out = {{"archive", since.archive},
           {"archive_at", since.archive_at},
           {"new_bytes", since.new_bytes},
           {"disks", since.disks}};
}

void from_json(const json& in, NewSince& since) {
    base::Fields fields(in, "since");
    NewSince read;
    read.archive = fields.get<std::string>("archive");
    read.archive_at = fields.get<std::int64_t>("archive_at");
    read.new_bytes = fields.get<std::uint64_t>("new_bytes");
    read.disks = fields.get<std::vector<DiskGrowth>>("disks");
    require_at_most(kMaxDiskGrowths, read.disks, fields, "disks");
    since = std::move(read);
}

void to_json(json& out, const DamagedPlace& place) {
    out = {{"disk", place.disk}, {"offset", place.offset}, {"bytes", place.bytes}};
    put_text(out, "partition", place.partition);
}

void from_json(const json& in, DamagedPlace& place) {
    base::Fields fields(in, "damage");
    DamagedPlace read;
    read.disk = fields.get<std::string>("disk");
    read.offset = fields.get<std::uint64_t>("offset");
    read.bytes = fields.get<std::uint64_t>("bytes");
    read.partition = fields.find<std::string>("partition").value_or("");
    place = std::move(read);
}

void to_json(json& out, const SpaceRefusal& refusal) {
    out = {{"directory", refusal.directory},
           {"written_bytes", refusal.written_bytes},
           {"times", refusal.times},
           {"try_again_at", refusal.try_again_at}};
    base::put(out, "free_bytes", refusal.free_bytes);
}

void from_json(const json& in, SpaceRefusal& refusal) {
    base::Fields fields(in, "space_refusal");
    SpaceRefusal read;
    read.directory = fields.get<std::string>("directory");
    read.free_bytes = fields.find<std::uint64_t>("free_bytes");
    read.written_bytes = fields.get<std::uint64_t>("written_bytes");
    read.times = fields.get<std::uint32_t>("times");
    read.try_again_at = fields.get<std::int64_t>("try_again_at");
    refusal = std::move(read);
}

void to_json(json& out, const Job& job) {
    out = {{"id", job.id},
           {"path", job.path},
           {"state", to_string(job.state)},
           {"announced", job.announced},
           {"queued_at", job.queued_at},
           {"attempts", job.attempts},
           {"failed_attempts", job.failed_attempts},
           {"run_again", job.run_again}};
    if (job.kind != JobKind::repack) out["kind"] = to_string(job.kind);
    put_text(out, "reason", job.reason);
    if (job.damaged) out["damaged"] = true;
    if (job.waiting_for) out["waiting_for"] = to_string(*job.waiting_for);
    put_text(out, "warning", job.warning);
    put_text(out, "storage", job.storage);
    base::put(out, "vmid", job.vmid);
    put_text(out, "guest", job.guest);
    base::put(out, "started_at", job.started_at);
    base::put(out, "ended_at", job.ended_at);
    base::put(out, "end_number", job.end_number);
    base::put(out, "retry_at", job.retry_at);
    if (job.state_after_recovery) out["state_after_recovery"] = to_string(*job.state_after_recovery);
    put_text(out, "refused_file", job.refused_file);
    base::put(out, "space_refusal", job.space_refusal);
    base::put(out, "size_before", job.size_before);
    base::put(out, "size_after", job.size_after);
    base::put(out, "since", job.since);
    base::put(out, "shared_bytes", job.shared_bytes);
    if (!job.damage.empty()) out["damage"] = job.damage;
    base::put(out, "last_good_at", job.last_good_at);
    put_text(out, "mount_point", job.mount_point);
    if (!job.recovery.empty()) out["recovery"] = json::parse(job.recovery);
    base::put(out, "progress", job.progress);
    if (job.paused) out["paused"] = true;
}

std::string to_line(const Job& job) {
    return json(job).dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
}

void from_json(const json& in, Job& job) {
    base::Fields fields(in, "job");
    Job read;
    read.id = fields.get<std::uint64_t>("id");
    if (read.id == 0) fields.refuse("id", "is out of range");
    read.path = fields.get<std::string>("path");
    // A NUL would make the path another one for the kernel than for everybody else.
    if (!read.path.starts_with('/') || read.path.find('\0') != std::string::npos)
        fields.refuse("path", "is not absolute");
    if (const auto index = fields.find_choice("kind", kJobKindNames))
        read.kind = static_cast<JobKind>(*index);
    read.state = static_cast<JobState>(fields.choose("state", kJobStateNames));
    read.reason = fields.find<std::string>("reason").value_or("");
    read.damaged = fields.find<bool>("damaged").value_or(false);
    if (const auto index = fields.find_choice("waiting_for", kWaitReasonNames))
        read.waiting_for = static_cast<WaitReason>(*index);
    read.warning = fields.find<std::string>("warning").value_or("");
    read.storage = fields.find<std::string>("storage").value_or("");
    read.vmid = fields.find<std::uint64_t>("vmid");
    read.guest = fields.find<std::string>("guest").value_or("");
    read.announced = fields.get<bool>("announced");
    read.queued_at = fields.get<std::int64_t>("queued_at");
    read.started_at = fields.find<std::int64_t>("started_at");
    read.ended_at = fields.find<std::int64_t>("ended_at");
    read.end_number = fields.find<std::uint64_t>("end_number");
    read.retry_at = fields.find<std::int64_t>("retry_at");
    if (const auto index = fields.find_choice("state_after_recovery", kJobStateNames))
        read.state_after_recovery = static_cast<JobState>(*index);
    read.attempts = fields.get<std::uint32_t>("attempts");
    read.failed_attempts = fields.get<std::uint32_t>("failed_attempts");
    read.run_again = fields.get<bool>("run_again");
    read.refused_file = fields.find<std::string>("refused_file").value_or("");
    read.space_refusal = fields.find<SpaceRefusal>("space_refusal");
    read.size_before = fields.find<std::uint64_t>("size_before");
    read.size_after = fields.find<std::uint64_t>("size_after");
    read.since = fields.find<NewSince>("since");
    read.shared_bytes = fields.find<std::uint64_t>("shared_bytes");
    read.damage = fields.find<std::vector<DamagedPlace>>("damage").value_or(std::vector<DamagedPlace>());
    require_at_most(kMaxDamagedPlaces, read.damage, fields, "damage");
    read.last_good_at = fields.find<std::int64_t>("last_good_at");
    read.mount_point = fields.find<std::string>("mount_point").value_or("");
    if (const auto recovery = fields.find<json>("recovery")) read.recovery = recovery->dump();
    read.progress = fields.find<JobProgress>("progress");
    read.paused = fields.find<bool>("paused").value_or(false);
    job = std::move(read);
}

}  // namespace vmad::api
