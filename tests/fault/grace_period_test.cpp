// The old file was kept for a while. Whatever became of the archive meanwhile, and becomes of it while the
// old file is removed, stays so; nothing comes back; and no call that fails stops that for good.
#include <unistd.h>

#include <cerrno>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "replacement.hpp"

using namespace vmad;
using namespace vmad::fault;
using publish::RecoveryOutcome;

namespace {

const std::string kOther = "another archive";

/// What somebody does to the archive, the name of the kept file, how recovery ends, and what the name holds.
struct Deed {
    const char* title;
    std::function<void(const Storage&, const std::string& kept)> act;
    RecoveryOutcome outcome;
    std::optional<std::string> content;
};

void put_other(const Storage& storage) {
    storage.directory().write("other", kOther);
    std::filesystem::rename(storage.directory() / "other", storage.archive());
}

const std::vector<Deed>& deeds() {
    static const std::vector<Deed> all{
        {"nothing", [](const Storage&, const std::string&) {}, RecoveryOutcome::published, kNew},
        {"pruned", [](const Storage& storage, const std::string&) { ::unlink(storage.archive().c_str()); },
         RecoveryOutcome::vanished, std::nullopt},
        {"replaced", [](const Storage& storage, const std::string&) { put_other(storage); },
         RecoveryOutcome::changed, kOther},
        {"written to",
         [](const Storage& storage, const std::string&) {
             if (storage.content()) storage.directory().append(kName, "!");
         },
         RecoveryOutcome::changed, kNew + "!"},
        {"the kept file is gone", [](const Storage&, const std::string& kept) { ::unlink(kept.c_str()); },
         RecoveryOutcome::published, kNew},
    };
    return all;
}

/// A replacement that went well, with the original kept.
struct KeptOriginal {
    Storage storage;
    publish::RecoveryRecord record;

    explicit KeptOriginal(const Abilities& abilities) {
        support::FaultFileSystem fs;
        REQUIRE(replace(abilities, fs, storage, [&](const publish::RecoveryRecord& latest) {
                    record = latest;
                }) == publish::PublishOutcome::grace_period);
        REQUIRE(record.phase == publish::RecoveryRecord::Phase::grace_period);
    }
    [[nodiscard]] std::string kept() const {
        const auto& directory = storage.directory();
        return directory / (directory.has(record.temporary) ? record.temporary : record.old);
    }
};

template <typename Check>
void for_all_ways(Check check) {
    for (const auto& abilities : all_abilities()) {
        if (!abilities.keeps_original()) continue;
        CAPTURE(abilities.title);
        check(abilities);
    }
}

}  // namespace

TEST_CASE("what became of the archive while the old file was kept stays so") {
    for_all_ways([](const Abilities& abilities) {
        for (const auto& deed : deeds()) {
            CAPTURE(deed.title);
            const KeptOriginal original(abilities);
            deed.act(original.storage, original.kept());
            io::FileSystem fs;
            for (int i = 0; i < 2; ++i) {  // and once more, as after a crash
                CHECK(recover(fs, original.storage, original.record) == deed.outcome);
                CHECK(original.storage.content() == deed.content);
                CHECK(original.storage.is_clean());
            }
        }
    });
}

TEST_CASE("what becomes of the archive at any call of the removal stays so") {
    for_all_ways([](const Abilities& abilities) {
        for (const auto& deed : deeds()) {
            bool done = true;
            for (unsigned n = 1; done; ++n) {
                CAPTURE(deed.title);
                CAPTURE(n);
                const KeptOriginal original(abilities);
                support::FaultFileSystem fs;
                done = false;
                fs.before = [&](const support::Call& call) {
                    if (call.number != n) return;
                    done = true;
                    deed.act(original.storage, original.kept());
                };
                const auto outcome = recover(fs, original.storage, original.record);
                if (!done) break;
                CHECK((outcome == deed.outcome || outcome == RecoveryOutcome::published));
                CHECK(original.storage.content() == deed.content);
                CHECK(original.storage.is_clean());
            }
        }
    });
}

TEST_CASE("when any call of the removal fails, the archive is whole, and the next try ends it") {
    for_all_ways([](const Abilities& abilities) {
        for (const int error : {EIO, EACCES, ENOENT, ESTALE}) {
            for (const bool was_done : {false, true}) {
                bool failed = true;
                for (unsigned n = 1; failed; ++n) {
                    CAPTURE(error);
                    CAPTURE(was_done);
                    CAPTURE(n);
                    const KeptOriginal original(abilities);
                    support::FaultFileSystem fs;
                    failed = false;
                    (was_done ? fs.after : fs.before) = [&](const support::Call& call) {
                        if (call.number != n) return;
                        failed = true;
                        support::FaultFileSystem::fail(error, call);
                    };
                    try {
                        const auto outcome = recover(fs, original.storage, original.record);
                        CHECK(outcome == RecoveryOutcome::published);
                    } catch (const base::Error&) {
                    }
                    CHECK(original.storage.content() == kNew);
                    io::FileSystem healthy;
                    CHECK(recover(healthy, original.storage, original.record) == RecoveryOutcome::published);
                    CHECK(original.storage.content() == kNew);
                    CHECK(original.storage.is_clean());
                }
            }
        }
    });
}

TEST_CASE("the old file, put back by hand, is not removed again") {
    for_all_ways([](const Abilities& abilities) {
        for (const bool is_link : {false, true}) {
            CAPTURE(is_link);
            const KeptOriginal original(abilities);
            const auto& archive = original.storage.archive();
            if (is_link) {
                std::filesystem::remove(archive);
                std::filesystem::create_hard_link(original.kept(), archive);
            } else {
                std::filesystem::rename(original.kept(), archive);
            }
            io::FileSystem fs;
            CHECK(recover(fs, original.storage, original.record) == RecoveryOutcome::not_published);
            CHECK(original.storage.content() == kOld);
            CHECK(original.storage.is_clean());
        }
    });
}

TEST_CASE("what is not the old file any more stays by its name, and is warned of") {
    for_all_ways([](const Abilities& abilities) {
        for (const bool is_ours : {false, true}) {
            CAPTURE(is_ours);
            const KeptOriginal original(abilities);
            const auto kept = original.kept();
            if (is_ours)
                std::filesystem::rename(original.storage.archive(), kept);
            else
                original.storage.directory().append(std::filesystem::path(kept).filename(), "!");
            io::FileSystem fs;
            const auto directory = original.storage.open(fs);
            const auto result = publish::recover(fs, directory, original.record);
            CHECK(result.warning.find(kept) != std::string::npos);
            CHECK(std::filesystem::exists(kept));
            CHECK(original.storage.content() == (is_ours ? std::nullopt : std::optional(kNew)));
        }
    });
}
