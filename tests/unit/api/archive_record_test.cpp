#include "api/archive_record.hpp"

#include <doctest/doctest.h>

using namespace vmad::api;

TEST_CASE("an archive is overdue half a period after the one in which it should have been read") {
    constexpr std::int64_t kDay = 86400;
    constexpr std::int64_t kNow = 10'000 * kDay;
    struct Row {
        std::optional<std::int64_t> every_days;
        std::optional<std::int64_t> verified_days_ago;
        std::optional<std::int64_t> looked_at_days_ago;
        std::int64_t modified_days_ago;
        bool overdue;
    };
    const Row rows[] = {
        {30, 44, {}, 100, false}, {30, 45, {}, 100, true},     {30, {}, 1, 100, true},
        {30, 100, 1, 100, true},  {30, 44, 100, 100, false},   {30, {}, {}, 44, false},
        {30, {}, {}, 45, true},   {{}, 1000, {}, 1000, false}, {1, 1, {}, 100, false},
        {1, 2, {}, 100, true},
    };
    for (const auto& row : rows) {
        const auto ago = [&](std::optional<std::int64_t> days) -> std::optional<std::int64_t> {
            return days ? std::optional(kNow - *days * kDay) : std::nullopt;
        };
        ArchiveRecord record{.path = "/a.vma"};
        record.modified_ns = (kNow - row.modified_days_ago * kDay) * 1'000'000'000;
        record.verified_at = ago(row.verified_days_ago);
        record.looked_at = ago(row.looked_at_days_ago);
        const auto every = row.every_days ? std::optional(*row.every_days * kDay) : std::nullopt;
        CHECK(is_overdue(record, every, kNow) == row.overdue);
        record.verdict = Verdict::damaged;
        CHECK_FALSE(is_overdue(record, every, kNow));
    }
}
