#include "support/damage.hpp"

#include <set>
#include <string>

#include <doctest/doctest.h>

#include "support/archive_index.hpp"

using namespace vmad::testing;

TEST_CASE("the archive that all damage starts from is valid") {
    const Bytes archive = undamaged_archive();
    const ArchiveIndex index(archive);
    CHECK(index.configs.size() == 2);
    CHECK(index.devices.size() == 3);
    CHECK(index.clusters.size() == 141);
}

TEST_CASE("every damaged archive is refused, and where it is damaged") {
    for (const auto& damage : damages()) {
        CAPTURE(damage.id);
        const DamagedArchive archive = damage.build();
        bool refused = false;
        try {
            const ArchiveIndex index(archive.bytes);
        } catch (const Refused& refusal) {
            refused = true;
            CHECK(refusal.offset() == archive.offset);
        }
        CHECK(refused);
    }
}

TEST_CASE("ids are unique and find their damage") {
    std::set<std::string> ids;
    for (const auto& damage : damages()) {
        CHECK(ids.insert(damage.id).second);
        CHECK(&damage_named(damage.id) == &damage);
    }
    CHECK(ids.size() >= 100);
    CHECK_THROWS_AS((void)damage_named("none"), std::out_of_range);
}

TEST_CASE("damage is the same at every build") {
    for (const auto& damage : damages()) {
        CAPTURE(damage.id);
        CHECK(damage.build().bytes == damage.build().bytes);
    }
}
