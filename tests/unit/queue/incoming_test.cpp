#include "queue/incoming.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <map>
#include <set>

#include <climits>
#include <doctest/doctest.h>

#include "state_directory.hpp"

using namespace vmad;
using namespace vmad::queue;
using namespace vmad::queue::test;
using support::FaultFileSystem;

namespace {

std::string terminated(const std::string& path) { return path + '\0'; }

struct Taken {
    std::vector<std::string> paths;
    std::vector<BadFile> bad;
};

Taken take(const StateDirectory& state, io::FileSystem& fs) {
    Taken taken;
    const auto directory = io::FileSystem().open(state.path(), O_RDONLY | O_DIRECTORY);
    taken.bad = take_incoming(fs, directory, [&](const std::string& path) -> std::optional<std::string> {
        taken.paths.push_back(path);
        return std::nullopt;
    });
    return taken;
}

}  // namespace

TEST_CASE("each file is handed over in the order of names, then removed") {
    const StateDirectory state;
    io::FileSystem fs;
    state.write("2", terminated("/mnt/bäckup/with\nnewline.vma"));
    state.write("1", terminated("/mnt/a.vma"));
    state.write("10", terminated("/"));
    state.write(".3.tmp", terminated("/in/the/making"));
    state.write("4.bad", terminated("/set/aside/before"));
    const Taken taken = take(state, fs);
    CHECK(taken.paths == std::vector<std::string>{"/mnt/a.vma", "/", "/mnt/bäckup/with\nnewline.vma"});
    CHECK(taken.bad.empty());
    CHECK(state.names() == std::set<std::string>{".3.tmp", "4.bad"});
    CHECK(take(state, fs).paths.empty());
}

TEST_CASE("what a request that was cut short has left is removed after a day") {
    const StateDirectory state;
    io::FileSystem fs;
    constexpr std::int64_t kDay = std::int64_t{24} * 3600;
    for (const std::string name : {".vmad-0123456789abcdef.tmp", ".vmad-1123456789abcdef.tmp", ".somebody's"})
        state.write(name, "/half");
    state.set_modified(".vmad-0123456789abcdef.tmp", {std::time(nullptr) - kDay - 60, 0});
    state.set_modified(".vmad-1123456789abcdef.tmp", {std::time(nullptr) - kDay + 60, 0});
    state.set_modified(".somebody's", {1, 0});
    CHECK(take(state, fs).paths.empty());
    CHECK(state.names() == std::set<std::string>{".vmad-1123456789abcdef.tmp", ".somebody's"});
}

TEST_CASE("no request waits for a file in the making that cannot be removed") {
    const StateDirectory state;
    FaultFileSystem fs;
    state.write(".vmad-0123456789abcdef.tmp", "/half");
    state.set_modified(".vmad-0123456789abcdef.tmp", {1, 0});
    for (const std::string operation : {"unlink", "status_at"}) {
        CAPTURE(operation);
        fs.before = [&](const support::Call& call) {
            if (call.operation == operation && call.path.ends_with(".tmp"))
                FaultFileSystem::fail(EPERM, call);
        };
        state.write("1", terminated("/mnt/a.vma"));
        CHECK(take(state, fs).paths == std::vector<std::string>{"/mnt/a.vma"});
    }
}

TEST_CASE("what is not a path is set aside and reported, and holds nothing up") {
    const StateDirectory state;
    io::FileSystem fs;
    const struct {
        std::string name, content, reason;
    } table[] = {
        {"empty", "", "not terminated by NUL"},
        {"no-nul", "/mnt/a.vma", "not terminated by NUL"},
        {"newline", "/mnt/a.vma\n", "not terminated by NUL"},
        {"only-nul", terminated(""), "not absolute"},
        {"relative", terminated("a.vma"), "not absolute"},
        {"two-paths", terminated("/a") + terminated("/b"), "cut short by a NUL"},
        {"two-nuls", terminated(terminated("/a")), "cut short by a NUL"},
        {"latin-1", terminated("/\xe4"), "not UTF-8"},
        {"overlong", terminated("/\xc0\xaf"), "not UTF-8"},
        {"surrogate", terminated("/\xed\xa0\x80"), "not UTF-8"},
        {"cut", terminated("/\xe2\x82"), "not UTF-8"},
        {"4096-bytes", terminated('/' + std::string(PATH_MAX - 1, 'a')), "too long"},
        {"long", terminated('/' + std::string(PATH_MAX, 'a')),
         (state / "long") + " is larger than 4097 bytes"},
    };
    for (const auto& row : table) state.write(row.name, row.content);
    REQUIRE(::mkfifo((state / "pipe").c_str(), 0600) == 0);
    REQUIRE(::mkdir((state / "sub").c_str(), 0700) == 0);
    REQUIRE(::symlink("no-nul", (state / "link").c_str()) == 0);
    state.write("zz-good", terminated('/' + std::string(PATH_MAX - 2, 'a')));

    const Taken taken = take(state, fs);
    CHECK(taken.paths == std::vector<std::string>{'/' + std::string(PATH_MAX - 2, 'a')});
    std::map<std::string, std::string> reasons;
    for (const auto& bad : taken.bad) reasons[bad.name] = bad.reason;
    CHECK(taken.bad.size() == std::size(table) + 3);
    for (const auto& row : table) {
        CAPTURE(row.name);
        CHECK(reasons[row.name] == row.reason);
        CHECK(state.read(row.name + ".bad") == row.content);
    }
    for (const std::string name : {"pipe", "sub", "link"})
        CHECK(reasons[name] == (state / name) + " is not a regular file");
    for (const auto& name : state.names()) CHECK(name.ends_with(".bad"));
    CHECK(take(state, fs).bad.empty());
}

