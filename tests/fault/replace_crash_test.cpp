// A replacement is killed at every call, before and after it was done; recovery is killed at every call, too.
#include <chrono>
#include <set>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "replacement.hpp"

using namespace vmad;
using namespace vmad::fault;

namespace {

/// Thrown by every call from the death on. Not an Error: nothing may deal with it. What destructors then try
/// to do is not done either.
struct Killed {};

/// Where and when a process dies.
struct Death {
    unsigned call;
    bool was_done;
};

void arm(const Death& death, support::FaultFileSystem& fs) {
    fs.before = [death](const support::Call& call) {
        if (call.number > death.call || (call.number == death.call && !death.was_done)) throw Killed();
    };
    fs.after = [death](const support::Call& call) {
        if (call.number == death.call) throw Killed();
    };
}

/// True when it was killed.
template <typename Work>
bool dies(Work work) {
    try {
        work();
        return false;
    } catch (const Killed&) {
        return true;
    }
}

/// What the daemon keeps of the job, outside the storage, as its file has it; empty at first.
using JobFile = std::string;

std::optional<publish::RecoveryRecord> record_in(const JobFile& job) {
    if (job.empty()) return std::nullopt;
    return nlohmann::json::parse(job).get<publish::RecoveryRecord>();
}

bool replacement_dies(const Abilities& abilities, const Storage& storage, JobFile& job, Death death) {
    return dies([&] {
        support::FaultFileSystem fs;
        arm(death, fs);
        (void)replace(abilities, fs, storage,
                      [&](const publish::RecoveryRecord& record) { job = nlohmann::json(record).dump(); });
    });
}

/// Recovers as often as it takes, killed a call later each time.
void recover_through_deaths(const Abilities& abilities, const Storage& storage,
                            const publish::RecoveryRecord& record, bool was_done) {
    unsigned call = 1;
    const auto recovery_dies = [&] {
        return dies([&] {
            support::FaultFileSystem fs;
            restrict_to(abilities, fs);
            arm({call, was_done}, fs);
            (void)recover(fs, storage, record);
        });
    };
    while (recovery_dies()) {
        CHECK(storage.is_whole());
        ++call;
    }
}

/// All that recovery goes by: it does the same wherever this is the same.
std::string state_of(const Storage& storage, const publish::RecoveryRecord& record) {
    namespace fs = std::filesystem;
    auto state = fmt::format("{} {} {}", static_cast<int>(record.phase), record.replacement.inode != 0,
                             record.replacement.size_bytes != 0 || record.replacement.content != 0);
    const auto now = fs::file_time_type::clock::now();
    for (const auto& name : storage.directory().names()) {
        const fs::path path = storage.directory() / name;
        // The names of other runs have other random digits.
        state +=
            fmt::format("\n{}: {} {:o} {} {}", name == kName ? name : path.extension().string(),
                        storage.directory().read(name), static_cast<unsigned>(fs::status(path).permissions()),
                        fs::hard_link_count(path), now - fs::last_write_time(path) > std::chrono::hours(1));
    }
    return state;
}

}  // namespace

TEST_CASE("killed at any call, and killed at any call of recovery, the archive is whole and alone") {
    for (const auto& abilities : all_abilities()) {
        const auto calls = count_calls(abilities);
        for (const bool was_done : {false, true}) {
            std::set<std::string> states;
            for (unsigned n = 1; n <= calls; ++n) {
                CAPTURE(abilities.title);
                CAPTURE(was_done);
                CAPTURE(n);
                const Storage storage;
                JobFile job;
                CHECK(replacement_dies(abilities, storage, job, {n, was_done}));
                CHECK(storage.is_whole());
                const auto record = record_in(job);
                if (!record) {
                    CHECK(storage.content() == kOld);
                    CHECK(storage.is_clean());
                    continue;
                }
                const bool is_in_grace_period = record->phase == publish::RecoveryRecord::Phase::grace_period;
                CHECK(is_in_grace_period == (abilities.keeps_original() && n == calls && was_done));
                if (is_in_grace_period) CHECK(storage.is_in_grace_period());
                if (states.insert(state_of(storage, *record)).second)
                    recover_through_deaths(abilities, storage, *record, was_done);
                io::FileSystem healthy;
                CHECK(agrees(storage, recover(healthy, storage, *record)));
                CHECK(storage.is_whole());
                if (is_in_grace_period) CHECK(storage.content() == kNew);
                CHECK(storage.is_clean());
            }
        }
    }
}
