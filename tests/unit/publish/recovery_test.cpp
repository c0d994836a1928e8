#include "publish/recovery.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;
using namespace vmad::publish;
using vmad::support::FaultFileSystem;
using vmad::support::TemporaryDirectory;
using Phase = RecoveryRecord::Phase;

namespace {

constexpr Phase kPhases[] = {Phase::preparing, Phase::publishing, Phase::renaming, Phase::grace_period};
constexpr Goal kGoals[] = {Goal::remove_original, Goal::keep_original, Goal::restore_original};

/// The three names and the files at them, where ours and the original are one file each: 0 is none, 1
/// replacement, 2 the original, more are foreign.
struct Model {
    int name = 0;
    int temporary = 0;
    int old = 0;
    [[nodiscard]] bool holds(int file) const { return name == file || temporary == file || old == file; }
};

ObservedFile classify(int file) {
    switch (file) {
        case 0:
            return ObservedFile::absent;
        case 1:
            return ObservedFile::replacement;
        case 2:
            return ObservedFile::original;
        default:
            return ObservedFile::foreign;
    }
}

DirectoryState state(const Model& model) {
    const auto beside = [&](int file) {
        return file != 0 && file == model.name ? ObservedFile::same_file : classify(file);
    };
    return {classify(model.name), beside(model.temporary), beside(model.old)};
}

Model act(Model model, Step step) {
    switch (step) {
        case Step::none:
            break;
        case Step::exchange_back:
            REQUIRE(model.name != 0);
            REQUIRE(model.temporary != 0);
            std::swap(model.name, model.temporary);
            break;
        case Step::put_back_temporary:
            model.name = std::exchange(model.temporary, 0);
            break;
        case Step::put_back_old:
            model.name = std::exchange(model.old, 0);
            break;
        case Step::remove_temporary:
            model.temporary = 0;
            break;
        case Step::remove_old:
            model.old = 0;
            break;
    }
    return model;
}

/// Calls `check(start, end)` for what recovery makes of every arrangement of files.
template <typename Check>
void for_all(Check check) {
    for (const auto phase : kPhases)
        for (const auto goal : kGoals)
            for (int name = 0; name <= 3; ++name)
                for (int temporary = 0; temporary <= 4; ++temporary)
                    for (int old = 0; old <= 5; ++old) {
                        CAPTURE(name);
                        CAPTURE(temporary);
                        CAPTURE(old);
                        const Model start{name, temporary, old};
                        Model now = start;
                        int steps = 0;
                        for (;; ++steps) {
                            const auto step = decide(state(now), phase, goal);
                            if (step == Step::none) break;
                            REQUIRE(steps < 8);
                            now = act(now, step);
                        }
                        check(start, now, phase, goal);
                    }
}

}  // namespace

TEST_CASE("recovery removes no foreign file, and empties no name") {
    for_all([](const Model& start, const Model& end, Phase, Goal) {
        for (int foreign = 3; foreign <= 5; ++foreign)
            if (start.holds(foreign)) CHECK(end.holds(foreign));
        if (start.name != 0) CHECK(end.name != 0);
        // A file that somebody put at the name is never taken away from there.
        if (start.name >= 3) CHECK(end.name == start.name);
    });
}

TEST_CASE("recovery leaves nothing of ours beside the archive, but an original that is to be kept") {
    for_all([](const Model&, const Model& end, Phase phase, Goal goal) {
        const bool is_kept = phase != Phase::grace_period && goal == Goal::keep_original && end.name == 1;
        for (const int beside : {end.temporary, end.old}) {
            if (phase != Phase::grace_period) CHECK(beside != 1);
            if (!is_kept) CHECK(beside != 2);
        }
    });
}

TEST_CASE("an original that is to be kept stays beside our replacement, wherever it is") {
    for_all([](const Model& start, const Model& end, Phase phase, Goal goal) {
        if (phase == Phase::grace_period || goal != Goal::keep_original || start.name != 1) return;
        if (end.name == 1) CHECK(end.holds(2) == start.holds(2));
    });
}

TEST_CASE("in the grace period nothing but the original is touched, and nothing comes back") {
    for_all([](const Model& start, const Model& end, Phase phase, Goal) {
        if (phase != Phase::grace_period) return;
        CHECK(end.name == start.name);
        const auto after = [&](int beside) { return beside == 2 || beside == start.name ? 0 : beside; };
        CHECK(end.temporary == after(start.temporary));
        CHECK(end.old == after(start.old));
    });
}

