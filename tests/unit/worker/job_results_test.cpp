// What each kind of failure means for a job.
#include "worker/job_results.hpp"

#include <cerrno>
#include <exception>
#include <new>
#include <system_error>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "publish/archive_target.hpp"
#include "repack/in_place.hpp"
#include "support/run_outcome.hpp"
#include "verify/source_check.hpp"

using namespace vmad;
using support::Outcome;
using support::outcome_of;
namespace outcome = support::outcome;

namespace {

const std::string kVersion = "7-8-9";  ///< of the file that was read

template <typename Failure>
api::WorkerResult result_of(const Failure& failure) {
    try {
        throw failure;
    } catch (...) {
        return worker::result_of_failure(kVersion);
    }
}

/// Everything that a result says of a failure.
struct Said {
    Outcome ending;
    std::string reason;
    std::string refused_file{};
    std::string warning{};
    bool damaged = false;
    friend bool operator==(const Said&, const Said&) = default;
};

template <typename Failure>
Said said_of(const Failure& failure) {
    const auto result = result_of(failure);
    return {outcome_of(result), result.reason, result.refused_file, result.warning, result.damaged};
}

}  // namespace

TEST_CASE("each kind of failure has one meaning for the job") {
    CHECK(said_of(base::Cancelled()) == Said{outcome::stopped, ""});
    CHECK(said_of(io::NoSpace("the disk is full")) == Said{outcome::no_space, "the disk is full"});
    CHECK(said_of(publish::StorageMissing("nothing there")) == Said{outcome::no_storage, "nothing there"});
    CHECK(said_of(verify::ReadsDiffer("two reads differ")) ==
          Said{outcome::retry, "two reads differ", "", "In an earlier attempt, two reads differ"});
    CHECK(said_of(base::Unsupported("holds the RAM")) == Said{outcome::failed, "holds the RAM", kVersion});
    CHECK(said_of(base::Error("no such option")) == Said{outcome::failed, "no such option"});
    CHECK(said_of(std::bad_alloc()) == Said{outcome::retry, "out of memory"});
    const std::system_error thread(std::make_error_code(std::errc::resource_unavailable_try_again));
    CHECK(said_of(thread) == Said{outcome::retry, "cannot start a thread: Resource temporarily unavailable"});
    const base::FormatError damage(12, "extent-md5", "the checksum is wrong");
    CHECK(said_of(damage) == Said{outcome::failed, damage.verdict(), kVersion, "", true});

    // The version of the file that stands in the way may be another than was read.
    const publish::FileIdentity file{.mark = {.size_bytes = 1, .modified_ns = 2}, .changed_ns = 3};
    CHECK(said_of(publish::Irreplaceable(file, "has two names")) ==
          Said{outcome::failed, "has two names", publish::file_version(file)});
}

TEST_CASE("a copy that was refused room says where, and how much of it there was") {
    const io::NoSpace full("write a.vma: No space left on device", ENOSPC, "/dump");
    const auto result = result_of(repack::NoSpaceForCopy(full, 5000, 3000, 90'000));
    CHECK(outcome_of(result) == outcome::no_space);
    REQUIRE(result.space_refusal);
    CHECK(*result.space_refusal ==
          api::SpaceRefusal{.directory = "/dump", .free_bytes = 5000, .written_bytes = 3000});
    CHECK(result.reason.starts_with(full.what()));
}

TEST_CASE("errors of the storage, or of a moment, are tried again, and no others") {
    for (int number = 1; number < 134; ++number) {
        CAPTURE(number);
        bool passes = false;
        for (const int transient :
             {EIO, ESTALE, ETIMEDOUT, EAGAIN, ENOMEM, EMFILE, ENFILE, EBUSY, ENOLCK, EROFS, ECONNRESET,
              ECONNREFUSED, EHOSTDOWN, ENOTCONN, EHOSTUNREACH, ENETUNREACH, EREMOTEIO, EINTR})
            passes = passes || number == transient;
        const base::SystemError error(number, "read", "a.vma");
        CHECK(said_of(error) == Said{passes ? outcome::retry : outcome::failed, error.what()});
    }
}

TEST_CASE("what is no failure of a job is passed on") {
    struct Foreign {};
    CHECK_THROWS_AS((void)result_of(Foreign()), Foreign);
}
