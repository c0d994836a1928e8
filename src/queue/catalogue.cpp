#include "queue/catalogue.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/path.hpp"
#include "base/text.hpp"
#include "io/durable_entry.hpp"
#include "io/temporary_name.hpp"

namespace vmad::queue {
namespace {

using api::ArchiveRecord;
using api::Verdict;

/// Some KiB at most: a guest has few disks, and a path at most 4 KiB.
constexpr std::size_t kRecordLimitBytes = 1 << 18;
constexpr std::uint64_t kMostNumber = (std::uint64_t{1} << 53) - 1;

std::string file_name(std::uint64_t number) { return std::to_string(number) + ".json"; }

/// Of "N.json".
std::optional<std::uint64_t> number_in(const std::string& name) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || number == 0 || number > kMostNumber || name != file_name(number))
        return std::nullopt;
    return number;
}

ArchiveRecord read_record(io::FileSystem& fs, const io::File& directory, const std::string& name) {
    if (!number_in(name)) throw base::Error("not the name of a record");
    const auto text = io::read_small_file(fs, directory, name, kRecordLimitBytes);
    if (!text) throw base::SystemError(ENOENT, "open", directory.entry(name));
    try {
        return nlohmann::json::parse(*text).get<ArchiveRecord>();
    } catch (const nlohmann::json::exception& error) {
        throw base::Error(error.what());
    }
}

std::string_view directory_of(std::string_view path) { return path.substr(0, path.rfind('/') + 1); }

/// The earlier of two times, of which the absent one is the earliest of all.
void keep_earliest(std::optional<std::int64_t>& earliest, bool is_first,
                   const std::optional<std::int64_t>& time) {
    if (is_first || time < earliest) earliest = time;
}

template <typename T>
void fill(std::optional<T>& field, const std::optional<T>& value) {
    if (!field) field = value;
}

void fill(std::string& field, const std::string& value) {
    if (field.empty()) field = value;
}

/// What does not change while the file is the same.
void fill_of_same_file(ArchiveRecord& record, const ArchiveRecord& known) {
    if (record.size_bytes != known.size_bytes || record.modified_ns != known.modified_ns) return;
    fill(record.digest, known.digest);
    if (record.device_digests.empty()) record.device_digests = known.device_digests;
    fill(record.new_bytes, known.new_bytes);
    fill(record.repacked_at, known.repacked_at);
    fill(record.verified_at, known.verified_at);
    fill(record.looked_at, known.looked_at);
}

}  // namespace

Catalogue::Catalogue(io::FileSystem& fs, const io::File& directory, std::size_t most)
    : fs_(fs), directory_(directory), most_(most) {
    for (const std::string& name : fs_.entries(directory_)) {
        if (io::is_temporary_name(name)) {
            fs_.unlink(directory_, name);
            continue;
        }
        if (is_set_aside(name)) continue;
        try {
            auto record = read_record(fs_, directory_, name);
            if (const auto* other = find(record.path); other != nullptr)
                throw base::Error("there is another record of " + record.path);
            const auto number = *number_in(name);
            last_number_ = std::max(last_number_, number);
            entries_.insert({std::move(record), number});
        } catch (const base::SystemError&) {
            // The disk is at fault, not the file.
            throw;
        } catch (const base::Error& error) {
            set_aside(fs_, directory_, name);
            bad_files_.push_back({name, error.what()});
        }
    }
    std::sort(bad_files_.begin(), bad_files_.end(),
              [](const BadFile& a, const BadFile& b) { return a.name < b.name; });
}

const ArchiveRecord* Catalogue::find(std::string_view path) const {
    const auto found = entries_.find(path);
    return found == entries_.end() ? nullptr : &found->record;
}

std::vector<std::string> Catalogue::beside(const std::string& path, std::optional<std::uint64_t> vmid,
                                           std::size_t most) const {
    const auto directory = directory_of(path);
    std::vector<const ArchiveRecord*> found;
    for (auto next = entries_.lower_bound(directory);
         next != entries_.end() && next->record.path.starts_with(directory); ++next) {
        const auto& record = next->record;
        if (vmid && record.vmid == vmid && record.path != path && directory_of(record.path) == directory)
            found.push_back(&record);
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const auto* a, const auto* b) { return a->backup_at > b->backup_at; });
    std::vector<std::string> paths;
    for (const auto* record : found)
        if (paths.size() < most) paths.push_back(record->path);
    return paths;
}

api::ArchiveCounts Catalogue::counts(std::optional<std::int64_t> verify_every_seconds, std::int64_t now,
                                     const std::vector<std::string>& directories) const {
    const auto is_accepted = [&](const std::string& path) {
        return directories.empty() ||
               std::any_of(directories.begin(), directories.end(),
                           [&](const std::string& directory) { return base::is_below(path, directory); });
    };
    api::ArchiveCounts counts;
    for (const auto& [record, number] : entries_) {
        keep_earliest(counts.verified_at, counts.known == 0, record.verified_at);
        ++counts.known;
        if (record.verdict == Verdict::unverified) ++counts.unverified;
        if (record.verdict == Verdict::damaged) ++counts.damaged;
        if (record.verdict == Verdict::damaged && !record.acknowledged) ++counts.unacknowledged;
        if (api::is_overdue(record, verify_every_seconds, now) && is_accepted(record.path)) ++counts.overdue;
    }
    return counts;
}

void Catalogue::put(const ArchiveRecord& record) {
    const auto old = entries_.find(record.path);
    if (old != entries_.end() && old->record == record) return;
    const auto number = old != entries_.end() ? old->number : last_number_ + 1;
    // A fault may quote bytes that are not UTF-8; a record must not be lost for that.
    const auto text =
        nlohmann::json(record).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
    io::write_durably(fs_, directory_, file_name(number), text);
    last_number_ = std::max(last_number_, number);
    if (old != entries_.end()) entries_.erase(old);
    entries_.insert({record, number});
    if (entries_.size() > most_) drop_oldest();
}

void Catalogue::acknowledge(std::string_view path) {
    const auto* known = find(path);
    if (known == nullptr || known->verdict != Verdict::damaged || known->acknowledged) return;
    auto record = *known;
    record.acknowledged = true;
    put(record);
}

void Catalogue::drop_oldest() {
    forget(std::min_element(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
        return a.record.backup_at < b.record.backup_at;
    }));
}

bool Catalogue::forget(std::string_view path) {
    const auto found = entries_.find(path);
    if (found == entries_.end()) return false;
    forget(found);
    return true;
}

void Catalogue::forget(Entries::iterator entry) {
    (void)fs_.unlink(directory_, file_name(entry->number));
    entries_.erase(entry);
}

std::optional<ArchiveRecord> record_after(const ArchiveRecord* known, const api::Job& job,
                                          const api::WorkerResult& result) {
    if (!result.record || result.record->path != job.path) return std::nullopt;
    ArchiveRecord record = *result.record;
    if (!job.storage.empty()) record.storage = job.storage;
    if (!job.guest.empty()) record.guest = job.guest;
    if (!job.mount_point.empty()) record.mount_point = job.mount_point;
    fill(record.vmid, job.vmid);
    if (result.since) record.new_bytes = result.since->new_bytes;
    if (known != nullptr) {
        fill(record.storage, known->storage);
        fill(record.guest, known->guest);
        fill(record.mount_point, known->mount_point);
        fill_of_same_file(record, *known);
    }
    api::bound(record);
    return record;
}

}  // namespace vmad::queue
