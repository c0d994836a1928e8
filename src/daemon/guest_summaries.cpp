#include "daemon/guest_summaries.hpp"

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace vmad::daemon {
namespace {

using api::ArchiveRecord;
using api::GuestSummary;
using api::Job;
using api::JobState;

constexpr std::int64_t kDaySeconds = std::int64_t{24} * 60 * 60;
constexpr std::int64_t kWeekSeconds = 7 * kDaySeconds;

std::string directory_of(std::string_view path) { return std::string(path.substr(0, path.rfind('/'))); }

/// It has made an archive canonical, which also is said of a job in its grace period. An archive that was so
/// already is no new backup: a scan finds the same ones every time.
bool has_repacked(const Job& job) {
    return job.kind == api::JobKind::repack && job.ended_at &&
           (job.state == JobState::done || job.waiting_for == api::WaitReason::grace_period);
}

class Summaries {
  public:
    explicit Summaries(std::int64_t now) : now_(now) {}

    void learn_storage(const std::string& path, const std::string& storage) {
        if (!storage.empty()) storages_[directory_of(path)] = storage;
    }
    void add(const ArchiveRecord& record) {
        auto& [summary, newest_at] = of(record.path, record.storage, record.vmid);
        if (summary.backups == 0 || record.verified_at < summary.verified_at)
            summary.verified_at = record.verified_at;
        ++summary.backups;
        summary.bytes += record.size_bytes;
        if (record.verdict == api::Verdict::unverified) ++summary.unverified;
        if (record.verdict == api::Verdict::damaged) ++summary.damaged;
        if (!record.guest.empty() && (summary.guest.empty() || record.backup_at >= newest_at)) {
            summary.guest = record.guest;
            newest_at = record.backup_at;
        }
        if (record.repacked_at)
            add_success(summary, *record.repacked_at, record.size_bytes, record.new_bytes);
    }
    void add(const Job& job) {
        if (!has_repacked(job) || *job.ended_at <= now_ - kWeekSeconds) return;
        auto& summary = of(job.path, job.storage, job.vmid).first;
        if (summary.guest.empty()) summary.guest = job.guest;
        const auto new_bytes = job.since ? std::optional(job.since->new_bytes) : std::nullopt;
        add_success(summary, *job.ended_at, job.size_after, new_bytes);
        const auto size = job.size_after.value_or(0);
        ++summary.week_backups;
        summary.week_bytes += size;
        summary.week_new_bytes += new_bytes.value_or(0);
        if (*job.ended_at <= now_ - kDaySeconds) return;
        ++summary.day_backups;
        summary.day_bytes += size;
        summary.day_new_bytes += new_bytes.value_or(0);
    }
    [[nodiscard]] std::vector<GuestSummary> take() {
        std::vector<GuestSummary> all;
        for (auto& [key, summary] : by_guest_) all.push_back(std::move(summary.first));
        return all;
    }

  private:
    /// With the time of the backup that has named the guest.
    using Entry = std::pair<GuestSummary, std::int64_t>;

    Entry& of(const std::string& path, const std::string& storage, std::optional<std::uint64_t> vmid) {
        auto name = storage;
        if (name.empty())
            if (const auto known = storages_.find(directory_of(path)); known != storages_.end())
                name = known->second;
        auto& entry = by_guest_[{name, vmid}];
        entry.first.storage = name;
        entry.first.vmid = vmid;
        return entry;
    }
    static void add_success(GuestSummary& summary, std::int64_t at, std::optional<std::uint64_t> size,
                            std::optional<std::uint64_t> new_bytes) {
        if (summary.last_success_at > at) return;
        summary.last_success_at = at;
        summary.last_size = size;
        summary.last_new_bytes = new_bytes;
    }

    std::int64_t now_;
    std::unordered_map<std::string, std::string> storages_;  ///< by directory
    std::map<std::pair<std::string, std::optional<std::uint64_t>>, Entry> by_guest_;
};

}  // namespace

std::vector<GuestSummary> guest_summaries(const queue::Queue& queue, const queue::Catalogue& catalogue,
                                          std::int64_t now) {
    Summaries summaries(now);
    for (const auto& [id, job] : queue.jobs()) summaries.learn_storage(job.path, job.storage);
    for (const auto& [record, number] : catalogue.entries())
        summaries.learn_storage(record.path, record.storage);
    for (const auto& [record, number] : catalogue.entries()) summaries.add(record);
    for (const auto& [id, job] : queue.jobs()) summaries.add(job);
    return summaries.take();
}

}  // namespace vmad::daemon
