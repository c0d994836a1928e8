#include "publish/journal_directory.hpp"

#include <fcntl.h>

#include <optional>

#include <doctest/doctest.h>

#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using publish::JournalEntry;
using support::FaultFileSystem;
using support::TemporaryDirectory;

namespace {

publish::RecoveryRecord some_publication() {
    return publish::new_recovery_record("x.vma", {1, {2, 3, 4}, 5});
}

struct Fixture {
    TemporaryDirectory temporary{TemporaryDirectory::fast_base()};
    FaultFileSystem fs;
    io::File directory = fs.open(temporary.path(), O_RDONLY | O_DIRECTORY);

    /// What recover_journal hands out.
    std::vector<std::pair<std::string, publish::RecoveryRecord>> recover(bool recovered = true) {
        std::vector<std::pair<std::string, publish::RecoveryRecord>> found;
        publish::recover_journal(fs, directory, [&](const auto& path, const auto& record) {
            found.emplace_back(path, record);
            return recovered;
        });
        return found;
    }

    /// What a process that is killed while it holds this record leaves.
    void leave(const std::string& path, const publish::RecoveryRecord& publication) {
        JournalEntry record(fs, directory, path);
        record.keep(publication);
    }
};

}  // namespace

TEST_CASE("a run that ends well leaves nothing") {
    Fixture fixture;
    {
        JournalEntry record(fixture.fs, fixture.directory, "/d/x.vma");
        CHECK_FALSE(record.kept());
        CHECK(fixture.temporary.names().empty());
        record.keep(some_publication());
        record.keep(some_publication());
        CHECK(record.kept());
        CHECK(fixture.temporary.names().size() == 2);
        record.remove();
        CHECK_FALSE(record.kept());
    }
    CHECK(fixture.temporary.names().empty());
    CHECK(fixture.recover().empty());
}

TEST_CASE("a record whose process lives is left alone") {
    Fixture fixture;
    JournalEntry record(fixture.fs, fixture.directory, "/d/x.vma");
    record.keep(some_publication());
    const auto before = fixture.temporary.names();
    CHECK(fixture.recover().empty());
    CHECK(fixture.temporary.names() == before);
}

TEST_CASE("a record whose process is gone is recovered once") {
    Fixture fixture;
    const auto publication = some_publication();
    fixture.leave("/d/x \"\n.vma", publication);
    const auto found = fixture.recover(false);
    REQUIRE(found.size() == 1);
    CHECK(found[0].first == "/d/x \"\n.vma");
    CHECK(found[0].second == publication);
    CHECK(fixture.recover(true) == found);
    CHECK(fixture.temporary.names().empty());
    CHECK(fixture.recover().empty());
}

TEST_CASE("a path that JSON cannot hold is refused") {
    Fixture fixture;
    CHECK_THROWS_WITH_AS(JournalEntry(fixture.fs, fixture.directory, "/d/\xe4.vma"),
                         "the path /d/\xe4.vma is not UTF-8: rename it, or repack it to a new file",
                         base::Error);
}

TEST_CASE("other files in the directory are nobody's business") {
    Fixture fixture;
    for (const auto* name :
         {"0123456789abcde.json", "0123456789abcdeff.json", "0123456789ABCDEF.json", "0123456789abcde.lock",
          "x.json", "0123456789abcdef.jso", ".vmad-0123456789abcdef.tmpx"})
        fixture.temporary.write(name, "{");
    const auto before = fixture.temporary.names();
    CHECK(fixture.recover().empty());
    CHECK(fixture.temporary.names() == before);
}

