#include "api/archive_record.hpp"

#include <algorithm>

#include "base/json_fields.hpp"

namespace vmad::api {

using nlohmann::json;

namespace {

void put_text(json& out, const char* field, const std::string& text) {
    if (!text.empty()) out[field] = text;
}

std::map<std::string, std::string> read_digests(base::Fields& fields, const char* field) {
    std::map<std::string, std::string> digests;
    const auto object = fields.find<json>(field).value_or(json::object());
    for (const auto& [device, digest] : object.items()) {
        if (!digest.is_string()) fields.refuse(field, "is not an object of strings");
        digests[device] = digest.get<std::string>();
    }
    return digests;
}

}  // namespace

const char* to_string(Verdict verdict) noexcept { return kVerdictNames[static_cast<std::size_t>(verdict)]; }

bool is_overdue(const ArchiveRecord& record, std::optional<std::int64_t> every_seconds,
                std::int64_t now) noexcept {
    if (!every_seconds || record.verdict == Verdict::damaged) return false;
    return record.verified_at.value_or(record.modified_ns / 1'000'000'000) <=
           now - *every_seconds - *every_seconds / 2;
}

void bound(ArchiveRecord& record) {
    constexpr std::size_t kMostDigestBytes = 1 << 15;
    constexpr std::size_t kMostGuestBytes = 1 << 10;
    std::size_t bytes = record.digest.size();
    for (const auto& [device, digest] : record.device_digests) bytes += device.size() + digest.size();
    if (bytes > kMostDigestBytes) record.device_digests.clear();
    record.guest.resize(std::min(record.guest.size(), kMostGuestBytes));
    record.fault.resize(std::min(record.fault.size(), kMostSentenceBytes));
}

void to_json(json& out, const ArchiveRecord& record) {
    out = {{"path", record.path},
           {"backup_at", record.backup_at},
           {"size_bytes", record.size_bytes},
           {"modified_ns", record.modified_ns},
           {"verdict", to_string(record.verdict)}};
    put_text(out, "storage", record.storage);
    base::put(out, "vmid", record.vmid);
    put_text(out, "guest", record.guest);
    put_text(out, "digest", record.digest);
    if (!record.device_digests.empty()) out["device_digests"] = record.device_digests;
    base::put(out, "new_bytes", record.new_bytes);
    base::put(out, "repacked_at", record.repacked_at);
    base::put(out, "verified_at", record.verified_at);
    base::put(out, "looked_at", record.looked_at);
    put_text(out, "mount_point", record.mount_point);
    put_text(out, "fault", record.fault);
    if (record.acknowledged) out["acknowledged"] = true;
}

void from_json(const json& in, ArchiveRecord& record) {
    base::Fields fields(in, "archive");
    ArchiveRecord read;
    read.path = fields.get<std::string>("path");
    // A NUL would make the path another one for the kernel than for everybody else.
    if (!read.path.starts_with('/') || read.path.find('\0') != std::string::npos)
        fields.refuse("path", "is not absolute");
    read.storage = fields.find<std::string>("storage").value_or("");
    read.vmid = fields.find<std::uint64_t>("vmid");
    read.guest = fields.find<std::string>("guest").value_or("");
    read.backup_at = fields.get<std::int64_t>("backup_at");
    read.size_bytes = fields.get<std::uint64_t>("size_bytes");
    read.modified_ns = fields.get<std::int64_t>("modified_ns");
    read.digest = fields.find<std::string>("digest").value_or("");
    read.device_digests = read_digests(fields, "device_digests");
    read.new_bytes = fields.find<std::uint64_t>("new_bytes");
    read.repacked_at = fields.find<std::int64_t>("repacked_at");
    read.verified_at = fields.find<std::int64_t>("verified_at");
    read.looked_at = fields.find<std::int64_t>("looked_at");
    read.mount_point = fields.find<std::string>("mount_point").value_or("");
    read.verdict = static_cast<Verdict>(fields.choose("verdict", kVerdictNames));
    read.fault = fields.find<std::string>("fault").value_or("");
    read.acknowledged = fields.find<bool>("acknowledged").value_or(false);
    record = std::move(read);
}

}  // namespace vmad::api
