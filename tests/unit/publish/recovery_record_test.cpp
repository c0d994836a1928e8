#include "publish/recovery_record.hpp"

#include <functional>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/temporary_name.hpp"

using namespace vmad;
using namespace vmad::publish;
using nlohmann::json;

namespace {

FileIdentity some_identity() { return {64512, {1234, 5'000'000'000, 1'700'000'000'123'456'789}, 42}; }

json good() {
    auto record = new_recovery_record("vzdump-qemu-100.vma.zst", some_identity());
    record.phase = RecoveryRecord::Phase::publishing;
    record.replacement = {1235, 4'000'000'000, -5};
    record.temporary = ".vmad-0123456789abcdef.tmp";
    record.old = ".vmad-0123456789abcdef.old";
    return record;
}

std::string refusal(const json& in) {
    try {
        (void)in.get<RecoveryRecord>();
    } catch (const vmad::base::Error& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a record keeps everything on its way through JSON") {
    using enum RecoveryRecord::Phase;
    for (const auto phase : {preparing, publishing, renaming, grace_period}) {
        auto record = new_recovery_record("a b\n.vma", some_identity());
        record.access = {0100640, 33, UINT32_MAX};
        record.replacement = {UINT64_MAX, UINT64_MAX, INT64_MIN};
        record.phase = phase;
        CHECK(json::parse(json(record).dump()).get<RecoveryRecord>() == record);
    }
    const auto fresh = new_recovery_record("x", some_identity());
    CHECK(json(fresh).get<RecoveryRecord>() == fresh);
    auto by_content = new_recovery_record("x", {1, {0, 2, 3, UINT64_MAX}, 4});
    CHECK(by_content.marked_by() == MarkBy::content);
    CHECK(json(by_content).get<RecoveryRecord>() == by_content);
    by_content.replacement = {0, 2, 3, 5};
    by_content.phase = publishing;
    CHECK(json(by_content).get<RecoveryRecord>() == by_content);
}

TEST_CASE("new records have names of their own, with the same digits") {
    const auto a = new_recovery_record("x", some_identity());
    const auto b = new_recovery_record("x", some_identity());
    CHECK(a.temporary != b.temporary);
    CHECK(a.temporary.size() == 26);
    CHECK(a.temporary.substr(0, 22) == a.old.substr(0, 22));
    CHECK(io::is_reserved_name(a.temporary));
    CHECK(io::is_reserved_name(a.old));
    CHECK_FALSE(io::is_reserved_name("vzdump-qemu-100.vma"));
}

TEST_CASE("a damaged or hostile record is refused with the field that is wrong") {
    struct Row {
        const char* defect;
        std::function<void(json&)> damage;
        const char* message;
    };
    const Row rows[] = {
        {"no name", [](json& j) { j.erase("name"); }, "name is missing"},
        {"unknown field", [](json& j) { j["directory"] = "/"; }, "directory is unknown"},
        {"name is a number", [](json& j) { j["name"] = 7; }, "name is not a string"},
        {"empty name", [](json& j) { j["name"] = ""; }, "name is not the name of a file in a directory"},
        {"dot", [](json& j) { j["name"] = "."; }, "name is not the name of a file in a directory"},
        {"dot dot", [](json& j) { j["name"] = ".."; }, "name is not the name of a file in a directory"},
        {"path", [](json& j) { j["name"] = "../x"; }, "name is not the name of a file in a directory"},
        {"NUL", [](json& j) { j["name"] = std::string("a\0b", 3); },
         "name is not the name of a file in a directory"},
        {"too long", [](json& j) { j["name"] = std::string(256, 'a'); },
         "name is not the name of a file in a directory"},
        {"name of ours", [](json& j) { j["name"] = ".vmad-0123456789abcdef.old"; },
         "name is that of a temporary file"},
        {"another file", [](json& j) { j["temporary"] = "passwd"; },
         "temporary is not of the form \".vmad-<16 hex digits>.tmp\""},
        {"slash in temporary", [](json& j) { j["temporary"] = ".vmad-0123456789abc/ef.tmp"; },
         "temporary is not of the form \".vmad-<16 hex digits>.tmp\""},
        {"capital digits", [](json& j) { j["temporary"] = ".vmad-0123456789ABCDEF.tmp"; },
         "temporary is not of the form \".vmad-<16 hex digits>.tmp\""},
        {"a digit short", [](json& j) { j["temporary"] = ".vmad-0123456789abcde.tmp"; },
         "temporary is not of the form \".vmad-<16 hex digits>.tmp\""},
        {"NUL after temporary",
         [](json& j) { j["temporary"] = std::string(".vmad-0123456789abcdef.tmp\0", 27); },
         "temporary is not of the form \".vmad-<16 hex digits>.tmp\""},
        {"swapped suffix", [](json& j) { j["old"] = ".vmad-0123456789abcdef.tmp"; },
         "old is not of the form \".vmad-<16 hex digits>.old\""},
        {"other digits", [](json& j) { j["old"] = ".vmad-1123456789abcdef.old"; },
         "old has other digits than temporary"},
        {"unknown phase", [](json& j) { j["phase"] = "done"; }, "phase 'done' is unknown"},
        {"original is a string", [](json& j) { j["original"] = "x"; }, "original is not an object"},
        {"no changed", [](json& j) { j["original"].erase("changed"); }, "original: changed is missing"},
        {"negative inode", [](json& j) { j["original"]["inode"] = -1; },
         "original: inode is not an integer from 0"},
        {"inode with a fraction", [](json& j) { j["original"]["inode"] = 1.5; },
         "original: inode is not an integer from 0"},
        {"size is a string", [](json& j) { j["original"]["size"] = "1"; },
         "original: size is not an integer from 0"},
        {"time out of range", [](json& j) { j["original"]["modified"] = UINT64_MAX; },
         "original: modified is out of range"},
        {"time with a fraction", [](json& j) { j["replacement"]["modified"] = 1.5; },
         "replacement: modified is not an integer"},
        {"original without inode", [](json& j) { j["original"]["inode"] = 0; },
         "original is not told either by inode or by content"},
        {"original by both", [](json& j) { j["original"]["content"] = 1; },
         "original is not told either by inode or by content"},
        {"replacement by content", [](json& j) { j["replacement"]["content"] = 1; },
         "replacement is not told by the same as the original"},
        {"only the original by content",
         [](json& j) {
             j["original"]["inode"] = 0;
             j["original"]["content"] = 1;
         },
         "replacement is not told by the same as the original"},
        {"replacement without content",
         [](json& j) {
             j["original"]["inode"] = j["replacement"]["inode"] = 0;
             j["original"]["content"] = 1;
         },
         "replacement has no content"},
        {"replaced by itself, by content",
         [](json& j) {
             for (const auto* file : {"original", "replacement"})
                 j[file].update({{"inode", 0}, {"size", 7}, {"modified", 8}, {"content", 9}});
         },
         "replacement is the original"},
        {"replacement without inode", [](json& j) { j["replacement"]["inode"] = 0; },
         "replacement has no inode"},
        {"no owner", [](json& j) { j["access"].erase("owner"); }, "access: owner is missing"},
        {"unknown in replacement", [](json& j) { j["replacement"]["device"] = 0; },
         "replacement: device is unknown"},
        {"replaced by itself", [](json& j) { j["replacement"]["inode"] = j["original"]["inode"]; },
         "replacement is the original"},
    };
    CHECK(refusal(json::array()) == "recovery record is not an object");
    REQUIRE(refusal(good()).empty());
    for (const auto& row : rows) {
        CAPTURE(row.defect);
        json record = good();
        row.damage(record);
        CHECK(refusal(record) == std::string("recovery record: ") + row.message);
    }
}
