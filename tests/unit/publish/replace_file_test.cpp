#include "publish/replace_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <vector>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "publish/archive_writer.hpp"
#include "support/fault_file_system.hpp"
#include "support/pretended_mount.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::io;
using namespace vmad::publish;
using vmad::support::Call;
using vmad::support::FaultFileSystem;
using vmad::support::TemporaryDirectory;

namespace {

const std::string kName = "a.vma";

struct Place {
    TemporaryDirectory storage;
    support::PretendedMount fs;
    std::vector<RecoveryRecord> journal;

    Place() {
        storage.write(kName, "the old content");
        storage.set_modified(kName, {1'700'000'000, 7});
    }
    ArchiveTarget target() {
        return std::get<ArchiveTarget>(
            open_target(fs, open_entry(fs, storage / kName, {storage.path()}), true, 0));
    }
    RecordSink keep() {
        return [this](const RecoveryRecord& record) { journal.push_back(record); };
    }
    void write(const ReplaceFile& file, std::string content) {
        iovec vector{content.data(), content.size()};
        write_fully_at(fs, file.temporary(), {&vector, 1}, 0);
    }
    struct stat status() {
        struct stat result {};
        REQUIRE(::lstat((storage / kName).c_str(), &result) == 0);
        return result;
    }
    PublishOutcome replace(const std::string& content, const Attributes& extra = {}) {
        ReplaceFile file(fs, target(), keep());
        write(file, content);
        file.seal(extra);
        return file.publish();
    }
    /// False, and said, where the file system under the test has none.
    bool has_leases() {
        const bool held = fs.try_lease(fs.open(storage / kName, O_RDONLY)) == Lease::held;
        if (!held) MESSAGE("no leases here");
        return held;
    }
    std::optional<std::string> attribute(const std::string& name) {
        const auto file = fs.open(storage / kName, O_RDONLY);
        return fs.attribute(file, name);
    }
    void set_attribute(const std::string& name, const std::string& value) {
        const auto file = fs.open(storage / kName, O_RDONLY);
        fs.set_attribute(file, name, value);
    }
};

/// Runs `work` as an unprivileged user in a process of its own. The error that it met, if any.
template <typename Work>
std::string as_plain_user(Work work) {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
        std::string error;
        try {
            if (::setgid(65534) != 0 || ::setuid(65534) != 0) throw std::runtime_error("setuid");
            work();
        } catch (const std::exception& caught) {
            error = caught.what();
        }
        ::_exit(::write(ends[1], error.data(), error.size()) < 0 ? 1 : 0);
    }
    ::close(ends[1]);
    char text[4096];
    const auto length = ::read(ends[0], text, sizeof text);
    ::close(ends[0]);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    return std::string(text, length > 0 ? static_cast<std::size_t>(length) : 0);
}

/// An ACL as the kernel has it: version 2, then entries of tag, permissions and id (posix_acl_xattr.h).
std::string acl_for_user(std::uint32_t user) {
    struct Entry {
        std::uint16_t tag, permissions;
        std::uint32_t id;
    };
    const std::uint32_t none = UINT32_MAX;
    const Entry entries[] = {
        {0x01, 6, none}, {0x02, 4, user}, {0x04, 0, none}, {0x10, 4, none}, {0x20, 0, none}};
    const std::uint32_t version = 2;
    return std::string(reinterpret_cast<const char*>(&version), sizeof version) +
           std::string(reinterpret_cast<const char*>(entries), sizeof entries);
}

}  // namespace

TEST_CASE("content, owner, mode, time and attributes after a replacement") {
    Place place;
    REQUIRE(::chmod((place.storage / kName).c_str(), 0640) == 0);
    if (::geteuid() == 0) REQUIRE(::chown((place.storage / kName).c_str(), 33, 34) == 0);
    place.set_attribute("user.note", "kept");
    place.set_attribute("user.vmad", "stale");
    const auto before = place.status();

    CHECK(place.replace("the new, longer content", {{"user.vmad", "fresh"}}) == PublishOutcome::published);

    const auto after = place.status();
    CHECK(place.storage.read(kName) == "the new, longer content");
    CHECK(place.storage.names() == std::set<std::string>{kName});
    CHECK(after.st_ino != before.st_ino);
    CHECK(after.st_mode == before.st_mode);
    CHECK(after.st_uid == before.st_uid);
    CHECK(after.st_gid == before.st_gid);
    CHECK(after.st_nlink == 1);
    CHECK(nanoseconds(after.st_mtim) == nanoseconds(before.st_mtim));
    CHECK(place.attribute("user.note") == "kept");
    CHECK(place.attribute("user.vmad") == "fresh");
}

TEST_CASE("a replacement of the same size is a second younger, or rsync would skip it") {
    Place place;
    CHECK(place.replace("THE NEW CONTENT") == PublishOutcome::published);
    CHECK(place.status().st_mtim.tv_sec == 1'700'000'001);
    CHECK(place.status().st_mtim.tv_nsec == 7);
}

TEST_CASE("ACLs are copied, and those that a directory gives to new files are not kept") {
    Place place;
    try {
        place.set_attribute("system.posix_acl_access", acl_for_user(1234));
    } catch (const vmad::base::SystemError&) {
        MESSAGE("no ACLs here");
        return;
    }
    const auto before = place.status();
    CHECK(place.replace("new") == PublishOutcome::published);
    CHECK(place.attribute("system.posix_acl_access") == acl_for_user(1234));
    CHECK(place.status().st_mode == before.st_mode);

    Place heir;
    const auto directory = heir.fs.open(heir.storage.path(), O_RDONLY | O_DIRECTORY);
    heir.fs.set_attribute(directory, "system.posix_acl_default", acl_for_user(1234));
    REQUIRE_FALSE(heir.attribute("system.posix_acl_access").has_value());
    const auto mode = heir.status().st_mode;
    for (const bool unnamed : {true, false}) {
        heir.fs.has_unnamed = unnamed;
        CHECK(heir.replace("new") == PublishOutcome::published);
        CHECK_FALSE(heir.attribute("system.posix_acl_access").has_value());
        CHECK(heir.status().st_mode == mode);
    }
}

TEST_CASE("an unprivileged user replaces his own read-only archive, without asking for what he has") {
    Place place;
    place.set_attribute("user.note", "kept");
    CHECK(::chmod((place.storage / kName).c_str(), 0440) == 0);
    if (::geteuid() == 0) {
        CHECK(::chown((place.storage / kName).c_str(), 65534, 65534) == 0);
        CHECK(::chown(place.storage.path().c_str(), 65534, 65534) == 0);
    }
    const auto work = [&] {
        place.fs.before = [](const Call& call) {
            if (call.operation == "change_owner") throw std::logic_error("change_owner");
        };
        if (place.replace("new", {{"user.vmad", "fresh"}}) != PublishOutcome::published)
            throw std::logic_error("not published");
    };
    if (::geteuid() == 0)
        CHECK(as_plain_user(work).empty());
    else
        work();
    CHECK(place.storage.read(kName) == "new");
    CHECK(place.attribute("user.note") == "kept");
    CHECK(place.attribute("user.vmad") == "fresh");
    CHECK((place.status().st_mode & 07777) == 0440);
}

TEST_CASE("an archive of another owner is left alone by an unprivileged user") {
    if (::geteuid() != 0) return;
    Place place;
    CHECK(::chmod((place.storage / kName).c_str(), 0644) == 0);
    CHECK(::chmod(place.storage.path().c_str(), 0777) == 0);
    const auto error = as_plain_user([&] { (void)place.replace("new"); });
    CHECK(error.starts_with("change the owner of "));
    CHECK(error.ends_with(": Operation not permitted"));
    CHECK(place.storage.read(kName) == "the old content");
    CHECK(place.storage.names() == std::set<std::string>{kName});
}

TEST_CASE("metadata that cannot be had: what protects the file is an error, a note is not") {
    struct Row {
        const char* operation;
        int error;
        bool publishes;
    };
    const Row rows[] = {
        {"change_owner", EPERM, false}, {"change_mode", EPERM, false},
        {"set_modified", EPERM, false}, {"set_attribute", EOPNOTSUPP, true},
        {"set_attribute", EIO, true},   {"set_attribute", EACCES, true},
        {"set_attribute", E2BIG, true}, {"set_attribute", ENOSPC, true},
        {"attribute", EIO, true},       {"attribute", EACCES, true},
        {"attribute_names", EIO, true}, {"attribute_names", E2BIG, true},
    };
    for (const auto& row : rows) {
        CAPTURE(row.operation);
        Place place;
        CHECK(::chmod((place.storage / kName).c_str(), 0604) == 0);
        place.set_attribute("user.note", "kept");
        if (::geteuid() == 0)
            CHECK(::chown((place.storage / kName).c_str(), 33, 34) == 0);
        else if (std::string(row.operation) == "change_owner")
            continue;
        place.fs.before = [&](const Call& call) {
            if (call.operation == row.operation) FaultFileSystem::fail(row.error, call);
        };
        if (row.publishes)
            CHECK(place.replace("new", {{"user.vmad", "x"}}) == PublishOutcome::published);
        else
            CHECK_THROWS_AS((void)place.replace("new", {{"user.vmad", "x"}}), vmad::base::SystemError);
        CHECK(place.storage.read(kName) == (row.publishes ? "new" : "the old content"));
        CHECK(place.storage.names() == std::set<std::string>{kName});
    }
}

TEST_CASE("an attribute of the caller's that does not fit is left out") {
    Place place;
    place.set_attribute("user.note", "kept");
    place.fs.before = [&](const Call& call) {
        static unsigned set = 0;
        if (call.operation == "set_attribute" && ++set == 2) FaultFileSystem::fail(ENOSPC, call);
    };
    CHECK(place.replace("new", {{"user.vmad", "x"}}) == PublishOutcome::published);
    CHECK(place.attribute("user.note") == "kept");
    CHECK_FALSE(place.attribute("user.vmad").has_value());
}

TEST_CASE("what cannot be set, or made durable, is found before anything is read") {
    if (::geteuid() != 0) return;
    for (const bool unnamed : {true, false}) {
        for (const char* operation : {"read_at", "change_owner", "change_mode", "set_modified", "sync"}) {
            CAPTURE(unnamed);
            CAPTURE(operation);
            Place place;
            place.fs.has_unnamed = unnamed;
            CHECK(::chmod((place.storage / kName).c_str(), 0604) == 0);
            CHECK(::chown((place.storage / kName).c_str(), 33, 34) == 0);
            place.fs.before = [&](const Call& call) {
                if (call.operation == operation && !call.path.ends_with(place.storage.path()))
                    FaultFileSystem::fail(EPERM, call);
            };
            CHECK_THROWS_AS(ReplaceFile(place.fs, place.target(), place.keep()), vmad::base::SystemError);
            place.fs.before = nullptr;
            CHECK(place.storage.names() == std::set<std::string>{kName});
        }
    }
}

TEST_CASE("until it is sealed, the new file is private") {
    Place place;
    CHECK(::chmod((place.storage / kName).c_str(), 0644) == 0);
    ReplaceFile file(place.fs, place.target(), place.keep());
    CHECK((place.fs.status(file.temporary()).st_mode & 07777) == 0600);
    file.seal();
    CHECK((place.fs.status(file.temporary()).st_mode & 07777) == 0644);
}

TEST_CASE("a call that can be done without is refused in any way") {
    struct Row {
        const char* operation;
        std::vector<int> errors;
    };
    const Row rows[] = {
        {"exchange", {EPERM, EINVAL, ENOSYS, EOPNOTSUPP, EXDEV, EACCES}},
        {"link", {EIO, EXDEV, EACCES, EINVAL, EPERM, ENOSYS, EOPNOTSUPP, EMLINK, ENOSPC}},
    };
    for (const auto& row : rows) {
        for (const int error : row.errors) {
            for (const bool was_done : {false, true}) {
                CAPTURE(row.operation);
                CAPTURE(error);
                CAPTURE(was_done);
                Place place;
                place.fs.has_exchange = std::string(row.operation) == "exchange";
                (was_done ? place.fs.after : place.fs.before) = [&](const Call& call) {
                    if (call.operation == row.operation) FaultFileSystem::fail(error, call);
                };
                CHECK(place.replace("new") == PublishOutcome::published);
                CHECK(place.storage.read(kName) == "new");
                CHECK(place.storage.names() == std::set<std::string>{kName});
            }
        }
    }
}

TEST_CASE("an archive that somebody has open for writing is not replaced") {
    for (const bool exchange : {true, false}) {
        for (const bool unnamed : {true, false}) {
            CAPTURE(exchange);
            CAPTURE(unnamed);
            Place place;
            place.fs.has_exchange = exchange;
            place.fs.has_unnamed = unnamed;
            if (!place.has_leases()) return;
            const auto writer = place.fs.open(place.storage / kName, O_WRONLY);
            CHECK(is_open_for_writing(place.fs, place.target().file));
            CHECK(place.replace("new") == PublishOutcome::open_for_writing);
            CHECK(place.storage.read(kName) == "the old content");
            CHECK(place.storage.names() == std::set<std::string>{kName});
        }
    }
}

TEST_CASE("who opens the archive for writing while it is swapped gets the one that stays") {
    struct Row {
        const char* operation;
        bool at_last;
        bool links;
    };
    const Row rows[] = {{"exchange", false, true}, {"exchange", true, true}, {"rename", false, true},
                        {"rename", true, true},    {"link", true, true},     {"link", true, false}};
    for (const auto& row : rows) {
        CAPTURE(row.operation);
        CAPTURE(row.at_last);
        CAPTURE(row.links);
        Place place;
        place.fs.has_exchange = std::string(row.operation) == "exchange";
        place.fs.has_links = row.links;
        if (!place.has_leases()) return;
        // Opened by the name of before, as a process does that has looked it up already.
        const auto original = place.fs.open(place.storage / kName, O_PATH);
        bool waits = false;
        (row.at_last ? place.fs.after : place.fs.before) = [&](const Call& call) {
            if (call.operation != row.operation || waits) return;
            const auto opened = "/proc/self/fd/" + std::to_string(original.fd());
            waits = ::open(opened.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC) < 0 && errno == EWOULDBLOCK;
        };
        CHECK(place.replace("new") == PublishOutcome::open_for_writing);
        CHECK(waits);
        CHECK(place.storage.read(kName) == "the old content");
        CHECK(place.storage.names() == std::set<std::string>{kName});
        const base::UniqueFd writer(
            ::open((place.storage / kName).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
        CHECK(writer.get() >= 0);
    }
}

TEST_CASE("a writer that has gone, readers, and a want of leases do not hold the swap up") {
    for (const bool has_leases : {true, false}) {
        CAPTURE(has_leases);
        Place place;
        place.fs.has_leases = has_leases;
        place.fs.close(place.fs.open(place.storage / kName, O_WRONLY));
        const auto reader = place.fs.open(place.storage / kName, O_RDONLY);
        CHECK_FALSE(is_open_for_writing(place.fs, place.target().file));
        CHECK(place.replace("new") == PublishOutcome::published);
        CHECK(place.storage.names() == std::set<std::string>{kName});
    }
}

TEST_CASE("after a question whether somebody writes, nobody waits") {
    Place place;
    const auto archive = place.fs.open(place.storage / kName, O_RDONLY);
    CHECK_FALSE(is_open_for_writing(place.fs, archive));
    const base::UniqueFd writer(::open((place.storage / kName).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    CHECK(writer.get() >= 0);
}

TEST_CASE("where a lease is refused without a writer, nobody asks for one") {
    for (const auto& [mount, is_asked] : {std::pair("nfs4", false), std::pair("ext4", true)}) {
        CAPTURE(mount);
        Place place;
        place.fs.pretend(place.storage.path(), mount);
        unsigned asked = 0;
        place.fs.before = [&](const Call& call) { asked += call.operation == "try_lease" ? 1 : 0; };
        CHECK(place.replace("new") == PublishOutcome::published);
        CHECK((asked > 0) == is_asked);
    }
}

TEST_CASE("a hard link that has another number than its file does not hold the swap up") {
    for (const bool admits_numbers : {true, false}) {
        for (const bool keep : {true, false}) {
            CAPTURE(admits_numbers);
            CAPTURE(keep);
            Place place;
            place.fs.numbers = vmad::support::Numbers::by_mount;
            place.fs.has_unnamed = false;
            place.fs.admits_numbers = admits_numbers;
            place.fs.has_exchange = false;
            ReplaceFile file(place.fs, place.target(), place.keep());
            place.write(file, "new");
            file.seal();
            CHECK(file.publish(keep) == (keep ? PublishOutcome::grace_period : PublishOutcome::published));
            CHECK(file.warning().empty());
            CHECK(place.storage.read(kName) == "new");
            const auto& record = place.journal.back();
            CHECK(record.marked_by() == MarkBy::content);
            // The same files, with other numbers.
            io::FileSystem after_mount;
            const auto directory = after_mount.open(place.storage.path(), O_RDONLY | O_DIRECTORY);
            const auto result = recover(after_mount, directory, record);
            CHECK(result.outcome == RecoveryOutcome::published);
            CHECK(result.warning.empty());
            CHECK(place.storage.names() == std::set<std::string>{kName});
        }
    }
}

TEST_CASE("the record is durable before a name depends on it") {
    for (const bool unnamed : {true, false}) {
        for (const bool exchange : {true, false}) {
            CAPTURE(unnamed);
            CAPTURE(exchange);
            Place place;
            place.fs.has_unnamed = unnamed;
            place.fs.has_exchange = exchange;
            using Phase = RecoveryRecord::Phase;
            place.fs.before = [&](const Call& call) {
                const auto phase =
                    place.journal.empty() ? std::optional<Phase>() : place.journal.back().phase;
                if (call.operation == "open_at" && call.path.ends_with(".tmp")) CHECK(phase.has_value());
                if (call.operation == "write_at" && !unnamed)
                    CHECK(place.journal.back().replacement.inode != 0);
                if (call.operation == "link_unnamed" || call.operation == "link" ||
                    call.operation == "exchange")
                    CHECK(phase == Phase::publishing);
                if (call.operation == "rename") CHECK(phase == Phase::renaming);
                if (phase == Phase::publishing) {
                    CHECK(place.journal.back().replacement.size_bytes == 11);
                    CHECK(place.journal.back().name == kName);
                }
            };
            CHECK(place.replace("new content") == PublishOutcome::published);
            CHECK(place.journal.size() == (unnamed ? 0U : 2U) + (exchange ? 1U : 2U));
        }
    }
}

TEST_CASE("an original that is kept is recorded last, with everything in place") {
    for (const bool exchange : {true, false}) {
        CAPTURE(exchange);
        Place place;
        place.fs.has_exchange = exchange;
        const auto before = identity_of(place.status()).mark;
        PublishOutcome outcome;
        {
            ReplaceFile file(place.fs, place.target(), [&](const RecoveryRecord& record) {
                place.journal.push_back(record);
                if (record.phase != RecoveryRecord::Phase::grace_period) return;
                CHECK(place.storage.read(kName) == "new");
                CHECK(place.storage.names().size() == 2);
                place.fs.before = [](const Call&) { throw std::logic_error("a call after the last record"); };
            });
            place.write(file, "new");
            file.seal();
            outcome = file.publish(true);
        }
        place.fs.before = nullptr;
        CHECK(outcome == PublishOutcome::grace_period);
        const auto& record = place.journal.back();
        CHECK(record.phase == RecoveryRecord::Phase::grace_period);
        const auto kept = exchange ? record.temporary : record.old;
        CHECK(place.storage.read(kept) == "the old content");
        const auto directory = place.fs.open(place.storage.path(), O_RDONLY | O_DIRECTORY);
        CHECK(mark_of(place.fs.status_at(directory, kept).value()) == before);
        CHECK(recover(place.fs, directory, record).outcome == RecoveryOutcome::published);
        CHECK(place.storage.names() == std::set<std::string>{kName});
    }
}

TEST_CASE("where an original cannot be kept, the replacement is simply published") {
    Place place;
    place.fs.has_exchange = false;
    place.fs.has_links = false;
    ReplaceFile file(place.fs, place.target(), place.keep());
    place.write(file, "new");
    file.seal();
    CHECK(file.publish(true) == PublishOutcome::published);
    CHECK(place.journal.back().phase == RecoveryRecord::Phase::renaming);
    CHECK(place.storage.names() == std::set<std::string>{kName});
}

TEST_CASE("an original is not given back when the last record could not be kept") {
    Place place;
    {
        ReplaceFile file(place.fs, place.target(), [](const RecoveryRecord& record) {
            if (record.phase == RecoveryRecord::Phase::grace_period) throw std::runtime_error("the job file");
        });
        place.write(file, "new");
        file.seal();
        CHECK_THROWS_WITH((void)file.publish(true), "the job file");
    }
    CHECK(place.storage.read(kName) == "new");
    CHECK(place.storage.names().size() == 2);
}

TEST_CASE("without a lease both files are closed before the swap, because NFS would keep an open one") {
    Place place;
    place.fs.has_leases = false;
    place.fs.has_exchange = false;
    unsigned closed = 0;
    place.fs.before = [&](const Call& call) {
        if (call.operation == "close") ++closed;
        if (call.operation == "exchange" || call.operation == "rename") CHECK(closed == 2);
    };
    CHECK(place.replace("new") == PublishOutcome::published);
}

TEST_CASE("a replacement that is not published leaves the old file and nothing else") {
    for (const bool unnamed : {true, false}) {
        for (const bool sealed : {true, false}) {
            Place place;
            place.fs.has_unnamed = unnamed;
            const auto before = place.status();
            {
                ReplaceFile file(place.fs, place.target(), place.keep());
                place.write(file, "half");
                if (sealed) file.seal();
                CHECK(place.storage.names().size() == (unnamed ? 1 : 2));
            }
            CHECK(place.storage.names() == std::set<std::string>{kName});
            CHECK(identity_of(place.status()) == identity_of(before));
        }
    }
}

TEST_CASE("a journal that fails ends the replacement") {
    for (const bool unnamed : {true, false}) {
        for (unsigned failing = 1; failing <= 4; ++failing) {
            Place place;
            place.fs.has_unnamed = unnamed;
            place.fs.has_exchange = false;
            unsigned count = 0;
            const auto replace = [&] {
                ReplaceFile file(place.fs, place.target(), [&](const RecoveryRecord&) {
                    if (++count == failing) throw std::runtime_error("the job file");
                });
                place.write(file, "new");
                file.seal();
                (void)file.publish();
            };
            if (failing <= (unnamed ? 2U : 4U))
                CHECK_THROWS_WITH(replace(), "the job file");
            else
                replace();
            CHECK(place.storage.names() == std::set<std::string>{kName});
        }
    }
}

TEST_CASE("a temporary file that somebody removed or replaced is noticed before the swap") {
    for (const bool replaced : {false, true}) {
        Place place;
        place.fs.has_unnamed = false;
        ReplaceFile file(place.fs, place.target(), place.keep());
        place.write(file, "new");
        file.seal();
        const auto temporary = place.journal.back().temporary;
        std::filesystem::remove(place.storage / temporary);
        if (replaced) place.storage.write(temporary, "another file");
        CHECK_THROWS_WITH_AS(
            (void)file.publish(),
            (place.storage / temporary + " was removed or replaced by somebody else").c_str(),
            vmad::base::Error);
        CHECK(place.storage.read(kName) == "the old content");
        CHECK(place.storage.has(temporary) == replaced);
    }
}

TEST_CASE("a time that is shown only when the file is closed is the one that is recorded") {
    struct WriteBack : FaultFileSystem {
        bool is_open = true;
        void close(File file) override {
            is_open = is_open && !file.path().ends_with(".tmp");
            FaultFileSystem::close(std::move(file));
        }
        std::optional<struct stat> status_at(const File& directory, const std::string& name) override {
            auto found = FaultFileSystem::status_at(directory, name);
            if (found && is_open && name.ends_with(".tmp")) ++found->st_mtim.tv_sec;
            return found;
        }
        struct stat status(const File& file) override {
            auto found = FaultFileSystem::status(file);
            if (is_open && file.path().ends_with(".tmp")) ++found.st_mtim.tv_sec;
            return found;
        }
    };
    TemporaryDirectory storage;
    storage.write(kName, "the old content");
    WriteBack fs;
    fs.has_unnamed = false;
    auto target = open_target(fs, open_entry(fs, storage / kName, {}), true, 0);
    ReplaceFile file(fs, std::get<ArchiveTarget>(std::move(target)), [](const RecoveryRecord&) {});
    file.seal();
    CHECK(file.publish() == PublishOutcome::published);
    CHECK(file.warning().empty());
    CHECK(storage.names() == std::set<std::string>{kName});
}

TEST_CASE("an exchange that says that it was done, and was not, is an error") {
    struct Liar : FaultFileSystem {
        bool exchange(const File&, const std::string&, const std::string&) override { return true; }
    };
    TemporaryDirectory storage;
    storage.write(kName, "old");
    Liar fs;
    auto target = open_target(fs, open_entry(fs, storage / kName, {}), true, 0);
    ReplaceFile file(fs, std::get<ArchiveTarget>(std::move(target)), [](const RecoveryRecord&) {});
    file.seal();
    CHECK_THROWS_WITH_AS((void)file.publish(),
                         ("the file system reported success but did not replace " + storage / kName).c_str(),
                         vmad::base::Error);
    CHECK(storage.read(kName) == "old");
    CHECK(storage.names() == std::set<std::string>{kName});
}

TEST_CASE("law: a look after the swap that fails says which of the two files is in place") {
    for (const bool has_exchange : {true, false}) {
        for (unsigned look = 1; look <= 3; ++look) {
            CAPTURE(has_exchange);
            CAPTURE(look);
            Place place;
            place.fs.has_exchange = has_exchange;
            bool swapped = false;
            bool failed = false;
            unsigned looks = 0;
            place.fs.after = [&](const Call& call) {
                swapped = swapped || call.operation == (has_exchange ? "exchange" : "rename");
            };
            place.fs.before = [&](const Call& call) {
                if (!swapped || failed || call.operation == "open_at" || ++looks < look) return;
                failed = true;
                FaultFileSystem::fail(EIO, call);
            };
            std::string message;
            try {
                (void)place.replace("the new content");
            } catch (const base::SystemError& error) {
                CHECK(error.number() == EIO);
                message = error.what();
            }
            if (!failed || message.empty()) continue;
            const bool is_new = place.storage.read(kName) == "the new content";
            CHECK(message.ends_with("; " + (place.storage / kName) + " is the " +
                                    (is_new ? "repacked archive" : "original archive")));
        }
    }
    // The storage is away altogether.
    Place place;
    bool swapped = false;
    place.fs.after = [&](const Call& call) { swapped = swapped || call.operation == "exchange"; };
    place.fs.before = [&](const Call& call) {
        if (swapped) FaultFileSystem::fail(EIO, call);
    };
    std::string message;
    try {
        (void)place.replace("the new content");
    } catch (const base::SystemError& error) {
        message = error.what();
    }
    CHECK(message.ends_with("; the repacked archive had been put in place as " + (place.storage / kName)));
    place.fs.before = nullptr;
    CHECK(place.storage.read(kName) == "the new content");
}

TEST_CASE("publish is for once, after seal") {
    Place place;
    ReplaceFile file(place.fs, place.target(), place.keep());
    CHECK_THROWS_AS((void)file.publish(), std::logic_error);
    file.seal();
    CHECK(file.publish() == PublishOutcome::published);
    CHECK_THROWS_AS((void)file.publish(), std::logic_error);
}

TEST_CASE("space is checked against the reserve, which is the default's unless given") {
    Place place;
    const auto available = [&] {
        const auto space = place.fs.space(place.target().directory);
        return space.f_bavail * space.f_frsize;
    };
    ReplaceFile file(place.fs, place.target(), place.keep(), available() / 2);
    CHECK_NOTHROW(file.require_space(0));
    CHECK_THROWS_AS(file.require_space(available() - available() / 4), NoSpace);
    ReplaceFile other(place.fs, place.target(), place.keep());
    CHECK_NOTHROW(other.require_space(1));
    CHECK_THROWS_AS(other.require_space(UINT64_MAX), NoSpace);
}

TEST_CASE("a full disk and a full quota are NoSpace wherever they show") {
    for (const int error : {ENOSPC, EDQUOT}) {
        for (const char* operation : {"write_at", "sync", "link_unnamed"}) {
            Place place;
            bool done = false;
            place.fs.before = [&](const Call& call) {
                if (!done && call.operation == operation) {
                    done = true;
                    FaultFileSystem::fail(error, call);
                }
            };
            CHECK_THROWS_AS((void)place.replace("new"), NoSpace);
            CHECK(place.storage.read(kName) == "the old content");
            CHECK(place.storage.names() == std::set<std::string>{kName});
        }
    }
}
