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
/// More than others can be in the way.
constexpr int kMostLockTries = 100;

std::string record_name(const std::string& stem) { return stem + std::string(kRecordSuffix); }
std::string lock_name(const std::string& stem) { return stem + std::string(kLockSuffix); }

struct KeptRecord {
    std::string path;
    RecoveryRecord record;
};

/// Nothing when somebody else has it.
io::File lock_of(io::FileSystem& fs, const io::File& directory, const std::string& stem) {
    auto lock = fs.open_at(directory, lock_name(stem), O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (!fs.try_lock(lock)) return {};
    // Whoever had it may have removed the file since it was opened.
    const auto named = fs.status_at(directory, lock_name(stem));
    return named && named->st_ino == fs.status(lock).st_ino ? std::move(lock) : io::File();
}

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

/// Removes what killed runs left beside the records: locks, and what they were writing when they were killed,
/// if nobody is writing now.
void clear_up(io::FileSystem& fs, const io::File& directory, const std::vector<std::string>& seen) {
    // Whoever was writing when `seen` was listed, and still is, has a lock in the present list.
    bool is_alone = true;
    for (const auto& name : fs.entries(directory)) {
        const std::string stem(io::random_part(name, "", kLockSuffix));
        if (stem.empty()) continue;
        if (const auto lock = lock_of(fs, directory, stem)) {
            if (!fs.status_at(directory, record_name(stem))) fs.unlink(directory, name);
        } else {
            is_alone = false;
        }
    }
    for (const auto& name : seen)
        if (is_alone && io::is_temporary_name(name)) fs.unlink(directory, name);
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
    // Between the two calls a run that clears up may take it for a leftover, and remove it.
    for (int tries = 0; tries < kMostLockTries; ++tries) {
        if ((lock_ = lock_of(fs_, directory_, stem_))) return;
        stem_ = io::random_hex();
    }
    throw base::Error(fmt::format("cannot lock {}: it is gone, or another file, each time",
                                  directory_.entry(lock_name(stem_))));
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
        const auto lock = lock_of(fs, directory, stem);
        if (!lock) continue;
        // Its process may have ended well since we saw the name.
        if (const auto content = io::read_small_file(fs, directory, name, kMaxRecordBytes)) {
            const auto kept = parse_or_set_aside(fs, directory, *content, name);
            if (!recover(kept.path, kept.record)) continue;
            io::remove_durably(fs, directory, name);
        }
        fs.unlink(directory, lock_name(stem));
    }
    clear_up(fs, directory, names);
}

}  // namespace vmad::publish