TEST_CASE("a refused path is set aside with its reason, beside older ones of its name") {
    const StateDirectory state;
    io::FileSystem fs;
    state.write("1", terminated("/etc/passwd"));
    state.write("1.bad", "older");
    state.write("1.1.bad", "old");
    const auto directory = fs.open(state.path(), O_RDONLY | O_DIRECTORY);
    const auto bad = take_incoming(fs, directory, [](const std::string&) { return "outside"; });
    CHECK(bad == std::vector<BadFile>{{"1", "outside"}});
    CHECK(state.names() == std::set<std::string>{"1.bad", "1.1.bad", "1.2.bad"});
    CHECK(state.read("1.2.bad") == terminated("/etc/passwd"));
}

TEST_CASE("when a path cannot be queued, its file and the later ones stay") {
    const StateDirectory state;
    io::FileSystem fs;
    for (const std::string name : {"1", "2", "3"}) state.write(name, terminated("/" + name));
    const auto directory = fs.open(state.path(), O_RDONLY | O_DIRECTORY);
    const auto full_at_2 = [](const std::string& path) -> std::optional<std::string> {
        if (path == "/2") throw base::SystemError(ENOSPC, "write", "2.json");
        return std::nullopt;
    };
    CHECK_THROWS_AS((void)take_incoming(fs, directory, full_at_2), base::SystemError);
    CHECK(state.names() == std::set<std::string>{"2", "3"});
}

TEST_CASE("law: whichever operation fails, no path is lost") {
    const std::set<std::string> all = {"/1", "/2", "/3"};
    for (unsigned n = 1;; ++n) {
        CAPTURE(n);
        const StateDirectory state;
        for (const auto& path : all) state.write(path.substr(1), terminated(path));
        state.write("bad", "no NUL");
        FaultFileSystem fs;
        fail_call(fs, n);
        const auto directory = io::FileSystem().open(state.path(), O_RDONLY | O_DIRECTORY);
        std::set<std::string> queued;
        std::size_t bad_count = 0;
        bool failed = false;
        for (int round = 0; round < 2; ++round) {
            try {
                for (const auto& bad : take_incoming(fs, directory, [&](const std::string& path) {
                         queued.insert(path);
                         return std::optional<std::string>();
                     }))
                    bad_count += bad.name == "bad" && bad.reason == "not terminated by NUL";
            } catch (const base::SystemError&) {
                REQUIRE(round == 0);
            }
            if (round == 0) failed = fs.calls() >= n;
            fail_call(fs, 0);
        }
        CHECK(queued == all);
        CHECK(bad_count == 1);
        CHECK(state.names() == std::set<std::string>{"bad.bad"});
        if (!failed) break;
    }
}

TEST_CASE("a request that was left is taken, after those that were left before it") {
    const StateDirectory state;
    io::FileSystem fs;
    const auto place = state.path() + "/new";
    std::vector<std::string> left;
    for (const char* path : {"/z", "/mnt/b\xff\n", "/a"}) {
        CHECK(leave_request(fs, place, path) == place + "/incoming");
        left.emplace_back(path);
    }
    const auto directory = fs.open(place + "/incoming", O_RDONLY | O_DIRECTORY);
    left[1] = "";  // No UTF-8: set aside.
    std::erase(left, "");
    std::vector<std::string> taken;
    const auto bad = take_incoming(fs, directory, [&](const std::string& path) {
        taken.push_back(path);
        return std::optional<std::string>();
    });
    CHECK(taken == left);
    CHECK(bad.size() == 1);
}

TEST_CASE("whichever call fails, a request is left or the caller is told") {
    bool left = false;
    for (unsigned call = 1; !left; ++call) {
        CAPTURE(call);
        const StateDirectory state;
        FaultFileSystem fs;
        fail_call(fs, call);
        try {
            (void)leave_request(fs, state.path() + "/new", "/a");
            left = true;
        } catch (const base::SystemError&) {
        }
        const auto incoming = state.path() + "/new/incoming";
        if (left)
            CHECK(names_in(incoming).size() == 1);
        else if (std::filesystem::exists(incoming))
            CHECK(names_in(incoming).empty());
    }
}
