#include "publish/settlement.hpp"

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
using Phase = Publication::Phase;

namespace {

constexpr Phase kPhases[] = {Phase::preparing, Phase::publishing, Phase::renaming, Phase::lingering};
constexpr Goal kGoals[] = {Goal::finish, Goal::keep_original, Goal::give_back};

/// The three names and the files at them, where ours and the original are one file each: 0 is none, 1 ours, 2
/// the original, more are foreign.
struct Model {
    int name = 0;
    int temporary = 0;
    int old = 0;
    [[nodiscard]] bool holds(int file) const { return name == file || temporary == file || old == file; }
};

Sight sight(int file) {
    switch (file) {
        case 0:
            return Sight::nothing;
        case 1:
            return Sight::ours;
        case 2:
            return Sight::original;
        default:
            return Sight::foreign;
    }
}

Scene scene(const Model& model) {
    const auto beside = [&](int file) {
        return file != 0 && file == model.name ? Sight::second_name : sight(file);
    };
    return {sight(model.name), beside(model.temporary), beside(model.old)};
}

Model act(Model model, Step step) {
    switch (step) {
        case Step::rest:
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

/// Calls `check(start, end)` for what settling makes of every arrangement of files.
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
                            const auto step = decide(scene(now), phase, goal);
                            if (step == Step::rest) break;
                            REQUIRE(steps < 8);
                            now = act(now, step);
                        }
                        check(start, now, phase, goal);
                    }
}

}  // namespace

TEST_CASE("settling removes no foreign file, and empties no name") {
    for_all([](const Model& start, const Model& end, Phase, Goal) {
        for (int foreign = 3; foreign <= 5; ++foreign)
            if (start.holds(foreign)) CHECK(end.holds(foreign));
        if (start.name != 0) CHECK(end.name != 0);
        // A file that somebody put at the name is never taken away from there.
        if (start.name >= 3) CHECK(end.name == start.name);
    });
}

TEST_CASE("settling leaves nothing of ours beside the archive, but an original that is to be kept") {
    for_all([](const Model&, const Model& end, Phase phase, Goal goal) {
        const bool is_kept = phase != Phase::lingering && goal == Goal::keep_original && end.name == 1;
        for (const int beside : {end.temporary, end.old}) {
            if (phase != Phase::lingering) CHECK(beside != 1);
            if (!is_kept) CHECK(beside != 2);
        }
    });
}

TEST_CASE("an original that is to be kept stays beside our replacement, wherever it is") {
    for_all([](const Model& start, const Model& end, Phase phase, Goal goal) {
        if (phase == Phase::lingering || goal != Goal::keep_original || start.name != 1) return;
        if (end.name == 1) CHECK(end.holds(2) == start.holds(2));
    });
}

TEST_CASE("once an original lingers, nothing but it is touched, and nothing comes back") {
    for_all([](const Model& start, const Model& end, Phase phase, Goal) {
        if (phase != Phase::lingering) return;
        CHECK(end.name == start.name);
        const auto after = [&](int beside) { return beside == 2 || beside == start.name ? 0 : beside; };
        CHECK(end.temporary == after(start.temporary));
        CHECK(end.old == after(start.old));
    });
}

