#include "publish/journal_directory.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json_fields.hpp"
#include "base/text.hpp"
#include "io/durable_entry.hpp"
#include "io/temporary_name.hpp"

namespace vmad::publish {
namespace {

constexpr std::string_view kRecordSuffix = ".json";
constexpr std::string_view kLockSuffix = ".lock";
/// A path of 4 KiB, escaped, and the record.
constexpr std::size_t kMaxRecordBytes = 64 << 10;

std::string record_name(const std::string& stem) { return stem + std::string(kRecordSuffix); }
std::string lock_name(const std::string& stem) { return stem + std::string(kLockSuffix); }

struct KeptRecord {
    std::string path;
    RecoveryRecord record;
};

KeptRecord parse_record(const std::string& content, const std::string& name) {
    try {
        const auto json = nlohmann::json::parse(content);
        base::Fields fields(json, "journal entry");
        KeptRecord kept{fields.get<std::string>("path"), fields.get<nlohmann::json>("record")};
        fields.refuse_others();
        return kept;
    } catch (const nlohmann::json::exception& error) {
        throw base::Error(fmt::format("{} is damaged: {}", name, error.what()));
    } catch (const base::Error& error) {
        throw base::Error(fmt::format("{} is damaged: {}", name, error.what()));
    }
}

/// One that makes no sense must not stand in the way of every later run.
KeptRecord parse_or_set_aside(io::FileSystem& fs, const io::File& directory, const std::string& content,
                              const std::string& name) {
    try {
        return parse_record(content, directory.entry(name));
    } catch (const base::Error& error) {
        fs.rename(directory, name, name + ".bad");
        throw base::Error(fmt::format("{}; it is {}.bad now, try again", error.what(), name));
    }
}

}  // namespace

JournalEntry::JournalEntry(io::FileSystem& fs, const io::File& directory, std::string path)
    : fs_(fs), directory_(directory), path_(std::move(path)), stem_(io::random_hex()) {
    if (!base::is_utf8(path_))
        throw base::Error(
            fmt::format("the path {} is not UTF-8: rename it, or repack it to a new file", path_));
}

JournalEntry::~JournalEntry() {
    if (!lock_) return;
    try {
        fs_.unlink(directory_, lock_name(stem_));
    } catch (...) {
        // An empty lock file that stays does no harm.
    }
}

void JournalEntry::take_lock() {
    lock_ = fs_.open_at(directory_, lock_name(stem_), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    // Nobody else looks at a lock whose record is not there yet.
    if (!fs_.try_lock(lock_)) throw base::Error(fmt::format("somebody else locked {}", lock_.path()));
}

void JournalEntry::keep(const RecoveryRecord& record) {
    if (!lock_) take_lock();
    const nlohmann::json json{{"path", path_}, {"record", record}};
    io::write_durably(fs_, directory_, record_name(stem_), json.dump());
    kept_ = record;
}

void JournalEntry::remove() {
    io::remove_durably(fs_, directory_, record_name(stem_));
    kept_.reset();
}

void recover_journal(io::FileSystem& fs, const io::File& directory,
                     const std::function<bool(const std::string&, const RecoveryRecord&)>& recover) {
    auto names = fs.entries(directory);
    std::sort(names.begin(), names.end());
    for (const auto& name : names) {
        const std::string stem(io::random_part(name, "", kRecordSuffix));
        if (stem.empty()) continue;
        // The lock may be missing after a power cut: it is not durable, only the record is.
        const auto lock = fs.open_at(directory, lock_name(stem), O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
        if (!fs.try_lock(lock)) continue;
        // Its process may have ended well since we saw the name.
        if (const auto content = io::read_small_file(fs, directory, name, kMaxRecordBytes)) {
            const auto kept = parse_or_set_aside(fs, directory, *content, name);
            if (!recover(kept.path, kept.record)) continue;
            io::remove_durably(fs, directory, name);
        }
        fs.unlink(directory, lock_name(stem));
    }
}

}  // namespace vmad::publish
