// At every call somebody else removes the archive, puts another file in its place, or writes to it. What is
// gone stays gone, what is another's stays whole. The one exception is the window of the plain rename, and
// the tests say exactly how long it is.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "replacement.hpp"

using namespace vmad;
using namespace vmad::fault;
using publish::PublishOutcome;

namespace {

const std::string kOther = "another archive";
const std::string kTail = ", continued";

struct Outcome {
    PublishOutcome result;
    std::optional<std::string> content;
    bool is_unexpected = false;  ///< recovering once more warned of a file that it may not remove
};

/// The calls of a replacement that goes well, since the archive was remembered.
class Course {
  public:
    explicit Course(const Abilities& abilities);
    [[nodiscard]] unsigned size() const { return static_cast<unsigned>(calls_.size()); }
    /// Counted from 1, as Call::number.
    [[nodiscard]] const std::string& operation(unsigned n) const { return calls_[n - 1]; }
    [[nodiscard]] unsigned first(const std::string& operation) const {
        return static_cast<unsigned>(std::find(calls_.begin(), calls_.end(), operation) - calls_.begin()) + 1;
    }
    /// On the archive's own name.
    [[nodiscard]] unsigned last(const std::string& operation) const {
        const auto is_it = [&](unsigned n) { return calls_[n - 1] == operation && on_archive_[n - 1]; };
        auto n = size();
        while (n > 0 && !is_it(n)) --n;
        return n;
    }
    [[nodiscard]] unsigned swap() const { return swap_; }
    /// From here on nobody looks at the archive any more: it was published, whatever becomes of it then.
    [[nodiscard]] bool is_over(unsigned n) const { return n > last("open_at"); }
    /// The window of the plain rename for whoever removes or replaces the archive: after the second look has
    /// opened it, so before the stat of the look or before the rename.
    [[nodiscard]] bool in_window(unsigned n) const { return is_rename_ && (n == swap_ || n == swap_ - 1); }

  private:
    std::vector<std::string> calls_;
    std::vector<bool> on_archive_;
    bool is_rename_;
    unsigned swap_ = 0;
};

Course::Course(const Abilities& abilities) : is_rename_(!abilities.exchange) {
    const Storage storage;
    support::FaultFileSystem fs;
    fs.before = [&](const support::Call& call) {
        calls_.push_back(call.operation);
        on_archive_.push_back(call.path.ends_with(kName));
    };
    (void)replace(
        abilities, fs, storage, [](const publish::RecoveryRecord&) {},
        [&] {
            calls_.clear();
            on_archive_.clear();
        });
    swap_ = first(is_rename_ ? "rename" : "exchange");
}

/// Replaces while `interfere` happens just before the n-th call since the archive was remembered.
Outcome replace_with(const Abilities& abilities, unsigned n,
                     const std::function<void(const Storage&)>& interfere,
                     const std::function<void(const Storage&)>& prepare = {}) {
    const Storage storage;
    if (prepare) prepare(storage);
    support::FaultFileSystem fs;
    bool remembered = false;
    fs.before = [&](const support::Call& call) {
        if (remembered && call.number == n) interfere(storage);
    };
    publish::RecoveryRecord record;
    const auto result = replace(
        abilities, fs, storage, [&](const publish::RecoveryRecord& latest) { record = latest; },
        [&] {
            fs.forget_calls();
            remembered = true;
        });
    CHECK(storage.is_clean() == (result != PublishOutcome::grace_period));
    Outcome outcome{result, storage.content()};
    // Recovering once more, as after a crash that came too early for the result, changes nothing at the name.
    const auto directory = storage.open(fs);
    outcome.is_unexpected = !publish::recover(fs, directory, record).warning.empty();
    CHECK(storage.content() == outcome.content);
    CHECK(storage.is_clean() == !outcome.is_unexpected);
    return outcome;
}

}  // namespace