TEST_CASE("settling keeps the original, or ours where the original was swapped out, whatever it meets") {
    for_all([](const Model& start, const Model& end, Phase phase, Goal goal) {
        if (start.name == 2) CHECK(end.name == 2);
        const bool has_foreign = start.temporary >= 3 || start.old >= 3;
        if (start.name == 1 && !has_foreign) {
            const bool has_original = start.temporary == 2 || start.old == 2;
            const bool comes_back = goal == Goal::give_back && phase != Phase::lingering;
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

TEST_CASE("the steps, scene by scene") {
    using enum Sight;
    struct Row {
        Scene scene;
        Phase phase;
        Goal goal;
        Step step;
    };
    const Row rows[] = {
        // The exchange went well.
        {{ours, original, nothing}, Phase::publishing, Goal::finish, Step::remove_temporary},
        {{ours, original, nothing}, Phase::publishing, Goal::give_back, Step::exchange_back},
        {{ours, original, nothing}, Phase::publishing, Goal::keep_original, Step::rest},
        {{ours, nothing, original}, Phase::renaming, Goal::keep_original, Step::rest},
        // What did not go well is not kept.
        {{original, ours, nothing}, Phase::publishing, Goal::keep_original, Step::remove_temporary},
        {{nothing, original, nothing}, Phase::publishing, Goal::keep_original, Step::remove_temporary},
        {{ours, foreign, nothing}, Phase::publishing, Goal::keep_original, Step::exchange_back},
        // Later.
        {{ours, original, nothing}, Phase::lingering, Goal::finish, Step::remove_temporary},
        {{ours, nothing, original}, Phase::lingering, Goal::give_back, Step::remove_old},
        {{nothing, original, nothing}, Phase::lingering, Goal::finish, Step::remove_temporary},
        {{foreign, nothing, original}, Phase::lingering, Goal::finish, Step::remove_old},
        {{nothing, foreign, nothing}, Phase::lingering, Goal::finish, Step::rest},
        {{ours, foreign, nothing}, Phase::lingering, Goal::finish, Step::rest},
        {{nothing, ours, nothing}, Phase::lingering, Goal::finish, Step::rest},
        // It took somebody else's file.
        {{ours, foreign, nothing}, Phase::publishing, Goal::finish, Step::exchange_back},
        // The rename went well, and then it did not see a writer.
        {{ours, nothing, original}, Phase::renaming, Goal::finish, Step::remove_old},
        {{ours, nothing, original}, Phase::renaming, Goal::give_back, Step::put_back_old},
        {{ours, nothing, foreign}, Phase::renaming, Goal::finish, Step::put_back_old},
        {{ours, nothing, nothing}, Phase::renaming, Goal::give_back, Step::rest},
        // It stopped half way.
        {{nothing, ours, original}, Phase::renaming, Goal::finish, Step::put_back_old},
        {{nothing, ours, nothing}, Phase::renaming, Goal::finish, Step::put_back_temporary},
        // Pruned: before the swap, after the exchange, after the rename.
        {{nothing, ours, nothing}, Phase::publishing, Goal::finish, Step::remove_temporary},
        {{nothing, original, nothing}, Phase::publishing, Goal::finish, Step::remove_temporary},
        {{nothing, nothing, original}, Phase::renaming, Goal::finish, Step::remove_old},
        // Not swapped.
        {{original, ours, nothing}, Phase::preparing, Goal::finish, Step::remove_temporary},
        {{original, ours, second_name}, Phase::renaming, Goal::finish, Step::remove_old},
        // Somebody else's.
        {{foreign, ours, nothing}, Phase::publishing, Goal::finish, Step::remove_temporary},
        {{foreign, original, nothing}, Phase::publishing, Goal::finish, Step::remove_temporary},
        {{original, foreign, nothing}, Phase::preparing, Goal::finish, Step::rest},
        {{nothing, foreign, nothing}, Phase::preparing, Goal::finish, Step::rest},
        {{nothing, foreign, nothing}, Phase::publishing, Goal::finish, Step::put_back_temporary},
    };
    for (const auto& row : rows) {
        CAPTURE(static_cast<int>(row.scene.name));
        CAPTURE(static_cast<int>(row.scene.temporary));
        CAPTURE(static_cast<int>(row.scene.old));
        CHECK(decide(row.scene, row.phase, row.goal) == row.step);
    }
}

namespace {

/// A directory in which a record can be made to fit whatever is there.
struct Place {
    TemporaryDirectory storage;
    FileSystem fs;
    File directory = fs.open(storage.path(), O_RDONLY | O_DIRECTORY);
    Publication record;

    explicit Place(Phase phase) {
        record = new_publication("a.vma", {});
        record.phase = phase;
        record.original.mark = mark_at("a.vma", "the original");
        record.replacement = mark_at(record.temporary, "ours");
    }
    FileMark mark_at(const std::string& name, const std::string& content) {
        storage.write(name, content);
        return mark_of(fs.status_at(directory, name).value());
    }
    Settlement settle() { return vmad::publish::settle(fs, directory, record); }
    std::string refusal() {
        try {
            (void)settle();
        } catch (const vmad::base::Error& error) {
            return error.what();
        }
        return "";
    }
};

}  // namespace

TEST_CASE("an empty temporary file whose inode was not recorded yet is ours, a filled one is not") {
    Place place(Phase::preparing);
    place.record.replacement = {};
    place.storage.write(place.record.temporary, "");
    CHECK(place.settle() == Settlement::not_published);
    CHECK(place.storage.names() == std::set<std::string>{"a.vma"});

    place.storage.write(place.record.temporary, "not ours");
    CHECK(place.refusal() == place.storage.path() + "/" + place.record.temporary + " or " + place.record.old +
                                 " beside it is a file that was not made here: see whether it belongs at "
                                 "a.vma, and move or remove it");
    CHECK(place.storage.read(place.record.temporary) == "not ours");

    // A FIFO has no size either.
    std::filesystem::remove(place.storage / place.record.temporary);
    CHECK(::mkfifo((place.storage / place.record.temporary).c_str(), 0600) == 0);
    CHECK_FALSE(place.refusal().empty());
    CHECK(place.storage.has(place.record.temporary));
}

TEST_CASE("an unfinished temporary file is ours whatever its size, while it is prepared") {
    Place place(Phase::preparing);
    place.storage.append(place.record.temporary, " and more");
    CHECK(place.settle() == Settlement::not_published);
    CHECK(place.storage.names() == std::set<std::string>{"a.vma"});
}

TEST_CASE("a replacement that was written to since is not ours any more") {
    Place place(Phase::publishing);
    place.storage.append(place.record.temporary, " and more");
    CHECK_FALSE(place.refusal().empty());
    CHECK(place.storage.read(place.record.temporary) == "ours and more");
    CHECK(place.storage.read("a.vma") == "the original");
}

TEST_CASE("an original with another time is another file") {
    Place place(Phase::publishing);
    place.storage.set_modified("a.vma", {1, 0});
    CHECK(place.settle() == Settlement::changed);
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
                CHECK(place.settle() == Settlement::changed);
            else
                CHECK_FALSE(place.refusal().empty());
            CHECK(place.storage.has(name));
            CHECK_FALSE(place.storage.has(place.record.temporary));
        }
    }
}

TEST_CASE("a directory that cannot be synced is taken for one that need not be") {
    Place place(Phase::publishing);
    FaultFileSystem fs;
    fs.before = [](const vmad::support::Call& call) {
        if (call.operation == "sync") FaultFileSystem::fail(EINVAL, call);
    };
    CHECK(settle(fs, place.directory, place.record) == Settlement::not_published);
}

TEST_CASE("settling gives up when somebody else keeps moving the files") {
    Place place(Phase::publishing);
    FaultFileSystem fs;
    fs.after = [&](const vmad::support::Call& call) {
        if (call.operation == "unlink")
            place.record.replacement = place.mark_at(place.record.temporary, "again");
    };
    CHECK_THROWS_WITH_AS(
        (void)settle(fs, place.directory, place.record),
        (place.storage.path() + "/a.vma is being moved again and again by somebody else").c_str(),
        vmad::base::Error);
}

TEST_CASE("a file that is listed but cannot be opened is not taken for removed") {
    Place place(Phase::publishing);
    FaultFileSystem fs;
    fs.before = [](const vmad::support::Call& call) {
        if (call.operation == "open_at") FaultFileSystem::fail(ENOENT, call);
    };
    CHECK_THROWS_WITH_AS((void)look(fs, place.directory, "a.vma"),
                         ("open " + place.storage.path() + "/a.vma: Device or resource busy").c_str(),
                         vmad::base::SystemError);
    CHECK_FALSE(look(fs, place.directory, "b.vma").has_value());
}
