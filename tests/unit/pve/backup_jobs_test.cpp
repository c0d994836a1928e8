#include "pve/backup_jobs.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"

namespace vmad::pve {
namespace {

using Jobs = std::vector<BackupJob>;

Jobs parse(const std::string& text) { return backup_jobs_with_script(text, "jobs.cfg", "node1"); }

TEST_CASE("jobs with a script, and whether they run here") {
    const struct {
        const char* properties;
        Jobs jobs;
    } cases[] = {
        {"", {}},
        {"\tall 1\n\tenabled 1\n", {}},
        {"\tscript /x\n", {{"a", "/x", true}}},
        {"\tscript /x y\n\tschedule sun 01:00\n", {{"a", "/x y", true}}},
        {"\tscript\n", {{"a", "", true}}},
        {"\tscript /x\n\tenabled 1\n", {{"a", "/x", true}}},
        {"\tenabled 0\n\tscript /x\n", {{"a", "/x", false}}},
        {"\tenabled No\n\tscript /x\n", {{"a", "/x", false}}},
        {"\tenabled perhaps\n\tscript /x\n", {{"a", "/x", true}}},
        {"\tscript /x\n\tnode node1\n", {{"a", "/x", true}}},
        {"\tscript /x\n\tnode node2\n", {{"a", "/x", false}}},
        {"\tscript /x\n\tnode node11\n\tenabled 1\n", {{"a", "/x", false}}},
    };
    for (const auto& [properties, jobs] : cases) {
        CAPTURE(properties);
        CHECK(parse(std::string("vzdump: a\n") + properties) == jobs);
    }
}

TEST_CASE("only jobs of vzdump count, in the order of the file") {
    CHECK(parse("").empty());
    CHECK(parse("realm-sync: r\n\tscript /x\n\nvzdump: b\n\tscript /b\n\n# c\nVZDUMP: a\n\tscript /a\n") ==
          Jobs{{"b", "/b", true}, {"a", "/a", true}});
}

TEST_CASE("a damaged file is named by its line") {
    CHECK_THROWS_WITH_AS(
        (void)parse("vzdump: a\nscript /x\n"),
        "jobs.cfg:2: \"script /x\" is not indented, so it is not a property of \"a\"; an empty "
        "line ends a section",
        base::Error);
}

}  // namespace
}  // namespace vmad::pve
