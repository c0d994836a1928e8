#include "pve/backup_jobs.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace vmad::pve {
namespace {

using Jobs = std::vector<BackupJob>;

Jobs parse(const std::string& text) { return backup_jobs_with_script(text, "jobs.cfg", "node1").jobs; }

TEST_CASE("jobs with a script, and whether they run here") {
    const struct {
        const char* properties;
        Jobs jobs;
    } cases[] = {
        {"", {}},
        {"\tall 1\n\tenabled 1\n", {}},
        {"\tscript /x\n", {{"a", "/x", true}}},
        {"\tscript /x y\n\tschedule sun 01:00\n", {{"a", "/x y", true}}},
        {"\tscript\n", {}},
        {"\tscript /x\n\tenabled\n", {{"a", "/x", true}}},
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

TEST_CASE("what makes no sense is a warning, and the other jobs remain") {
    const auto [jobs, warnings] = backup_jobs_with_script(
        "vzdump: a\n\tenabled perhaps\n\tscript\nscript /x\n\nvzdump: b\n\tscript /b\n\nrealm-sync: "
        "r\n\tenabled perhaps\n",
        "jobs.cfg", "node1");
    CHECK(jobs == Jobs{{"b", "/b", true}});
    CHECK(warnings ==
          std::vector<std::string>{
              "jobs.cfg:2: ignored \"enabled\" of \"a\": \"perhaps\" is neither 1 nor 0",
              "jobs.cfg:3: ignored \"script\" of \"a\": it has no value",
              "jobs.cfg:4: ignored \"script /x\", which is not indented; an empty line ends section \"a\""});
}

}  // namespace
}  // namespace vmad::pve
