#include "base/error.hpp"

#include <cerrno>

#include <doctest/doctest.h>

using namespace vmad;

TEST_CASE("a finding in an archive has a rule, and an offset only where there is a place") {
    const base::FormatError placed(4096, "extent-md5", "the MD5 sum is wrong");
    CHECK(placed.rule() == "extent-md5");
    CHECK(placed.offset() == 4096);
    CHECK(std::string(placed.what()) == "at byte 4096: the MD5 sum is wrong");

    const base::InvalidArchive whole("content-digest", "the content digest differs");
    CHECK(whole.rule() == "content-digest");
    CHECK(std::string(whole.what()) == "the content digest differs");
}

TEST_CASE("a system error keeps errno, and says operation, path and reason") {
    errno = EACCES;
    try {
        base::throw_errno("open", "/a/b");
    } catch (const base::SystemError& error) {
        CHECK(error.number() == EACCES);
        CHECK(std::string(error.what()) == "open /a/b: Permission denied");
    }
}
