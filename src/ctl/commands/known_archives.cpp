#include "ctl/commands/known_archives.hpp"

#include <unistd.h>

#include "api/queue_client.hpp"
#include "settings/settings.hpp"

namespace vmad::ctl {
namespace {

constexpr std::chrono::seconds kPatience{2};

}  // namespace

std::optional<api::ArchiveRecord> KnownArchives::find(const std::string& path) {
    if (!records_) {
        records_.emplace();
        if (::geteuid() == 0) try {
                for (auto& record : context_.daemon(kPatience).archives())
                    records_->emplace(record.path, record);
            } catch (const base::Error&) {
                // It does not run, or is an older one: the archive's own attribute is left.
            }
    }
    const auto found = records_->find(path);
    return found == records_->end() ? std::nullopt : std::optional(found->second);
}

const access::ChecksumStore& KnownArchives::checksums() {
    if (!checksums_) {
        std::string directory;
        try {
            directory = settings::Places().state_dir() + "/regions";
        } catch (const base::Error&) {
            // Settings that cannot be read are for other commands to complain of.
        }
        checksums_.emplace(directory);
    }
    return *checksums_;
}

std::optional<verify::RecordedDigest> recorded_digest(const std::optional<api::ArchiveRecord>& record) {
    if (!record) return std::nullopt;
    return verify::recorded_digest(record->digest, record->device_digests, record->size_bytes,
                                   record->modified_ns, record->repacked_at.has_value());
}

}  // namespace vmad::ctl
