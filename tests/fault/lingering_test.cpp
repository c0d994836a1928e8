// The old file was kept for a while. Whatever became of the archive meanwhile, and becomes of it while the
// old file is removed, stays so; nothing comes back; and no call that fails stops that for good.
#include <unistd.h>

#include <cerrno>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "replacement.hpp"

using namespace vmad;
using namespace vmad::fault;
using publish::Settlement;

namespace {

const std::string kOther = "another archive";

/// What somebody does to the archive, the name of the kept file, how settling ends, and what the name holds.
struct Deed {
    const char* title;
    std::function<void(const Storage&, const std::string& kept)> act;
    Settlement settlement;
    std::optional<std::string> content;
};

void put_other(const Storage& storage) {
    storage.directory().write("other", kOther);
    std::filesystem::rename(storage.directory() / "other", storage.archive());
}

const std::vector<Deed>& deeds() {
    static const std::vector<Deed> all{
        {"nothing", [](const Storage&, const std::string&) {}, Settlement::published, kNew},
        {"pruned", [](const Storage& storage, const std::string&) { ::unlink(storage.archive().c_str()); },
         Settlement::vanished, std::nullopt},
        {"replaced", [](const Storage& storage, const std::string&) { put_other(storage); },
         Settlement::changed, kOther},
        {"written to",
         [](const Storage& storage, const std::string&) {
             if (storage.content()) storage.directory().append(kName, "!");
         },
         Settlement::changed, kNew + "!"},
        {"the kept file is gone", [](const Storage&, const std::string& kept) { ::unlink(kept.c_str()); },
         Settlement::published, kNew},
    };
    return all;
}

/// A replacement that went well, and lingers.
struct Lingering {
    Storage storage;
    publish::Publication record;

    explicit Lingering(const Abilities& abilities) {
        support::FaultFileSystem fs;
        REQUIRE(replace(abilities, fs, storage, [&](const publish::Publication& latest) {
                    record = latest;
                }) == Settlement::lingering);
        REQUIRE(record.phase == publish::Publication::Phase::lingering);
    }
    [[nodiscard]] std::string kept() const {
        const auto& directory = storage.directory();
        return directory / (directory.has(record.temporary) ? record.temporary : record.old);
    }
};

template <typename Check>
void for_all_ways(Check check) {
    for (const auto& abilities : all_abilities()) {
        if (!abilities.lingers()) continue;
        CAPTURE(abilities.title);
        check(abilities);
    }
}

}  // namespace

TEST_CASE("what became of the archive while the old file was kept stays so") {
    for_all_ways([](const Abilities& abilities) {
        for (const auto& deed : deeds()) {
            CAPTURE(deed.title);
            const Lingering lingering(abilities);
            deed.act(lingering.storage, lingering.kept());
            io::FileSystem fs;
            for (int i = 0; i < 2; ++i) {  // and once more, as after a crash
                CHECK(settle(fs, lingering.storage, lingering.record) == deed.settlement);
                CHECK(lingering.storage.content() == deed.content);
                CHECK(lingering.storage.is_clean());
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
                const Lingering lingering(abilities);
                support::FaultFileSystem fs;
                done = false;
                fs.before = [&](const support::Call& call) {
                    if (call.number != n) return;
                    done = true;
                    deed.act(lingering.storage, lingering.kept());
                };
                const auto settlement = settle(fs, lingering.storage, lingering.record);
                if (!done) break;
                CHECK((settlement == deed.settlement || settlement == Settlement::published));
                CHECK(lingering.storage.content() == deed.content);
                CHECK(lingering.storage.is_clean());
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
                    const Lingering lingering(abilities);
                    support::FaultFileSystem fs;
                    failed = false;
                    (was_done ? fs.after : fs.before) = [&](const support::Call& call) {
                        if (call.number != n) return;
                        failed = true;
                        support::FaultFileSystem::fail(error, call);
                    };
                    try {
                        const auto settlement = settle(fs, lingering.storage, lingering.record);
                        CHECK(settlement == Settlement::published);
                    } catch (const base::Error&) {
                    }
                    CHECK(lingering.storage.content() == kNew);
                    io::FileSystem healthy;
                    CHECK(settle(healthy, lingering.storage, lingering.record) == Settlement::published);
                    CHECK(lingering.storage.content() == kNew);
                    CHECK(lingering.storage.is_clean());
                }
            }
        }
    });
}

TEST_CASE("the old file, put back by hand, is not removed again") {
    for_all_ways([](const Abilities& abilities) {
        for (const bool is_link : {false, true}) {
            CAPTURE(is_link);
            const Lingering lingering(abilities);
            const auto& archive = lingering.storage.archive();
            if (is_link) {
                std::filesystem::remove(archive);
                std::filesystem::create_hard_link(lingering.kept(), archive);
            } else {
                std::filesystem::rename(lingering.kept(), archive);
            }
            io::FileSystem fs;
            CHECK(settle(fs, lingering.storage, lingering.record) == Settlement::not_published);
            CHECK(lingering.storage.content() == kOld);
            CHECK(lingering.storage.is_clean());
        }
    });
}

TEST_CASE("what is not the old file any more stays by its name, and is an error") {
    for_all_ways([](const Abilities& abilities) {
        for (const bool is_ours : {false, true}) {
            CAPTURE(is_ours);
            const Lingering lingering(abilities);
            const auto kept = lingering.kept();
            if (is_ours)
                std::filesystem::rename(lingering.storage.archive(), kept);
            else
                lingering.storage.directory().append(std::filesystem::path(kept).filename(), "!");
            io::FileSystem fs;
            CHECK_THROWS_AS((void)settle(fs, lingering.storage, lingering.record), base::Error);
            CHECK(std::filesystem::exists(kept));
            CHECK(lingering.storage.content() == (is_ours ? std::nullopt : std::optional(kNew)));
        }
    });
}
