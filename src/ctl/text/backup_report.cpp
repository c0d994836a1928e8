#include "ctl/text/backup_report.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "ctl/text/local_time.hpp"
#include "pve/backup_name.hpp"

namespace vmad::ctl {
namespace {

using api::ArchiveRecord;
using api::Job;
using api::JobState;

constexpr std::int64_t kDay = 86400;

/// One backup, out of all that is known of its archive.
struct Backup {
    ReportedGuest guest;
    std::int64_t at = 0;
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> new_bytes;
    std::optional<api::NewSince> since;
};
using Backups = std::map<std::string, Backup>;  // by path

void add(BackupSums& sums, const Backup& backup) {
    ++sums.backups;
    sums.bytes += backup.bytes;
    if (!backup.new_bytes) return;
    ++sums.compared_backups;
    sums.compared_bytes += backup.bytes;
    sums.new_bytes += *backup.new_bytes;
}

void add(BackupSums& sums, const BackupSums& more) {
    sums.backups += more.backups;
    sums.bytes += more.bytes;
    sums.compared_backups += more.compared_backups;
    sums.compared_bytes += more.compared_bytes;
    sums.new_bytes += more.new_bytes;
}

bool is_repacked(const Job& job) {
    return job.kind == api::JobKind::repack && job.size_after &&
           (job.state == JobState::done || job.state == JobState::unchanged ||
            job.waiting_for == api::WaitReason::grace_period);
}

std::int64_t backup_time(const Job& job) {
    return pve::backup_time_of(job.path).value_or(job.ended_at.value_or(job.queued_at));
}

/// Says whose an archive is. A job of a scan may not name the storage that another one of the directory does.
class Guests {
  public:
    explicit Guests(const ReportInput& input) {
        for (const auto& job : input.jobs) learn(job.path, job.storage);
        for (const auto& record : input.archives) learn(record.path, record.storage);
    }
    [[nodiscard]] ReportedGuest of(const std::string& path, const std::string& storage) const {
        return {
            .vmid = pve::vmid_of(path), .storage = storage.empty() ? storage_of(path) : storage, .name = {}};
    }

  private:
    static std::string directory_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

    void learn(const std::string& path, const std::string& storage) {
        if (!storage.empty()) storages_.emplace(directory_of(path), storage);
    }
    [[nodiscard]] std::string storage_of(const std::string& path) const {
        const auto directory = directory_of(path);
        const auto found = storages_.find(directory);
        return found == storages_.end() ? directory : found->second;
    }

    std::map<std::string, std::string> storages_;  ///< by directory
};

void note(Backup& backup, const Job& job, const Guests& guests) {
    backup.guest = guests.of(job.path, job.storage);
    backup.guest.name = job.guest;
    backup.at = backup_time(job);
    backup.bytes = *job.size_after;
    // A later job of the same archive may have found it canonical, and compared nothing.
    if (!job.since) return;
    backup.since = job.since;
    backup.new_bytes = job.since->new_bytes;
}

void note(Backup& backup, const ArchiveRecord& record, const Guests& guests) {
    if (backup.guest.storage.empty()) {
        backup.guest = guests.of(record.path, record.storage);
        backup.at = record.backup_at;
        backup.bytes = record.size_bytes;
    }
    if (backup.guest.name.empty()) backup.guest.name = record.guest;
    if (!backup.new_bytes) backup.new_bytes = record.new_bytes;
}

Backups backups_of(const ReportInput& input, const Guests& guests) {
    Backups backups;
    for (const auto& job : input.jobs)
        if (is_repacked(job)) note(backups[job.path], job, guests);
    for (const auto& record : input.archives)
        if (record.repacked_at || record.verdict != api::Verdict::damaged)
            note(backups[record.path], record, guests);
    return backups;
}

/// From the begin of the period; of a long one from the first backup in it.
void lay_out_slots(BackupReport& report, const Backups& backups) {
    auto first = std::min(report.since, report.now);
    if (first < day_begin(report.now, 1 - static_cast<int>(kMaxSlots))) {
        first = report.now;
        for (const auto& [path, backup] : backups)
            if (backup.at >= report.since) first = std::min(first, backup.at);
    }
    const auto end = day_begin(report.now, 1);
    // A day may have an hour more or less.
    const auto days = static_cast<std::uint64_t>((end - day_begin(first) + kDay / 2) / kDay);
    auto& per_slot = report.days_per_slot;
    while (days > kMaxSlots * std::uint64_t{per_slot}) per_slot = per_slot == 1 ? 7 : per_slot * 2;
    const auto slots = (days + per_slot - 1) / per_slot;
    for (std::uint64_t left = slots + 1; left-- > 0;)
        report.slot_begins.push_back(day_begin(end, -static_cast<int>(left * per_slot)));
    report.slots.resize(slots);
}

/// Fills the report, once its slots are laid out.
class Compilation {
  public:
    Compilation(BackupReport& report, const ReportInput& input, const Guests& guests)
        : report_(report), input_(input), guests_(guests) {}