TEST_CASE("an archive that is pruned meanwhile stays gone") {
    for (const auto& abilities : all_abilities()) {
        const Course course(abilities);
        for (unsigned n = 1; n <= course.size(); ++n) {
            CAPTURE(abilities.title);
            CAPTURE(course.operation(n));
            CAPTURE(n);
            const auto outcome = replace_with(
                abilities, n, [](const Storage& storage) { ::unlink(storage.archive().c_str()); });
            const bool unseen = course.in_window(n) || course.is_over(n);
            CHECK(outcome.result == (unseen ? abilities.success() : PublishOutcome::vanished));
            CHECK_FALSE(outcome.is_unexpected);
            if (course.in_window(n))
                CHECK(outcome.content == kNew);
            else
                CHECK_FALSE(outcome.content.has_value());
        }
    }
}

TEST_CASE("a file that is put in the archive's place meanwhile stays there") {
    for (const auto& abilities : all_abilities()) {
        const Course course(abilities);
        for (unsigned n = 1; n <= course.size(); ++n) {
            CAPTURE(abilities.title);
            CAPTURE(course.operation(n));
            CAPTURE(n);
            const auto outcome = replace_with(abilities, n, [](const Storage& storage) {
                storage.directory().write("other", kOther);
                std::filesystem::rename(storage.directory() / "other", storage.archive());
            });
            const bool unseen = course.in_window(n) || course.is_over(n);
            CHECK(outcome.result == (unseen ? abilities.success() : PublishOutcome::changed));
            CHECK_FALSE(outcome.is_unexpected);
            CHECK(outcome.content == (course.in_window(n) ? kNew : kOther));
        }
    }
}

TEST_CASE("a directory or a link that is put in the archive's place stays there") {
    for (const auto& abilities : all_abilities()) {
        const Course course(abilities);
        for (const bool is_link : {false, true}) {
            for (unsigned n = 1; n < course.swap() - 1; ++n) {
                CAPTURE(abilities.title);
                CAPTURE(course.operation(n));
                CAPTURE(is_link);
                const Storage storage;
                support::FaultFileSystem fs;
                bool remembered = false;
                fs.before = [&](const support::Call& call) {
                    if (!remembered || call.number != n) return;
                    std::filesystem::remove(storage.archive());
                    if (is_link)
                        std::filesystem::create_symlink("nowhere", storage.archive());
                    else
                        std::filesystem::create_directory(storage.archive());
                };
                std::optional<publish::RecoveryRecord> record;
                try {
                    const auto result = replace(
                        abilities, fs, storage,
                        [&](const publish::RecoveryRecord& latest) { record = latest; },
                        [&] {
                            fs.forget_calls();
                            remembered = true;
                        });
                    CHECK(result == PublishOutcome::changed);
                } catch (const base::SystemError& error) {
                    // Between the stat and the open of a look.
                    CHECK(error.number() == ELOOP);
                }
                CHECK(std::filesystem::is_symlink(storage.archive()) == is_link);
                CHECK(std::filesystem::is_directory(storage.archive()) == !is_link);
                CHECK(storage.is_clean());
            }
        }
    }
}

TEST_CASE("what is appended to the archive's name meanwhile is not lost") {
    for (const auto& abilities : all_without_leases()) {
        const Course course(abilities);
        for (unsigned n = 1; n <= course.size(); ++n) {
            CAPTURE(abilities.title);
            CAPTURE(course.operation(n));
            CAPTURE(n);
            const auto outcome = replace_with(
                abilities, n, [](const Storage& storage) { storage.directory().append(kName, kTail); });
            // Shorter than the window for the others, and not there where the original has a second name.
            const bool in_window = !abilities.exchange && !abilities.links && n == course.swap();
            const bool unseen = in_window || n > course.last("status");
            CHECK(outcome.result == (unseen ? abilities.success() : PublishOutcome::changed));
            CHECK_FALSE(outcome.is_unexpected);
            CHECK(outcome.content == (in_window ? kNew : (n <= course.swap() ? kOld : kNew) + kTail));
        }
    }
}