TEST_CASE("a damaged record is named, and kept where it does not stand in the way") {
    Fixture fixture;
    for (const auto* content : {"", "{", "[]", "7", R"({"path":"/x"})", R"({"path":7,"record":{}})",
                                R"({"path":"/x","record":{"name":"../y"}})"}) {
        fixture.temporary.write("0123456789abcdef.json", content);
        std::string message;
        try {
            fixture.recover();
        } catch (const base::Error& error) {
            message = error.what();
        }
        CHECK(message.starts_with(fixture.temporary / "0123456789abcdef.json is damaged: "));
        CHECK(message.ends_with("; it is 0123456789abcdef.json.bad now, try again"));
        CHECK(fixture.temporary.read("0123456789abcdef.json.bad") == content);
        CHECK_FALSE(fixture.temporary.has("0123456789abcdef.json"));
        CHECK(fixture.recover().empty());
    }
}

TEST_CASE("whichever call fails, a kept record is not lost before it is removed") {
    for (unsigned failing = 1;; ++failing) {
        Fixture fixture;
        const auto publication = some_publication();
        fixture.fs.forget_calls();
        fixture.fs.before = [failing](const support::Call& call) {
            if (call.number == failing) FaultFileSystem::fail(EIO, call);
        };
        bool kept = false;
        bool removed = false;
        try {
            JournalEntry record(fixture.fs, fixture.directory, "/d/x.vma");
            record.keep(publication);
            kept = true;
            record.remove();
            removed = true;
        } catch (const base::Error&) {
        }
        const bool every_call_made = fixture.fs.calls() < failing;
        fixture.fs.before = nullptr;
        const auto found = fixture.recover();
        if (kept && !removed) CHECK(found.size() == 1);
        if (removed) CHECK(found.empty());
        if (every_call_made) break;
    }
}

TEST_CASE("law: wherever a run is killed, the next one leaves nothing behind") {
    for (unsigned at = 1;; ++at) {
        CAPTURE(at);
        Fixture fixture;
        fixture.fs.forget_calls();
        // Killed: nothing is cleaned up on the way out either.
        fixture.fs.before = [at](const support::Call& call) {
            if (call.number >= at) FaultFileSystem::fail(EIO, call);
        };
        try {
            JournalEntry record(fixture.fs, fixture.directory, "/d/x.vma");
            record.keep(some_publication());
            record.keep(some_publication());
            record.remove();
        } catch (const base::Error&) {
        }
        const bool every_call_made = fixture.fs.calls() < at;
        fixture.fs.before = nullptr;
        (void)fixture.recover();
        CHECK(fixture.temporary.names().empty());
        if (every_call_made) break;
    }
}

TEST_CASE("what another run is writing is left alone") {
    Fixture fixture;
    JournalEntry record(fixture.fs, fixture.directory, "/d/x.vma");
    bool looked = false;
    fixture.fs.before = [&](const support::Call& call) {
        if (call.operation != "rename" || looked) return;
        looked = true;
        io::FileSystem fs;
        publish::recover_journal(fs, fixture.directory, [](const auto&, const auto&) { return true; });
    };
    record.keep(some_publication());
    CHECK(looked);
    CHECK(fixture.temporary.names().size() == 2);
}

TEST_CASE("a lock that is removed while it is taken is taken anew") {
    Fixture fixture;
    JournalEntry record(fixture.fs, fixture.directory, "/d/x.vma");
    bool looked = false;
    fixture.fs.before = [&](const support::Call& call) {
        if (call.operation != "try_lock" || looked) return;
        looked = true;
        io::FileSystem fs;
        publish::recover_journal(fs, fixture.directory, [](const auto&, const auto&) { return true; });
        CHECK(fixture.temporary.names().empty());
    };
    record.keep(some_publication());
    CHECK(fixture.recover().empty());
    CHECK(fixture.temporary.names().size() == 2);
}

TEST_CASE("where a lock file is never found again there is no record, but an end") {
    struct Hiding final : io::FileSystem {
        std::optional<struct stat> status_at(const io::File&, const std::string&) override {
            return std::nullopt;
        }
    } fs;
    Fixture fixture;
    JournalEntry record(fs, fixture.directory, "/d/x.vma");
    CHECK_THROWS_AS(record.keep(some_publication()), base::Error);
    CHECK(fixture.recover().empty());
    CHECK(fixture.temporary.names().empty());
}
