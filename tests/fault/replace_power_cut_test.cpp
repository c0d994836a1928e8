// The power is cut before every call of a replacement, with every choice of what was durable by then; and
// again before every call of recovery what that left.
#include <set>

#include <doctest/doctest.h>

#include "power_cut_file_system.hpp"
#include "replacement.hpp"

using namespace vmad;
using namespace vmad::fault;
using State = PowerCutFileSystem::State;

namespace {

constexpr UnsyncedData kAllData[] = {UnsyncedData::lost, UnsyncedData::zeroed, UnsyncedData::kept};

/// Every state that a cut now may leave.
std::vector<State> all_states(const PowerCutFileSystem& fs) {
    std::vector<State> states;
    for (unsigned kept = 0; kept < 1U << fs.pending(); ++kept)
        for (const auto data : kAllData) states.push_back(fs.after_cut(kept, data));
    return states;
}

/// What tells two states apart that recovery may treat in different ways; the names of ours are random.
std::string key_of(const State& state, const std::optional<publish::RecoveryRecord>& record) {
    const auto part = [&](const std::string& name) {
        const auto found = state.names.find(name);
        return found == state.names.end() ? "-" : state.contents.at(found->second).data;
    };
    if (!record) return part(kName);
    return std::to_string(static_cast<int>(record->phase)) + std::to_string(record->replacement.inode != 0) +
           part(kName) + "|" + part(record->temporary) + "|" + part(record->old);
}

/// Cuts the power before every call of recovery, and recovers from what that leaves.
void check_recovery(PowerCutFileSystem& fs, const Storage& storage, const State& start,
                    const publish::RecoveryRecord& record) {
    for (unsigned n = 1;; ++n) {
        CAPTURE(n);
        fs.reset(start);
        fs.cut_before(n);
        bool was_cut = false;
        try {
            const auto outcome = recover(fs, storage, record);
            CHECK(agrees(storage, outcome));
        } catch (const PowerCut&) {
            was_cut = true;
        }
        if (!was_cut) CHECK(fs.pending() == 0);
        for (const auto& state : all_states(fs)) {
            fs.reset(state);
            CHECK(storage.is_whole());
            if (record.phase == publish::RecoveryRecord::Phase::grace_period)
                CHECK(storage.content() == kNew);
            CHECK(agrees(storage, recover(fs, storage, record)));
            CHECK(storage.is_whole());
            CHECK(storage.is_clean());
            CHECK(fs.pending() == 0);
        }
        if (!was_cut) return;
    }
}

}  // namespace

TEST_CASE("after a power cut at any call the archive is whole, and recovery leaves it alone") {
    for (const auto& abilities : all_abilities()) {
        std::set<std::string> seen;
        bool was_cut = true;
        for (unsigned n = 1; was_cut; ++n) {
            CAPTURE(abilities.title);
            CAPTURE(n);
            const Storage storage;
            const support::TemporaryDirectory vault(support::TemporaryDirectory::fast_base());
            PowerCutFileSystem fs(storage.directory(), vault);
            fs.cut_before(n);
            std::optional<publish::RecoveryRecord> record;
            try {
                const auto outcome = replace(abilities, fs, storage,
                                             [&](const publish::RecoveryRecord& latest) { record = latest; });
                CHECK(outcome == abilities.success());
                CHECK(fs.pending() == 0);
                was_cut = false;
            } catch (const PowerCut&) {
            }
            for (const auto& state : all_states(fs)) {
                fs.reset(state);
                CHECK(storage.is_whole());
                if (!record) {
                    CHECK(storage.content() == kOld);
                    CHECK(storage.is_clean());
                } else if (seen.insert(key_of(state, record)).second) {
                    check_recovery(fs, storage, state, *record);
                }
            }
        }
        CHECK(seen.size() >= 3);
    }
}

TEST_CASE("an archive that was never made durable before is so before it is swapped out") {
    // As vzdump leaves it. Before that, losing it to a power cut is nobody's doing here.
    for (const auto& abilities : all_abilities()) {
        bool was_cut = true;
        for (unsigned n = 1; was_cut; ++n) {
            CAPTURE(abilities.title);
            CAPTURE(n);
            const Storage storage;
            const support::TemporaryDirectory vault(support::TemporaryDirectory::fast_base());
            PowerCutFileSystem fs(storage.directory(), vault);
            fs.forget_content(kName);
            fs.cut_before(n);
            std::optional<publish::RecoveryRecord> record;
            try {
                (void)replace(abilities, fs, storage,
                              [&](const publish::RecoveryRecord& latest) { record = latest; });
                was_cut = false;
            } catch (const PowerCut&) {
            }
            for (const auto& state : all_states(fs)) {
                fs.reset(state);
                const bool must_be_whole =
                    record && record->phase != publish::RecoveryRecord::Phase::preparing;
                if (must_be_whole) CHECK(storage.is_whole());
                if (record) CHECK(agrees(storage, recover(fs, storage, *record)));
                if (must_be_whole) CHECK(storage.is_whole());
                CHECK(storage.is_clean());
            }
        }
    }
}