TEST_CASE("what a writer that has the archive open appends before the swap is not lost") {
    for (const auto& abilities : all_without_leases()) {
        const Course course(abilities);
        for (unsigned n = 1; n <= course.size(); ++n) {
            CAPTURE(abilities.title);
            CAPTURE(course.operation(n));
            CAPTURE(n);
            int writer = -1;
            const auto outcome = replace_with(
                abilities, n, [&](const Storage&) { CHECK(::write(writer, kTail.data(), kTail.size()) > 0); },
                [&](const Storage& storage) {
                    writer = ::open(storage.archive().c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
                });
            ::close(writer);
            const bool has_spare = abilities.exchange || abilities.links;
            if (n < course.swap() || (n == course.swap() && has_spare)) {
                CHECK(outcome.result == PublishOutcome::changed);
                CHECK(outcome.content == kOld + kTail);
            } else if (outcome.result == PublishOutcome::changed) {
                // Noticed on the file that was swapped out: it is back.
                CHECK(outcome.content == kOld + kTail);
            } else {
                CHECK(outcome.result == abilities.success());
                CHECK(outcome.content == kNew);
            }
            // What was kept is not the original any more: nobody here removes it.
            CHECK(outcome.is_unexpected == (outcome.result == PublishOutcome::grace_period));
        }
    }
}

TEST_CASE("permissions that are changed meanwhile are not lost") {
    for (const auto& abilities : all_abilities()) {
        const Course course(abilities);
        for (unsigned n = 1; n <= course.size(); ++n) {
            CAPTURE(abilities.title);
            CAPTURE(course.operation(n));
            CAPTURE(n);
            const Storage storage;
            support::FaultFileSystem fs;
            bool remembered = false;
            fs.before = [&](const support::Call& call) {
                if (remembered && call.number == n) CHECK(::chmod(storage.archive().c_str(), 0440) == 0);
            };
            const auto result = replace(
                abilities, fs, storage, [](const publish::RecoveryRecord&) {},
                [&] {
                    fs.forget_calls();
                    remembered = true;
                    // Some file systems count time in ticks of 10 ms: the change must fall into another one.
                    std::this_thread::sleep_for(std::chrono::milliseconds(12));
                });
            CHECK(agrees(storage, result));
            if (result != PublishOutcome::grace_period) CHECK(storage.is_clean());
            // Where there is no exchange it is tried all the same, after the first look.
            const bool is_seen = n < course.first("exchange") && course.operation(n) != "read_at";
            if (is_seen) CHECK(result == PublishOutcome::changed);
            // After it too, as long as the original is beside the new file.
            const bool has_spare = abilities.exchange || abilities.links;
            const bool in_window = !has_spare && course.in_window(n);
            struct stat status {};
            REQUIRE(::stat(storage.archive().c_str(), &status) == 0);
            if (!in_window) CHECK((status.st_mode & 07777) == 0440);
        }
    }
}

TEST_CASE("a rename that removed its target and then failed loses nothing") {
    // As NFS and CIFS may do it, when another process has the archive open.
    for (const auto& abilities : all_abilities()) {
        if (abilities.exchange) continue;
        CAPTURE(abilities.title);
        const Storage storage;
        support::FaultFileSystem fs;
        bool failed = false;
        fs.before = [&](const support::Call& call) {
            if (failed || call.operation != "rename") return;
            failed = true;
            ::unlink(storage.archive().c_str());
            support::FaultFileSystem::fail(EACCES, call);
        };
        if (abilities.links)
            CHECK_THROWS_AS((void)replace(abilities, fs, storage, [](const publish::RecoveryRecord&) {}),
                            base::SystemError);
        else
            CHECK(replace(abilities, fs, storage, [](const publish::RecoveryRecord&) {}) ==
                  abilities.success());
        CHECK(failed);
        CHECK(storage.content() == (abilities.links ? kOld : kNew));
        CHECK(storage.is_clean());
    }
}
