// Every damaged archive is refused for one rule, at one place.
#include <map>
#include <optional>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/damage.hpp"
#include "support/memory_file.hpp"
#include "vma/archive_reader.hpp"

using namespace vmad;

namespace {

struct Refusal {
    std::string rule;  ///< none for what is unsupported
    std::string message;
};

/// Reads to the end; what was thrown, and where. Empty when the archive is valid.
Refusal refusal_of(const testing::Bytes& archive, std::optional<std::uint64_t>& offset) {
    try {
        testing::MemorySource source(archive);
        base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, 0);
        vma::ArchiveReader reader(source, buffers);
        for (vma::Extent extent; reader.next(extent);) {
        }
    } catch (const base::FormatError& error) {
        offset = error.offset();
        return {error.rule(), error.what()};
    } catch (const base::Unsupported& error) {
        return {"", error.what()};
    }
    return {};
}

/// By the id of the damage. The one table of the sentences: other tests go by rules and offsets.
const std::map<std::string, Refusal> kRefusals = {
#include "damage_messages.inc"
};

}  // namespace

TEST_CASE("each kind of damage breaks one rule at one place") {
    for (const auto& damage : testing::damages()) {
        CAPTURE(damage.id);
        const auto damaged = damage.build();
        std::optional<std::uint64_t> offset;
        const auto refusal = refusal_of(damaged.bytes, offset);
        const auto expected = kRefusals.find(damage.id);
        REQUIRE_MESSAGE(expected != kRefusals.end(), refusal.rule, ": ", refusal.message);
        CHECK(damage.unsupported == !offset);
        if (offset) CHECK(*offset == damaged.offset);
        CHECK(refusal.rule == expected->second.rule);
        CHECK(refusal.message == expected->second.message);
    }
    CHECK(kRefusals.size() == testing::damages().size());
}

TEST_CASE("the archive that they are made from is valid") {
    std::optional<std::uint64_t> offset;
    CHECK(refusal_of(testing::undamaged_archive(), offset).message.empty());
}