    void count(const Backups& backups) {
        for (const auto& [path, backup] : backups) count(backup);
    }

    void count_archives() {
        for (const auto& record : input_.archives) count(record);
    }

    void gather_growths(const Backups& backups) {
        auto& growths = report_.growths;
        for (const auto& [path, backup] : backups)
            if (is_in_period(backup) && backup.since && backup.since->new_bytes != 0)
                growths.push_back({.guest = row(backup.guest).guest,
                                   .path = path,
                                   .backup_at = backup.at,
                                   .size_bytes = backup.bytes,
                                   .since = *backup.since});
        std::stable_sort(growths.begin(), growths.end(), [](const auto& left, const auto& right) {
            return left.since.new_bytes > right.since.new_bytes;
        });
        std::set<Key> seen;
        std::erase_if(growths, [&](const auto& growth) { return !seen.insert(key_of(growth.guest)).second; });
        growths.resize(std::min(growths.size(), kMaxGrowths));
    }

    void gather_failures() {
        std::map<std::string, DamageReport> damages;  // by path
        for (const auto& record : input_.archives)
            if (record.verdict == api::Verdict::damaged) note_damage(damages[record.path], record);
        std::map<Key, FailureReport> failures;
        for (const auto& job : input_.jobs) {
            report_.pending_jobs +=
                !is_final(job.state) && !is_repacked(job) && job.kind == api::JobKind::repack;
            if (job.state != JobState::failed) continue;
            if (job.damaged || damages.contains(job.path))
                note_damage(damages[job.path], job);
            else
                note_failure(failures, job);
        }
        for (auto& [key, failure] : failures) report_.failures.push_back(std::move(failure));
        for (auto& [path, damage] : damages) report_.damages.push_back(std::move(damage));
        std::stable_sort(
            report_.failures.begin(), report_.failures.end(),
            [](const auto& left, const auto& right) { return left.last.ended_at > right.last.ended_at; });
        std::stable_sort(
            report_.damages.begin(), report_.damages.end(),
            [](const auto& left, const auto& right) { return left.backup_at > right.backup_at; });
    }

    /// The last step.
    void finish() {
        std::map<std::string, StorageReport> storages;
        for (auto& [key, row] : rows_) {
            sum_up(storages[row.guest.storage], row);
            report_.guests.push_back(std::move(row));
        }
        for (auto& [name, storage] : storages) report_.storages.push_back(std::move(storage));
        std::stable_sort(report_.guests.begin(), report_.guests.end(),
                         [](const GuestReport& left, const GuestReport& right) {
                             return std::pair(left.sums.new_bytes, left.sums.bytes) >
                                    std::pair(right.sums.new_bytes, right.sums.bytes);
                         });
    }

  private:
    using Key = std::pair<std::optional<std::uint64_t>, std::string>;

    static Key key_of(const ReportedGuest& guest) { return {guest.vmid, guest.storage}; }

    GuestReport& row(const ReportedGuest& guest) {
        auto& row = rows_[key_of(guest)];
        if (row.slots.empty()) {
            row.guest = guest;
            row.slots.resize(report_.slots.size());
        }
        return row;
    }

    [[nodiscard]] bool is_in_period(const Backup& backup) const {
        const auto& begins = report_.slot_begins;
        return backup.at >= std::max(report_.since, begins.front()) && backup.at < begins.back();
    }

