// Every damaged archive is refused with one exact message.
#include <map>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/damage.hpp"
#include "support/memory_file.hpp"
#include "vma/archive_reader.hpp"

using namespace vmad;

namespace {

/// Reads to the end; the message of what was thrown, empty when the archive is valid.
std::string refusal_of(const testing::Bytes& archive, bool& unsupported) {
    try {
        testing::MemorySource source(archive);
        base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, 0);
        vma::ArchiveReader reader(source, buffers);
        for (vma::Extent extent; reader.next(extent);) {
        }
    } catch (const base::FormatError& error) {
        return error.what();
    } catch (const base::Unsupported& error) {
        unsupported = true;
        return error.what();
    }
    return "";
}

const std::map<std::string, std::string> kMessages = {
#include "damage_messages.inc"
};

}  // namespace

TEST_CASE("each kind of damage has its own message") {
    for (const auto& damage : testing::damages()) {
        CAPTURE(damage.id);
        bool unsupported = false;
        const auto message = refusal_of(damage.build().bytes, unsupported);
        CHECK(unsupported == damage.unsupported);
        const auto expected = kMessages.find(damage.id);
        if (expected == kMessages.end()) {
            MESSAGE("no message is known for ", damage.id, ": ", message);
            CHECK(false);
            continue;
        }
        CHECK(message == expected->second);
    }
    CHECK(kMessages.size() == testing::damages().size());
}

TEST_CASE("the archive that they are made from is valid") {
    bool unsupported = false;
    CHECK(refusal_of(testing::undamaged_archive(), unsupported).empty());
}
