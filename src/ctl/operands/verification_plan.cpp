#include "ctl/operands/verification_plan.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <tuple>
#include <utility>

#include "base/error.hpp"
#include "base/path.hpp"
#include "io/storage.hpp"

namespace vmad::ctl {
namespace {

constexpr std::int64_t kDaySeconds = std::int64_t{24} * 3600;
constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

using Names = std::set<std::string, std::less<>>;

std::string directory_of(const std::string& path) {
    const auto size = path.rfind('/');
    return size == 0 ? "/" : path.substr(0, size);
}

/// Empty when there is no such directory; nothing when it cannot be read.
std::optional<Names> names_in(io::FileSystem& fs, const std::string& directory) {
    try {
        const auto names = fs.entries(fs.open(directory, O_RDONLY | O_DIRECTORY));
        return Names(names.begin(), names.end());
    } catch (const base::SystemError& error) {
        if (error.number() == ENOENT || error.number() == ENOTDIR) return Names();
        return std::nullopt;
    }
}

bool holds_archives(const Names& names) { return std::any_of(names.begin(), names.end(), is_archive_name); }

/// The mount that the archive was on when it was read last, or nullptr when it is not there.
const io::Mount* mount_of(const api::ArchiveRecord& record, const io::MountTable& mounts) {
    const auto* mount = mounts.find(record.path);
    return mount == nullptr || mount->mount_point.size() < record.mount_point.size() ? nullptr : mount;
}

/// Whether an empty directory on it is empty: no server and no program stands behind it.
bool keeps_directories(const api::ArchiveRecord& record, const io::Mount& mount) {
    return !record.mount_point.empty() && !io::is_network_type(mount.type) && !mount.type.starts_with("fuse");
}

}  // namespace

void sort_for_verification(std::vector<VerificationCandidate>& candidates) {
    const auto key = [](const VerificationCandidate& candidate) {
        return std::tuple(candidate.read_at, std::string_view(candidate.archive.path),
                          candidate.storage.empty());
    };
    std::sort(candidates.begin(), candidates.end(),
              [&](const auto& one, const auto& other) { return key(one) < key(other); });
    const auto same = [](const auto& one, const auto& other) {
        return one.archive.path == other.archive.path;
    };
    candidates.erase(std::unique(candidates.begin(), candidates.end(), same), candidates.end());
}

bool is_due(const VerificationCandidate& candidate, std::int64_t every_seconds, std::int64_t now) noexcept {
    return candidate.read_at <= now - every_seconds + std::min(kDaySeconds, every_seconds / 2);
}

std::size_t daily_share(std::size_t archive_count, std::int64_t every_seconds) noexcept {
    const auto days = static_cast<std::size_t>(std::max<std::int64_t>(every_seconds / kDaySeconds, 1));
    return (2 * archive_count + days - 1) / days;
}

ArchiveRecords::ArchiveRecords(std::vector<api::ArchiveRecord> records) {
    for (auto& record : records) {
        auto path = record.path;
        records_.emplace(std::move(path), std::move(record));
    }
}

VerificationCandidate ArchiveRecords::candidate(FoundArchive archive, std::string storage) const {
    auto read_at = archive.modified_ns / kNanosecondsPerSecond;
    const auto known = records_.find(archive.path);
    if (known != records_.end() && known->second.size_bytes == archive.size_bytes &&
        known->second.modified_ns == archive.modified_ns) {
        const auto& record = known->second;
        if (record.verified_at || record.looked_at)
            read_at = std::max(record.verified_at.value_or(INT64_MIN), record.looked_at.value_or(INT64_MIN));
        if (storage.empty()) storage = record.storage;
    }
    return {std::move(archive), std::move(storage), read_at};
}

std::vector<std::string> ArchiveRecords::paths(
    const std::function<bool(const std::string& path)>& wanted) const {
    std::vector<std::string> paths;
    for (const auto& [path, record] : records_)
        if (wanted(path)) paths.push_back(path);
    return paths;
}

ArchiveRecords::Gone ArchiveRecords::gone(io::FileSystem& fs, const io::MountTable& mounts,
                                          const std::set<std::string, std::less<>>& found,
                                          const Scope& scope) const {
    Gone gone;
    std::map<std::string, std::optional<Names>> directories;
    for (const auto& [path, record] : records_) {
        if (found.contains(path) || !scope.includes(path)) continue;
        const auto* mount = mount_of(record, mounts);
        if (mount == nullptr) continue;
        const auto directory = directory_of(path);
        auto known = directories.find(directory);
        if (known == directories.end()) known = directories.emplace(directory, names_in(fs, directory)).first;
        const auto& names = known->second;
        if (!names || names->contains(std::string(base::file_name(path)))) continue;
        if (scope.believes_empty || holds_archives(*names) || keeps_directories(record, *mount))
            gone.paths.push_back(path);
        else
            ++gone.doubtful[directory];
    }
    return gone;
}

}  // namespace vmad::ctl
