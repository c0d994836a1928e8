#include <nlohmann/json.hpp>

#include "ctl/text/backup_report.hpp"

namespace vmad::ctl {
namespace {

using nlohmann::json;

void add(json& out, const BackupSums& sums) {
    out["backups"] = sums.backups;
    out["bytes"] = sums.bytes;
    out["compared_backups"] = sums.compared_backups;
    out["compared_bytes"] = sums.compared_bytes;
    out["new_bytes"] = sums.new_bytes;
}

void add(json& out, const ReportedGuest& guest) {
    if (guest.vmid) out["vmid"] = *guest.vmid;
    if (!guest.name.empty()) out["guest"] = guest.name;
    out["storage"] = guest.storage;
}

json slots_json(const std::vector<BackupSums>& slots, const std::vector<std::int64_t>& begins) {
    auto out = json::array();
    for (std::size_t i = 0; i < slots.size(); ++i) {
        json slot{{"begin", begins[i]}, {"end", begins[i + 1]}};
        add(slot, slots[i]);
        out.push_back(std::move(slot));
    }
    return out;
}

json guest_json(const GuestReport& row, const BackupReport& report) {
    json out;
    add(out, row.guest);
    add(out, row.sums);
    out["slots"] = slots_json(row.slots, report.slot_begins);
    out["archives"] = row.archives;
    out["archive_bytes"] = row.archive_bytes;
    out["unverified"] = row.unverified;
    if (row.last_at) out["last_backup_at"] = *row.last_at;
    if (row.verified_at) out["verified_at"] = *row.verified_at;
    return out;
}

json storage_json(const StorageReport& storage) {
    json out{{"storage", storage.storage},
             {"guests", storage.guests},
             {"archives", storage.archives},
             {"archive_bytes", storage.archive_bytes}};
    add(out, storage.sums);
    return out;
}

json growth_json(const GrowthReport& growth) {
    json out{{"path", growth.path},
             {"backup_at", growth.backup_at},
             {"bytes", growth.size_bytes},
             {"since", growth.since}};
    add(out, growth.guest);
    return out;
}

json failure_json(const FailureReport& failure) {
    json out{{"jobs", failure.jobs},
             {"job", failure.last.id},
             {"path", failure.last.path},
             {"reason", failure.last.reason}};
    add(out, failure.guest);
    if (failure.last.ended_at) out["ended_at"] = *failure.last.ended_at;
    return out;
}

json damage_json(const DamageReport& damage) {
    json out{{"path", damage.path},
             {"backup_at", damage.backup_at},
             {"fault", damage.fault},
             {"places", damage.places}};
    add(out, damage.guest);
    if (damage.last_good_at) out["last_good_at"] = *damage.last_good_at;
    return out;
}

template <typename Item, typename ToJson>
json list_json(const std::vector<Item>& items, const ToJson& item_json) {
    auto out = json::array();
    for (const auto& item : items) out.push_back(item_json(item));
    return out;
}

}  // namespace

void to_json(json& out, const BackupReport& report) {
    out = json{{"host", report.host},
               {"since", report.since},
               {"until", report.now},
               {"verify_seconds", report.verify_seconds},
               {"slots", slots_json(report.slots, report.slot_begins)},
               {"archives", report.archives},
               {"archive_bytes", report.archive_bytes},
               {"pending_jobs", report.pending_jobs},
               {"unverified", report.unverified}};
    add(out, report.sums);
    out["storages"] = list_json(report.storages, storage_json);
    out["guests"] = list_json(report.guests, [&](const GuestReport& row) { return guest_json(row, report); });
    out["growths"] = list_json(report.growths, growth_json);
    out["failures"] = list_json(report.failures, failure_json);
    out["damages"] = list_json(report.damages, damage_json);
}

}  // namespace vmad::ctl
