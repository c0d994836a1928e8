// The power is cut at every operation of a replacement, with every choice of what was durable by then; and
// again at every operation of recovery from what that left.
#include <doctest/doctest.h>

#include "power_cuts.hpp"
#include "recording_file_system.hpp"
#include "replacement.hpp"

using namespace vmad;
using namespace vmad::fault;
using Phase = publish::RecoveryRecord::Phase;

namespace {

constexpr std::size_t kMostStates = 100;
constexpr std::size_t kMostSecondStates = 8;

DiskImage image_with(const std::string& content) {
    auto image = empty_image();
    add_file(image, image.root, kName,
             {.content = std::make_shared<const Content>(content),
              .modified_ns = 1'700'000'000'123'456'789,
              .mode = 0644});
    return image;
}

/// What a replacement did, and which record was durable after how many operations of it.
class Recording {
  public:
    explicit Recording(const Abilities& abilities) {
        RecordingFileSystem fs(storage.directory(), image_with(kOld));
        const auto outcome = replace(abilities, fs, storage, [&](const publish::RecoveryRecord& record) {
            fs.note("journal");
            records_.emplace_back(fs.operations().size(), record);
        });
        CHECK(outcome == abilities.success());
        start = fs.start();
        operations = fs.operations();
    }

    [[nodiscard]] const publish::RecoveryRecord* record_at(std::size_t done) const {
        const auto number = number_at(done);
        return number == 0 ? nullptr : &records_[number - 1].second;
    }
    /// All states that a cut may leave, each with the record that was durable then.
    [[nodiscard]] std::vector<CutState> states() {
        return states_after_cuts(
            start, operations, [this](std::size_t done) { return number_at(done); }, seen);
    }

    /// Something was done before all that.
    void prepend(Operation operation) {
        operations.insert(operations.begin(), std::move(operation));
        for (auto& [at, record] : records_) ++at;
    }

    Storage storage;
    DiskImage start;
    std::vector<Operation> operations;
    std::set<std::size_t> seen;

  private:
    [[nodiscard]] std::size_t number_at(std::size_t done) const {
        std::size_t number = 0;
        while (number < records_.size() && records_[number].first <= done) ++number;
        return number;
    }

    std::vector<std::pair<std::size_t, publish::RecoveryRecord>> records_;
};

/// Recovers from a state, and cuts the power in that, too, when `again`.
void check_recovery(Recording& recording, const Abilities& abilities, const CutState& state,
                    const publish::RecoveryRecord& record, bool again) {
    CAPTURE(state.title);
    const auto& storage = recording.storage;
    RecordingFileSystem fs(storage.directory(), state.image);
    restrict_to(abilities, fs);
    CHECK(storage.is_whole());
    if (record.phase == Phase::grace_period) CHECK(storage.content() == kNew);
    CHECK(agrees(storage, recover(fs, storage, record)));
    CHECK(storage.is_whole());
    CHECK(storage.is_clean());
    ChangingDisk disk(fs.start());
    for (const auto& operation : fs.operations()) disk.apply(operation);
    CHECK(disk.pending() == 0);
    if (!again) return;
    const auto operations = fs.operations();
    // Told apart from those before by the record that was durable, as that is.
    const auto mark = state.operations + 1'000'000;
    auto states = states_after_cuts(
        fs.start(), operations, [&](std::size_t) { return mark; }, recording.seen);
    for (const auto& next : sampled(std::move(states), kMostSecondStates))
        check_recovery(recording, abilities, next, record, false);
}

}  // namespace

TEST_CASE("after a power cut at any call the archive is whole, and recovery leaves it alone") {
    for (const auto& abilities : all_abilities()) {
        CAPTURE(abilities.title);
        Recording recording(abilities);
        const auto states = sampled(recording.states(), kMostStates);
        CHECK(states.size() >= 3);
        for (const auto& state : states) {
            if (const auto* record = recording.record_at(state.operations)) {
                check_recovery(recording, abilities, state, *record, true);
                continue;
            }
            CAPTURE(state.title);
            const RecordingFileSystem fs(recording.storage.directory(), state.image);
            CHECK(recording.storage.content() == kOld);
            CHECK(recording.storage.is_clean());
        }
    }
}

TEST_CASE("an archive that was never made durable before is so before it is swapped out") {
    // As vzdump leaves it. Before that, losing it to a power cut is nobody's doing here.
    for (const auto& abilities : all_abilities()) {
        CAPTURE(abilities.title);
        Recording recording(abilities);
        const auto written = *recording.start.file(kName);
        const auto node = *recording.start.find(kName);
        recording.start.files.at(node) = {};
        recording.prepend(
            {.title = "vzdump", .node = node, .change = [written](FileNode& file) { file = written; }});
        for (const auto& state : sampled(recording.states(), kMostStates)) {
            CAPTURE(state.title);
            const auto* record = recording.record_at(state.operations);
            RecordingFileSystem fs(recording.storage.directory(), state.image);
            restrict_to(abilities, fs);
            const bool must_be_whole = record != nullptr && record->phase != Phase::preparing;
            if (must_be_whole) CHECK(recording.storage.is_whole());
            if (record != nullptr) (void)recover(fs, recording.storage, *record);
            if (must_be_whole) CHECK(recording.storage.is_whole());
            CHECK(recording.storage.is_clean());
        }
    }
}
