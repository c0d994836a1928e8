#include <algorithm>

#include <doctest/doctest.h>

#include "ctl/failure.hpp"

using namespace vmad::ctl;

TEST_CASE("of several results the worst is kept, in any order") {
    using enum ExitCode;
    const ExitCode by_rank[] = {done, busy, failed, invalid};
    for (int a = 0; a < 4; ++a)
        for (int b = 0; b < 4; ++b) CHECK(worse(by_rank[a], by_rank[b]) == by_rank[std::max(a, b)]);
    CHECK(worse(done, usage) == usage);
    CHECK(worse(no_such_job, busy) == no_such_job);
    CHECK(worse(usage, invalid) == invalid);
}