TEST_CASE("recovery keeps the original, or ours where the original was swapped out, whatever it meets") {
    for_all([](const Model& start, const Model& end, Phase phase, Goal goal) {
        if (start.name == 2) CHECK(end.name == 2);
        const bool has_foreign = start.temporary >= 3 || start.old >= 3;
        if (start.name == 1 && !has_foreign) {
            const bool has_original = start.temporary == 2 || start.old == 2;
            const bool comes_back = goal == Goal::restore_original && phase != Phase::grace_period;
            CHECK(end.name == (comes_back && has_original ? 2 : 1));
        }
    });
}

TEST_CASE("what was pruned stays so, unless a plain rename was on its way") {
    for_all([](const Model& start, const Model& end, Phase phase, Goal) {
        const bool has_foreign = start.temporary >= 3 || start.old >= 3;
        const bool goes_back = phase == Phase::publishing || phase == Phase::renaming;
        if (start.name != 0 || (has_foreign && goes_back)) return;
        const bool half_renamed = phase == Phase::renaming && start.temporary == 1;
        if (half_renamed)
            CHECK(end.name != 0);
        else
            CHECK(end.name == 0);
    });
}

TEST_CASE("the steps, state by state") {
    using enum ObservedFile;
    struct Row {
        DirectoryState state;
        Phase phase;
        Goal goal;
        Step step;
    };
    const Row rows[] = {
        // The exchange went well.
        {{replacement, original, absent}, Phase::publishing, Goal::remove_original, Step::remove_temporary},
        {{replacement, original, absent}, Phase::publishing, Goal::restore_original, Step::exchange_back},
        {{replacement, original, absent}, Phase::publishing, Goal::keep_original, Step::none},
        {{replacement, absent, original}, Phase::renaming, Goal::keep_original, Step::none},
        // What did not go well is not kept.
        {{original, replacement, absent}, Phase::publishing, Goal::keep_original, Step::remove_temporary},
        {{absent, original, absent}, Phase::publishing, Goal::keep_original, Step::remove_temporary},
        {{replacement, foreign, absent}, Phase::publishing, Goal::keep_original, Step::exchange_back},
        // Later.
        {{replacement, original, absent}, Phase::grace_period, Goal::remove_original, Step::remove_temporary},
        {{replacement, absent, original}, Phase::grace_period, Goal::restore_original, Step::remove_old},
        {{absent, original, absent}, Phase::grace_period, Goal::remove_original, Step::remove_temporary},
        {{foreign, absent, original}, Phase::grace_period, Goal::remove_original, Step::remove_old},
        {{absent, foreign, absent}, Phase::grace_period, Goal::remove_original, Step::none},
        {{replacement, foreign, absent}, Phase::grace_period, Goal::remove_original, Step::none},
        {{absent, replacement, absent}, Phase::grace_period, Goal::remove_original, Step::none},
        // It took somebody else's file.
        {{replacement, foreign, absent}, Phase::publishing, Goal::remove_original, Step::exchange_back},
        // The rename went well, and then it did not see a writer.
        {{replacement, absent, original}, Phase::renaming, Goal::remove_original, Step::remove_old},
        {{replacement, absent, original}, Phase::renaming, Goal::restore_original, Step::put_back_old},
        {{replacement, absent, foreign}, Phase::renaming, Goal::remove_original, Step::put_back_old},
        {{replacement, absent, absent}, Phase::renaming, Goal::restore_original, Step::none},
        // It stopped half way.
        {{absent, replacement, original}, Phase::renaming, Goal::remove_original, Step::put_back_old},
        {{absent, replacement, absent}, Phase::renaming, Goal::remove_original, Step::put_back_temporary},
        // Pruned: before the swap, after the exchange, after the rename.
        {{absent, replacement, absent}, Phase::publishing, Goal::remove_original, Step::remove_temporary},
        {{absent, original, absent}, Phase::publishing, Goal::remove_original, Step::remove_temporary},
        {{absent, absent, original}, Phase::renaming, Goal::remove_original, Step::remove_old},
        // Not swapped.
        {{original, replacement, absent}, Phase::preparing, Goal::remove_original, Step::remove_temporary},
        {{original, replacement, same_file}, Phase::renaming, Goal::remove_original, Step::remove_old},
        // Somebody else's.
        {{foreign, replacement, absent}, Phase::publishing, Goal::remove_original, Step::remove_temporary},
        {{foreign, original, absent}, Phase::publishing, Goal::remove_original, Step::remove_temporary},
        {{original, foreign, absent}, Phase::preparing, Goal::remove_original, Step::none},
        {{absent, foreign, absent}, Phase::preparing, Goal::remove_original, Step::none},
        {{absent, foreign, absent}, Phase::publishing, Goal::remove_original, Step::put_back_temporary},
    };
    for (const auto& row : rows) {
        CAPTURE(static_cast<int>(row.state.name));
        CAPTURE(static_cast<int>(row.state.temporary));
        CAPTURE(static_cast<int>(row.state.old));
        CHECK(decide(row.state, row.phase, row.goal) == row.step);
    }
}

