// What is said of a copy that was refused room, and when it is worth another attempt.
#include "worker/space_refusal.hpp"

#include <doctest/doctest.h>

#include "support/pretended_mount.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;

namespace {

constexpr std::uint64_t kMiB = 1 << 20;

}  // namespace

TEST_CASE("what is missing is named, and how it can be that all of it was shown as free") {
    struct Row {
        std::optional<std::uint64_t> free_bytes;
        std::uint64_t written_bytes, size_bytes;
        const char* reason;
    };
    const Row rows[] = {
        // The rest of the copy is missing.
        {30 * kMiB, 30 * kMiB, 100 * kMiB,
         "full after 30 MiB; the next attempt waits until 70 MiB more are free there, at most a day"},
        {std::nullopt, 30 * kMiB, 100 * kMiB,
         "full after 30 MiB; the next attempt waits until 70 MiB more are free there, at most a day"},
        // Never less than a 20th.
        {99 * kMiB, 99 * kMiB, 100 * kMiB - 20,
         "full after 99 MiB; the next attempt waits until 5.0 MiB more are free there, at most a day"},
        {300 * kMiB, 30 * kMiB, 100 * kMiB,
         "full after 30 MiB, although 270 MiB are shown as free: they cannot be used, because of a quota or "
         "of "
         "one full disk of a pool; the next attempt waits until 70 MiB more are free there, at most a day"},
        // Longer than the archive.
        {500 * kMiB, 200 * kMiB, 100 * kMiB - 20,
         "full after 200 MiB, although 300 MiB are shown as free: they cannot be used, because of a quota or "
         "of "
         "one full disk of a pool; the next attempt waits until 5.0 MiB more are free there, at most a day"},
    };
    for (const auto& row : rows)
        CHECK(worker::reason_of(
                  {.directory = "/d", .free_bytes = row.free_bytes, .written_bytes = row.written_bytes},
                  row.size_bytes, "full") == row.reason);
}

TEST_CASE("law: an attempt is made when what was missing has become free, and not for one byte less") {
    const support::TemporaryDirectory directory;
    support::PretendedMount fs;
    std::uint64_t free_bytes = 0;
    fs.shown_free_bytes = [&] { return free_bytes; };
    api::Job job;
    job.space_refusal.emplace();
    job.space_refusal->directory = directory.path();
    job.space_refusal->written_bytes = 30 * kMiB;
    job.space_refusal->try_again_at = 1000;
    const auto is_tried = [&](std::int64_t now, std::uint64_t size_bytes) {
        try {
            worker::require_other_space(fs, job, size_bytes, now);
            return true;
        } catch (const io::NoSpace& error) {
            CHECK(error.directory() == directory.path());
            return false;
        }
    };
    // Where no room is shown, only time helps.
    CHECK_FALSE(is_tried(999, 100 * kMiB));
    CHECK(is_tried(1000, 100 * kMiB));
    CHECK(is_tried(999, 30 * kMiB - 1));  // as much was written before
    job.space_refusal->free_bytes = 10 * kMiB;
    free_bytes = 80 * kMiB - 1;
    CHECK_FALSE(is_tried(999, 100 * kMiB));
    free_bytes = 80 * kMiB;
    CHECK(is_tried(999, 100 * kMiB));
    job.space_refusal.reset();
    free_bytes = 0;
    CHECK(is_tried(0, 100 * kMiB));
}

TEST_CASE("what was given back with a copy counts as having been free, as far as it is known") {
    const support::TemporaryDirectory directory;
    support::PretendedMount fs;
    fs.shown_free_bytes = [] { return 9 * kMiB; };
    const auto after = [&](std::optional<std::uint64_t> free_bytes, const std::string& where) {
        api::SpaceRefusal refusal{.directory = where, .free_bytes = free_bytes};
        worker::add_freed_space(fs, refusal);
        return refusal.free_bytes;
    };
    CHECK(after(4 * kMiB, directory.path()) == 9 * kMiB);
    CHECK(after(40 * kMiB, directory.path()) == 40 * kMiB);
    CHECK(after(std::nullopt, directory.path()) == std::nullopt);
    CHECK(after(4 * kMiB, directory / "gone") == 4 * kMiB);
}
