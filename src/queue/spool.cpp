#include "queue/spool.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_fields.hpp"
#include "io/durable_entry.hpp"
#include "io/temporary_name.hpp"

namespace vmad::queue {
namespace {

/// A job takes some KiB at most; see also the limit on a message in varlink.
constexpr std::size_t kJobLimitBytes = 1 << 20;
/// The largest integer that every JSON reader keeps exactly.
constexpr std::uint64_t kMostId = (std::uint64_t{1} << 53) - 1;
constexpr mode_t kDirectoryMode = 0700;
constexpr const char* kTotalsName = "totals.json";
constexpr const char* kPausedName = "paused";

io::File open_directory(io::FileSystem& fs, const std::string& path) {
    return fs.open(path, O_RDONLY | O_DIRECTORY);
}

std::string file_name(std::uint64_t id) { return std::to_string(id) + ".json"; }

/// The id in "ID.json" and in what such a file is called once it is set aside.
std::optional<std::uint64_t> id_in(const std::string& name) {
    std::uint64_t id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc() || id == 0 || id > kMostId || !name.starts_with(file_name(id)))
        return std::nullopt;
    return id;
}

template <typename T>
T parse(const std::string& text) {
    if (base::nests_too_deep(text))
        throw base::Error(fmt::format("it nests deeper than {} levels", base::kMaxJsonDepth));
    try {
        return nlohmann::json::parse(text).get<T>();
    } catch (const nlohmann::json::exception& error) {
        throw base::Error(error.what());
    }
}

api::Job read_job(io::FileSystem& fs, const io::File& directory, const std::string& name) {
    const auto id = id_in(name);
    if (!id || name != file_name(*id)) throw base::Error("not the name of a job file");
    const auto text = io::read_small_file(fs, directory, name, kJobLimitBytes);
    if (!text) throw base::SystemError(ENOENT, "open", directory.entry(name));
    auto job = parse<api::Job>(*text);
    if (job.id != *id) throw base::Error(fmt::format("it says that its id is {}", job.id));
    return job;
}

/// A child that a daemon was starting when it was killed has the lock until it becomes another program. So
/// one look is not enough.
bool take_lock(io::FileSystem& fs, const io::File& lock) {
    constexpr int kLooks = 50;
    constexpr std::chrono::milliseconds kBetween{20};
    for (int look = 1; !fs.try_lock(lock); ++look) {
        if (look == kLooks) return false;
        std::this_thread::sleep_for(kBetween);
    }
    return true;
}

}  // namespace

void set_aside(io::FileSystem& fs, const io::File& directory, const std::string& name) {
    std::string aside = name + ".bad";
    for (int i = 1; fs.status_at(directory, aside); ++i) aside = name + '.' + std::to_string(i) + ".bad";
    fs.rename(directory, name, aside);
}

bool is_set_aside(std::string_view name) noexcept { return name.ends_with(".bad"); }

Spool::Spool(io::FileSystem& fs, const std::string& state_dir) : fs_(fs) {
    const bool made = fs.make_directory(state_dir, kDirectoryMode);
    state_ = open_directory(fs, state_dir);
    lock_ = fs.open_at(state_, "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (!take_lock(fs, lock_)) throw base::Error("another vmad is using " + state_dir);
    fs.make_directory(state_.entry("queue"), kDirectoryMode);
    fs.make_directory(state_.entry("archives"), kDirectoryMode);
    fs.make_directory(state_.entry("incoming"), kDirectoryMode);
    queue_ = open_directory(fs, state_.entry("queue"));
    archives_ = open_directory(fs, state_.entry("archives"));
    incoming_ = open_directory(fs, state_.entry("incoming"));
    // A job is only as durable as the directories above it.
    io::sync_where_known(fs, state_);
    if (made) io::sync_where_known(fs, open_directory(fs, std::filesystem::path(state_dir).parent_path()));
}

Spool::Contents Spool::load() {
    Contents contents;
    for (const std::string& name : fs_.entries(state_))
        if (io::is_temporary_name(name)) fs_.unlink(state_, name);
    for (const std::string& name : fs_.entries(queue_)) {
        if (io::is_temporary_name(name)) {
            fs_.unlink(queue_, name);
            continue;
        }
        contents.last_id = std::max(contents.last_id, id_in(name).value_or(0));
        if (is_set_aside(name)) continue;
        try {
            contents.jobs.push_back(read_job(fs_, queue_, name));
        } catch (const base::SystemError&) {
            // The disk is at fault, not the file.
            throw;
        } catch (const base::Error& error) {
            set_aside(fs_, queue_, name);
            contents.bad.push_back({name, error.what()});
        }
    }
    std::sort(contents.jobs.begin(), contents.jobs.end(),
              [](const api::Job& a, const api::Job& b) { return a.id < b.id; });
    std::sort(contents.bad.begin(), contents.bad.end(),
              [](const BadFile& a, const BadFile& b) { return a.name < b.name; });
    return contents;
}

void Spool::save(const api::Job& job) {
    api::Job kept = job;
    kept.progress.reset();
    // A reason may quote bytes that are not UTF-8; a job must not be lost for that.
    const auto text =
        nlohmann::json(kept).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
    io::write_durably(fs_, queue_, file_name(job.id), text);
}

void Spool::remove(std::uint64_t id) { (void)fs_.unlink(queue_, file_name(id)); }

api::Totals Spool::load_totals(std::vector<BadFile>& bad) {
    try {
        const auto text = io::read_small_file(fs_, state_, kTotalsName, kJobLimitBytes);
        return text ? parse<api::Totals>(*text) : api::Totals();
    } catch (const base::SystemError&) {
        throw;
    } catch (const base::Error& error) {
        set_aside(fs_, state_, kTotalsName);
        bad.push_back({kTotalsName, error.what()});
        return {};
    }
}

void Spool::save_totals(const api::Totals& totals) {
    io::write_durably(fs_, state_, kTotalsName, nlohmann::json(totals).dump(2) + '\n');
}

bool Spool::is_paused() { return io::read_small_file(fs_, state_, kPausedName, kJobLimitBytes).has_value(); }

void Spool::set_paused(bool paused) {
    if (paused)
        io::write_durably(fs_, state_, kPausedName, "");
    else if (is_paused())
        io::remove_durably(fs_, state_, kPausedName);
}

}  // namespace vmad::queue