namespace {

/// A directory in which a record can be made to fit whatever is there.
struct Place {
    TemporaryDirectory storage;
    FileSystem fs;
    File directory = fs.open(storage.path(), O_RDONLY | O_DIRECTORY);
    RecoveryRecord record;

    explicit Place(Phase phase) {
        record = new_recovery_record("a.vma", {});
        record.phase = phase;
        record.original.mark = mark_at("a.vma", "the original");
        record.replacement = mark_at(record.temporary, "ours");
    }
    FileMark mark_at(const std::string& name, const std::string& content) {
        storage.write(name, content);
        return mark_of(fs.status_at(directory, name).value());
    }
    RecoveryOutcome recover() { return vmad::publish::recover(fs, directory, record).outcome; }
    bool has_leases(const std::string& name) {
        const bool held = fs.try_lease(fs.open(storage / name, O_RDONLY)) == Lease::held;
        if (!held) MESSAGE("no leases here");
        return held;
    }
    std::string warning() { return vmad::publish::recover(fs, directory, record).warning; }
};

}  // namespace

TEST_CASE("an empty temporary file whose inode was not recorded yet is replacement, a filled one is not") {
    Place place(Phase::preparing);
    place.record.replacement = {};
    place.storage.write(place.record.temporary, "");
    CHECK(place.recover() == RecoveryOutcome::not_published);
    CHECK(place.storage.names() == std::set<std::string>{"a.vma"});

    place.storage.write(place.record.temporary, "not ours");
    CHECK(place.warning() ==
          place.storage.path() + "/" + place.record.temporary +
              " is left beside a.vma, because it may not be vmad's: check whether it should be restored "
              "under that name, then move or remove it");
    CHECK(place.recover() == RecoveryOutcome::not_published);
    CHECK(place.storage.read(place.record.temporary) == "not ours");

    // A FIFO has no size either.
    std::filesystem::remove(place.storage / place.record.temporary);
    CHECK(::mkfifo((place.storage / place.record.temporary).c_str(), 0600) == 0);
    CHECK_FALSE(place.warning().empty());
    CHECK(place.storage.has(place.record.temporary));
}

