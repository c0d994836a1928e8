// A replacement is killed at every call, before and after it was done; settling is killed at every call too.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <set>

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "replacement.hpp"

using namespace vmad;
using namespace vmad::fault;

namespace {

constexpr int kKilled = 77;
constexpr int kDone = 0;

/// Where and when a process dies.
struct Death {
    unsigned call;
    bool was_done;
};

void arm(const Death& death, support::FaultFileSystem& fs) {
    (death.was_done ? fs.after : fs.before) = [death](const support::Call& call) {
        if (call.number == death.call) ::_exit(kKilled);
    };
}

/// Runs `work` in a process of its own, whose end is immediate: no destructor runs. True when it was killed.
template <typename Work>
bool dies(Work work) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        try {
            work();
        } catch (...) {
            ::_exit(1);
        }
        ::_exit(kDone);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    const int code = WEXITSTATUS(status);
    REQUIRE((code == kKilled || code == kDone));
    return code == kKilled;
}

/// The job file of the daemon, outside the storage.
class JobFile {
  public:
    void write(const publish::RecoveryRecord& record) const {
        directory_.write("new", nlohmann::json(record).dump());
        std::filesystem::rename(directory_ / "new", directory_ / "record");
    }
    [[nodiscard]] std::optional<publish::RecoveryRecord> read() const {
        if (!directory_.has("record")) return std::nullopt;
        return nlohmann::json::parse(directory_.read("record")).get<publish::RecoveryRecord>();
    }

  private:
    support::TemporaryDirectory directory_{support::TemporaryDirectory::fast_base()};
};

bool replacement_dies(const Abilities& abilities, const Storage& storage, const JobFile& job, Death death) {
    return dies([&] {
        support::FaultFileSystem fs;
        arm(death, fs);
        (void)replace(abilities, fs, storage,
                      [&](const publish::RecoveryRecord& record) { job.write(record); });
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
                const JobFile job;
                CHECK(replacement_dies(abilities, storage, job, {n, was_done}));
                CHECK(storage.is_whole());
                const auto record = job.read();
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
