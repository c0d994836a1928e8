#include "api/guest_summary.hpp"

#include "base/json_fields.hpp"

namespace vmad::api {

using nlohmann::json;

void to_json(json& out, const GuestSummary& summary) {
    out = {{"backups", summary.backups},
           {"bytes", summary.bytes},
           {"day_backups", summary.day_backups},
           {"day_bytes", summary.day_bytes},
           {"day_new_bytes", summary.day_new_bytes},
           {"week_backups", summary.week_backups},
           {"week_bytes", summary.week_bytes},
           {"week_new_bytes", summary.week_new_bytes},
           {"unverified", summary.unverified},
           {"damaged", summary.damaged}};
    base::put(out, "vmid", summary.vmid);
    if (!summary.storage.empty()) out["storage"] = summary.storage;
    if (!summary.guest.empty()) out["guest"] = summary.guest;
    base::put(out, "last_success_at", summary.last_success_at);
    base::put(out, "last_size", summary.last_size);
    base::put(out, "last_new_bytes", summary.last_new_bytes);
    base::put(out, "verified_at", summary.verified_at);
}

void from_json(const json& in, GuestSummary& summary) {
    base::Fields fields(in, "guest");
    GuestSummary read;
    read.vmid = fields.find<std::uint64_t>("vmid");
    read.storage = fields.find<std::string>("storage").value_or("");
    read.guest = fields.find<std::string>("guest").value_or("");
    read.backups = fields.get<std::uint64_t>("backups");
    read.bytes = fields.get<std::uint64_t>("bytes");
    read.day_backups = fields.get<std::uint64_t>("day_backups");
    read.day_bytes = fields.get<std::uint64_t>("day_bytes");
    read.day_new_bytes = fields.get<std::uint64_t>("day_new_bytes");
    read.week_backups = fields.get<std::uint64_t>("week_backups");
    read.week_bytes = fields.get<std::uint64_t>("week_bytes");
    read.week_new_bytes = fields.get<std::uint64_t>("week_new_bytes");
    read.unverified = fields.get<std::uint64_t>("unverified");
    read.damaged = fields.get<std::uint64_t>("damaged");
    read.last_success_at = fields.find<std::int64_t>("last_success_at");
    read.last_size = fields.find<std::uint64_t>("last_size");
    read.last_new_bytes = fields.find<std::uint64_t>("last_new_bytes");
    read.verified_at = fields.find<std::int64_t>("verified_at");
    summary = std::move(read);
}

}  // namespace vmad::api