TEST_CASE("an unfinished temporary file is ours whatever its size, while it is prepared") {
    Place place(Phase::preparing);
    place.storage.append(place.record.temporary, " and more");
    CHECK(place.recover() == RecoveryOutcome::not_published);
    CHECK(place.storage.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("a replacement that was written to since is not ours any more") {
    Place place(Phase::publishing);
    place.storage.append(place.record.temporary, " and more");
    CHECK_FALSE(place.warning().empty());
    CHECK(place.storage.read(place.record.temporary) == "ours and more");
    CHECK(place.storage.read("a.vma") == "the original");
}

TEST_CASE(
    "an original that was swapped out goes, and comes back when another process has it open for writing") {
    for (const auto phase : {Phase::publishing, Phase::renaming}) {
        for (const bool is_written : {false, true}) {
            CAPTURE(static_cast<int>(phase));
            CAPTURE(is_written);
            Place place(phase);
            auto& record = place.record;
            std::string beside = record.temporary;
            if (phase == Phase::publishing) {
                REQUIRE(place.fs.exchange(place.directory, record.temporary, "a.vma"));
            } else {
                beside = record.old;
                REQUIRE(place.fs.link(place.directory, "a.vma", beside));
                place.fs.rename(place.directory, record.temporary, "a.vma");
            }
            if (!place.has_leases(beside)) return;
            const auto writer = is_written ? place.fs.open(place.storage / beside, O_WRONLY) : File();
            CHECK(place.recover() ==
                  (is_written ? RecoveryOutcome::not_published : RecoveryOutcome::published));
            CHECK(place.storage.read("a.vma") == (is_written ? "the original" : "ours"));
            CHECK(place.storage.names() == std::set<std::string>{"a.vma"});
        }
    }
}

TEST_CASE("an original that another process has open for writing stays beside what somebody has put there") {
    Place place(Phase::publishing);
    REQUIRE(place.fs.exchange(place.directory, place.record.temporary, "a.vma"));
    if (!place.has_leases(place.record.temporary)) return;
    const auto writer = place.fs.open(place.storage / place.record.temporary, O_WRONLY);
    std::filesystem::remove(place.storage / "a.vma");
    place.storage.write("a.vma", "somebody's");
    const auto result = vmad::publish::recover(place.fs, place.directory, place.record);
    CHECK(result.outcome == RecoveryOutcome::changed);
    CHECK(result.warning.starts_with(place.storage / place.record.temporary + " is left beside a.vma"));
    CHECK(place.storage.read("a.vma") == "somebody's");
    CHECK(place.storage.read(place.record.temporary) == "the original");
}

TEST_CASE("an original with another time is another file") {
    Place place(Phase::publishing);
    place.storage.set_modified("a.vma", {1, 0});
    CHECK(place.recover() == RecoveryOutcome::changed);
    CHECK(place.storage.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("a directory, a link and a FIFO at the names are foreign and stay") {
    for (const int kind : {0, 1, 2}) {
        for (const bool at_name : {false, true}) {
            CAPTURE(kind);
            CAPTURE(at_name);
            Place place(Phase::publishing);
            const auto name = at_name ? std::string("a.vma") : place.record.old;
            const auto path = place.storage / name;
            std::filesystem::remove(path);
            if (kind == 0) std::filesystem::create_directory(path);
            if (kind == 1) std::filesystem::create_symlink("/etc/passwd", path);
            if (kind == 2) CHECK(::mkfifo(path.c_str(), 0600) == 0);
            if (at_name)
                CHECK(place.recover() == RecoveryOutcome::changed);
            else
                CHECK_FALSE(place.warning().empty());
            CHECK(place.storage.has(name));
            CHECK_FALSE(place.storage.has(place.record.temporary));
        }
    }
}

TEST_CASE("a directory that cannot be synced is taken for one that need not be") {
    for (const int error : {EINVAL, ENOSYS, EOPNOTSUPP, EPERM, EISDIR, EIO}) {
        CAPTURE(error);
        Place place(Phase::publishing);
        FaultFileSystem fs;
        fs.before = [&](const vmad::support::Call& call) {
            if (call.operation == "sync") FaultFileSystem::fail(error, call);
        };
        if (error == EIO)
            CHECK_THROWS_AS((void)recover(fs, place.directory, place.record), vmad::base::SystemError);
        else
            CHECK(recover(fs, place.directory, place.record).outcome == RecoveryOutcome::not_published);
    }
}

TEST_CASE("what the original was given goes to our replacement, never to a file that took its place") {
    for (const bool is_replaced : {false, true}) {
        CAPTURE(is_replaced);
        Place place(Phase::publishing);
        const auto& name = place.record.name;
        const auto& temporary = place.record.temporary;
        place.record.access = access_of(place.fs.status_at(place.directory, name).value());
        // The swap, and the change that came just before it.
        place.fs.rename(place.directory, name, "aside");
        place.fs.rename(place.directory, temporary, name);
        place.fs.rename(place.directory, "aside", temporary);
        REQUIRE(::chmod((place.storage / temporary).c_str(), 0400) == 0);
        place.storage.write("foreign", "foreign");
        const auto foreign = place.fs.status_at(place.directory, "foreign").value();

        FaultFileSystem fs;
        unsigned opened = 0;
        fs.before = [&](const support::Call& call) {
            // First to be observed, then to be changed.
            if (call.operation == "open_at" && call.path == name && ++opened == 2 && is_replaced)
                place.fs.rename(place.directory, "foreign", name);
        };
        (void)recover(fs, place.directory, place.record);
        CHECK(opened >= 2);
        const auto found = place.fs.status_at(place.directory, name).value();
        CHECK((found.st_mode & 07777) == (is_replaced ? foreign.st_mode & 07777 : 0400));
        CHECK((found.st_ino == foreign.st_ino) == is_replaced);
    }
}

TEST_CASE("where numbers do not last, the content tells what is at a name") {
    struct Row {
        const char* defect;
        const char *name, *temporary;  ///< what they hold; nothing when empty
        Phase phase;
        RecoveryOutcome outcome;
        const char* name_after;
        bool warns = false;
    };
    constexpr auto kOld = "the original", kNew = "the replacement";
    const Row rows[] = {
        {"unfinished", kOld, "the repl", Phase::preparing, RecoveryOutcome::not_published, kOld},
        {"finished, not swapped", kOld, kNew, Phase::publishing, RecoveryOutcome::not_published, kOld},
        {"exchanged", kNew, kOld, Phase::publishing, RecoveryOutcome::published, kNew},
        {"renamed", kNew, "", Phase::renaming, RecoveryOutcome::published, kNew},
        {"half renamed", "", kNew, Phase::renaming, RecoveryOutcome::published, kNew},
        {"somebody's was swapped out", kNew, "another", Phase::publishing, RecoveryOutcome::changed,
         "another"},
        {"pruned", "", kNew, Phase::publishing, RecoveryOutcome::vanished, ""},
        {"pruned, then swapped", "", kOld, Phase::publishing, RecoveryOutcome::vanished, ""},
        {"somebody's came instead", "another", kOld, Phase::publishing, RecoveryOutcome::changed, "another"},
        {"a stray file", kOld, "another", Phase::publishing, RecoveryOutcome::not_published, kOld, true},
        {"the old file is kept", kNew, kOld, Phase::grace_period, RecoveryOutcome::published, kNew},
        {"so is somebody's", kNew, "another", Phase::grace_period, RecoveryOutcome::published, kNew, true},
    };
    for (const auto& row : rows) {
        CAPTURE(row.defect);
        TemporaryDirectory storage;
        FaultFileSystem fs;
        fs.numbers = vmad::support::Numbers::by_mount;
        const auto directory = fs.open(storage.path(), O_RDONLY | O_DIRECTORY);
        const auto put = [&](const std::string& name, const std::string& content) {
            if (content.empty()) return;
            storage.write(name, content);
            storage.set_modified(name, {content == kNew ? 1'700'000'001 : 1'700'000'000, 0});
        };
        const auto mark = [&](const std::string& content) {
            put("other", content);
            const auto seen = observe_file(fs, directory, "other", MarkBy::content);
            storage.remove("other");
            return seen.value().mark;
        };
        auto record = new_recovery_record("a.vma", {1, mark(kOld), 0});
        record.phase = row.phase;
        if (row.phase != Phase::preparing) record.replacement = mark(kNew);
        put("a.vma", row.name);
        put(record.temporary, row.temporary);
        const auto result = recover(fs, directory, record);
        CHECK(result.outcome == row.outcome);
        CHECK(storage.has("a.vma") == (*row.name_after != '\0'));
        if (*row.name_after != '\0') CHECK(storage.read("a.vma") == row.name_after);
        CHECK(storage.has(record.temporary) == row.warns);
        CHECK((result.warning.find(record.temporary) != std::string::npos) == row.warns);
    }
}

TEST_CASE("recovery gives up when somebody else keeps moving the files") {
    Place place(Phase::publishing);
    FaultFileSystem fs;
    fs.after = [&](const vmad::support::Call& call) {
        if (call.operation == "unlink")
            place.record.replacement = place.mark_at(place.record.temporary, "again");
    };
    CHECK_THROWS_WITH_AS(
        (void)recover(fs, place.directory, place.record),
        (place.storage.path() + "/a.vma keeps changing: another process is renaming it").c_str(),
        vmad::base::Error);
}

TEST_CASE("a file that is listed but cannot be opened is not taken for removed") {
    Place place(Phase::publishing);
    FaultFileSystem fs;
    fs.before = [](const vmad::support::Call& call) {
        if (call.operation == "open_at") FaultFileSystem::fail(ENOENT, call);
    };
    CHECK_THROWS_WITH_AS((void)observe_file(fs, place.directory, "a.vma", MarkBy::inode),
                         ("open " + place.storage.path() + "/a.vma: Device or resource busy").c_str(),
                         vmad::base::SystemError);
    CHECK_FALSE(observe_file(fs, place.directory, "b.vma", MarkBy::inode).has_value());
}
