// Every call of a replacement fails, one at a time, before it was done and although it was done; then every
// call from the n-th on.
#include <cerrno>
#include <set>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "replacement.hpp"

using namespace vmad;
using namespace vmad::fault;

namespace {

struct Run {
    std::optional<publish::PublishOutcome> outcome;  ///< nothing when it threw
    std::optional<publish::RecoveryRecord> record;
};

Run run(const Abilities& abilities, support::FaultFileSystem& fs, const Storage& storage) {
    Run result;
    try {
        result.outcome = replace(abilities, fs, storage,
                                 [&](const publish::RecoveryRecord& record) { result.record = record; });
    } catch (const base::Error&) {
    }
    return result;
}

/// After whatever happened: the directory is recovered by a healthy file system.
void check_recovers(const Storage& storage, const Run& result) {
    io::FileSystem healthy;
    if (result.record) {
        const auto outcome = recover(healthy, storage, *result.record);
        CHECK(agrees(storage, outcome));
        CHECK(outcome != publish::RecoveryOutcome::vanished);
        CHECK(outcome != publish::RecoveryOutcome::changed);
    }
    CHECK(storage.is_whole());
    CHECK(storage.is_clean());
}

constexpr int kErrors[] = {EIO, ENOSPC, EACCES, EPERM, ESTALE, EEXIST, ENOENT, EINVAL, EOPNOTSUPP};

}  // namespace

TEST_CASE("without a fault every way publishes and leaves nothing behind") {
    for (const auto& abilities : all_abilities()) {
        CAPTURE(abilities.title);
        const Storage storage;
        support::FaultFileSystem fs;
        const auto result = run(abilities, fs, storage);
        CHECK(result.outcome == abilities.success());
        CHECK(storage.content() == kNew);
        CHECK(abilities.keeps_original() == storage.is_in_grace_period());
        CHECK(abilities.keeps_original() == !storage.is_clean());
        check_recovers(storage, result);
        CHECK(storage.content() == kNew);
    }
}

TEST_CASE("when one call fails, the archive is whole and nothing is left behind") {
    for (const auto& abilities : all_abilities()) {
        for (const int error : kErrors) {
            for (const bool was_done : {false, true}) {
                const auto calls = count_calls(abilities);
                for (unsigned n = 1; n <= calls; ++n) {
                    const Storage storage;
                    support::FaultFileSystem fs;
                    std::string failed;
                    const auto hook = [&](const support::Call& call) {
                        if (call.number != n) return;
                        failed = call.operation + " " + call.path;
                        support::FaultFileSystem::fail(error, call);
                    };
                    (was_done ? fs.after : fs.before) = hook;
                    const auto result = run(abilities, fs, storage);
                    CAPTURE(abilities.title);
                    CAPTURE(error);
                    CAPTURE(was_done);
                    CAPTURE(failed);
                    CHECK(storage.is_whole());
                    // When all was done but the last record, nobody may undo it and nobody finish it.
                    const bool is_over = abilities.keeps_original() && storage.is_in_grace_period();
                    CHECK((storage.is_clean() || (is_over && storage.content() == kNew)));
                    if (result.outcome) CHECK(agrees(storage, *result.outcome));
                    check_recovers(storage, result);
                }
            }
        }
    }
}

TEST_CASE("when all calls fail from one on, the archive is whole and the record cleans up") {
    for (const auto& abilities : all_abilities()) {
        for (const int error : {EIO, ENOSPC, ENOENT}) {
            for (const bool was_done : {false, true}) {
                const auto calls = count_calls(abilities);
                for (unsigned n = 1; n <= calls; ++n) {
                    const Storage storage;
                    support::FaultFileSystem fs;
                    std::string failed;
                    const auto hook = [&](const support::Call& call) {
                        if (call.number < n) return;
                        if (call.number == n) failed = call.operation + " " + call.path;
                        support::FaultFileSystem::fail(error, call);
                    };
                    (was_done ? fs.after : fs.before) = hook;
                    const auto result = run(abilities, fs, storage);
                    CAPTURE(abilities.title);
                    CAPTURE(error);
                    CAPTURE(was_done);
                    CAPTURE(failed);
                    CHECK_FALSE(result.outcome);
                    CHECK(storage.is_whole());
                    check_recovers(storage, result);
                }
            }
        }
    }
}

TEST_CASE("a second failure while the first is cleaned up is healed by the record") {
    for (const auto& abilities : all_abilities()) {
        const auto calls = count_calls(abilities);
        for (unsigned n = 1; n <= calls; ++n) {
            for (unsigned m = n + 1; m <= n + 16; ++m) {
                const Storage storage;
                support::FaultFileSystem fs;
                fs.before = [&](const support::Call& call) {
                    if (call.number == n || call.number == m) support::FaultFileSystem::fail(EIO, call);
                };
                const auto result = run(abilities, fs, storage);
                CAPTURE(abilities.title);
                CAPTURE(n);
                CAPTURE(m);
                CHECK(storage.is_whole());
                check_recovers(storage, result);
            }
        }
    }
}