    void count(const Backup& backup) {
        auto& guest_row = row(backup.guest);
        if (!guest_row.last_at || backup.at >= *guest_row.last_at) {
            guest_row.last_at = backup.at;
            if (!backup.guest.name.empty()) guest_row.guest.name = backup.guest.name;
        }
        if (!is_in_period(backup)) return;
        const auto& begins = report_.slot_begins;
        const auto slot = static_cast<std::size_t>(std::upper_bound(begins.begin(), begins.end(), backup.at) -
                                                   begins.begin() - 1);
        for (auto* sums : {&guest_row.sums, &guest_row.slots[slot], &report_.slots[slot], &report_.sums})
            add(*sums, backup);
    }

    void count(const ArchiveRecord& record) {
        auto& guest_row = row(guests_.of(record.path, record.storage));
        if (guest_row.guest.name.empty()) guest_row.guest.name = record.guest;
        const bool is_first = guest_row.archives == 0;
        ++guest_row.archives;
        guest_row.archive_bytes += record.size_bytes;
        // One that nobody ever found good makes it "never".
        auto& verified_at = guest_row.verified_at;
        if (is_first)
            verified_at = record.verified_at;
        else if (verified_at)
            verified_at = std::min(verified_at, record.verified_at);
        if (record.verdict != api::Verdict::damaged &&
            record.verified_at.value_or(INT64_MIN) < report_.now - report_.verify_seconds)
            ++guest_row.unverified;
    }

    void note_damage(DamageReport& damage, const ArchiveRecord& record) {
        damage = {.guest = row(guests_.of(record.path, record.storage)).guest,
                  .path = record.path,
                  .backup_at = record.backup_at,
                  .fault = record.fault,
                  .places = {},
                  .last_good_at = record.verified_at};
    }

    /// Jobs come in order of their ids: the last one that says something holds.
    void note_damage(DamageReport& damage, const Job& job) {
        damage.guest = row(guests_.of(job.path, job.storage)).guest;
        damage.path = job.path;
        damage.backup_at = backup_time(job);
        damage.fault = job.reason;
        if (!job.damage.empty()) damage.places = job.damage;
        if (job.last_good_at) damage.last_good_at = job.last_good_at;
    }

    void note_failure(std::map<Key, FailureReport>& failures, const Job& job) {
        const auto& guest = row(guests_.of(job.path, job.storage)).guest;
        auto& failure = failures[key_of(guest)];
        failure.guest = guest;
        if (failure.guest.name.empty()) failure.guest.name = job.guest;
        if (failure.jobs++ == 0 || job.ended_at >= failure.last.ended_at) failure.last = job;
    }

    void sum_up(StorageReport& storage, const GuestReport& guest_row) {
        storage.storage = guest_row.guest.storage;
        ++storage.guests;
        add(storage.sums, guest_row.sums);
        storage.archives += guest_row.archives;
        storage.archive_bytes += guest_row.archive_bytes;
        report_.archives += guest_row.archives;
        report_.archive_bytes += guest_row.archive_bytes;
        report_.unverified += guest_row.unverified;
    }

    BackupReport& report_;
    const ReportInput& input_;
    const Guests& guests_;
    std::map<Key, GuestReport> rows_;
};

}  // namespace

BackupReport backup_report(const ReportInput& input) {
    BackupReport report{
        .host = input.host, .since = input.since, .now = input.now, .verify_seconds = input.verify_seconds};
    const Guests guests(input);
    const auto backups = backups_of(input, guests);
    lay_out_slots(report, backups);
    Compilation compilation(report, input, guests);
    compilation.count(backups);
    compilation.count_archives();
    compilation.gather_growths(backups);
    compilation.gather_failures();
    compilation.finish();
    return report;
}

const api::DiskGrowth* largest_growth(const api::NewSince& since) noexcept {
    const auto largest = std::max_element(
        since.disks.begin(), since.disks.end(),
        [](const auto& left, const auto& right) { return left.new_bytes < right.new_bytes; });
    return largest == since.disks.end() ? nullptr : &*largest;
}

}  // namespace vmad::ctl
