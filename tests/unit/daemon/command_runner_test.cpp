#include "daemon/command_runner.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <thread>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "log_capture.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace std::chrono_literals;
using Lines = std::vector<std::string>;

namespace {

/// Only so that a test ends when something hangs.
constexpr auto kPatience = 60s;

struct Fixture {
    support::TemporaryDirectory directory;
    daemon::LogCapture log;
    varlink::Event event = varlink::make_event();
    daemon::CommandRunner runner{event.get()};
    api::Job job;

    Fixture() {
        job.id = 17;
        job.path = "/dump/a\nb.vma";
        job.state = api::JobState::failed;
        job.vmid = 100;
        job.storage = "local";
        job.guest = "web";
        job.damaged = true;
    }

    std::string script(const std::string& name, const std::string& text) {
        directory.write(name, "#!/bin/sh\n" + text);
        std::filesystem::permissions(directory / name, std::filesystem::perms::owner_all);
        return directory / name;
    }
    /// Runs the loop until the file is there.
    void run_until(const std::string& name) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (!directory.has(name)) {
            REQUIRE(std::chrono::steady_clock::now() < end);
            REQUIRE(sd_event_run(event.get(), 10'000) >= 0);
        }
    }
    /// Runs the loop until a command that is queued now has ended.
    void run_until_idle() {
        std::filesystem::remove(directory / "idle");
        runner.run({"/bin/sh", "-c", "exec touch \"$0\"", directory / "idle"}, job, kPatience);
        run_until("idle");
    }
    /// What is logged about the commands that wait now, until they have ended.
    Lines lines() {
        run_until_idle();
        return log.take();
    }
};

bool is_alive(const std::string& pid) {
    std::ifstream in("/proc/" + pid + "/stat");
    std::string text;
    std::getline(in, text);
    return !text.empty() && text.substr(text.rfind(')') + 2, 1) != "Z";
}

void wait_until_dead(const std::string& pid) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (is_alive(pid)) {
        REQUIRE(std::chrono::steady_clock::now() < end);
        std::this_thread::sleep_for(5ms);
    }
}

}  // namespace

TEST_CASE("a command gets the job on stdin, its arguments, and a clean environment in /") {
    ::setenv("VMAD_TEST_SECRET", "1", 1);
    ::setenv("LANG", "C.UTF-8", 1);
    Fixture test;
    const auto path = test.script("show",
                                  "cat > \"$1/in\"; env | grep -v -e ^PWD= -e ^_= | sort -z > \"$1/env\"\n"
                                  "echo \"$#:$2:$3:$PWD\" > \"$1/arguments\"\n");
    test.runner.run({path, test.directory.path(), "a b", "$HOME"}, test.job, kPatience);
    CHECK(test.lines().empty());
    CHECK(test.directory.read("in") == nlohmann::json(test.job).dump() + "\n");
    CHECK(test.directory.read("arguments") == "3:a b:$HOME:/\n");
    auto environment = test.directory.read("env");
    for (const auto* variable :
         {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n", "LANG=C.UTF-8\n",
          "VMAD_JOB=17\n", "VMAD_STATE=failed\n", "VMAD_ARCHIVE=/dump/a\nb.vma\n", "VMAD_VMID=100\n",
          "VMAD_STORAGE=local\n", "VMAD_KIND=repack\n", "VMAD_GUEST=web\n", "VMAD_DAMAGED=1\n"}) {
        const auto at = environment.find(variable);
        INFO(variable);
        REQUIRE(at != std::string::npos);
        environment.erase(at, std::string_view(variable).size());
    }
    CHECK(environment == std::string(environment.size(), '\0'));
}

TEST_CASE("a command that does not read its input, or more than there is, holds up nobody") {
    Fixture test;
    test.job.reason = std::string(500'000, 'x');
    test.runner.run({"/bin/true"}, test.job, kPatience);
    test.runner.run({"/bin/sh", "-c", "cat >/dev/null; cat; echo at the end"}, test.job, kPatience);
    CHECK(test.lines() == Lines{"info: job 17: /bin/sh: at the end"});
}

TEST_CASE("commands run one after the other, in order") {
    Fixture test;
    const auto path = test.script("note",
                                  "echo \"begin $2\" >> \"$1/order\"; sleep 0.0$2; "
                                  "echo \"end $2\" >> \"$1/order\"");
    std::string expected;
    for (int i = 9; i > 0; --i) {
        const auto number = std::to_string(i);
        test.runner.run({path, test.directory.path(), number}, test.job, kPatience);
        expected += "begin " + number + "\nend " + number + "\n";
    }
    CHECK(test.lines().empty());
    CHECK(test.directory.read("order") == expected);
}

TEST_CASE("how a command fails is logged, and the next one runs") {
    Fixture test;
    test.directory.write("plain", "no program");
    test.runner.run({}, test.job, kPatience);
    test.runner.run({"/bin/sh", "-c", "exit 3"}, test.job, kPatience);
    test.runner.run({"/bin/sh", "-c", "kill -SEGV $$"}, test.job, kPatience);
    test.runner.run({"/no/such/program", "x"}, test.job, kPatience);
    test.runner.run({test.directory / "plain"}, test.job, kPatience);
    test.directory.write("no-interpreter", "exit 0\n");
    std::filesystem::permissions(test.directory / "no-interpreter", std::filesystem::perms::owner_all);
    test.runner.run({test.directory / "no-interpreter"}, test.job, kPatience);
    const auto plain = test.directory / "plain";
    const auto no_interpreter = test.directory / "no-interpreter";
    CHECK(test.lines() ==
          Lines{"warning: job 17: /bin/sh: exit code 3", "warning: job 17: /bin/sh: signal 11",
                "warning: job 17: /no/such/program: start /no/such/program: No such file or directory",
                "warning: job 17: " + plain + ": start " + plain + ": Permission denied",
                "warning: job 17: " + no_interpreter + ": start " + no_interpreter + ": Exec format error"});
}

TEST_CASE("what a command writes is logged, to stdout and stderr, and bounded") {
    Fixture test;
    test.runner.run({"/bin/sh", "-c", "echo one; echo two >&2; printf three"}, test.job, kPatience);
    CHECK(test.lines() ==
          Lines{"info: job 17: /bin/sh: one", "info: job 17: /bin/sh: two", "info: job 17: /bin/sh: three"});
    test.runner.run({"/bin/sh", "-c", "head -c 10000000 /dev/zero; echo; yes | head -n 1000000; exit 4"},
                    test.job, kPatience);
    const auto lines = test.lines();
    REQUIRE(lines.size() == 102);
    CHECK(lines[0].size() < 5000);
    CHECK(lines[99] == "info: job 17: /bin/sh: y");
    CHECK(lines[100] == "info: job 17: /bin/sh: (further output is not logged)");
    CHECK(lines[101] == "warning: job 17: /bin/sh: exit code 4");
}

TEST_CASE("a command that takes too long is ended, with its children") {
    Fixture test;
    const auto path = test.script("hang", "sleep 1000 & echo $! > \"$1/child\"; echo $$ > \"$1/self\"; wait");
    test.runner.run({path, test.directory.path()}, test.job, 1s);
    CHECK(test.lines() == Lines{"warning: job 17: " + path + ": killed: it did not end within 1s"});
    for (const auto* name : {"child", "self"}) {
        auto pid = test.directory.read(name);
        pid.pop_back();
        wait_until_dead(pid);
    }
}

TEST_CASE("a command that ignores SIGTERM is killed") {
    Fixture test;
    const auto path = test.script("hang", "trap '' TERM; while :; do sleep 0.1; done");
    test.runner.run({path}, test.job, 1s);
    CHECK(test.lines() == Lines{"warning: job 17: " + path + ": killed: it did not end within 1s"});
}

TEST_CASE("what a command leaves in the background may go on, with its output within the limit") {
    Fixture test;
    test.runner.run({"/bin/sh", "-c", "(sleep 0.3; echo later) & echo now; exit 5"}, test.job, kPatience);
    CHECK(test.lines() == Lines{"info: job 17: /bin/sh: now", "info: job 17: /bin/sh: later",
                                "warning: job 17: /bin/sh: exit code 5"});
    // Another session, which our signals do not reach: it holds the output, but not the next command.
    test.runner.run({"/bin/sh", "-c", "setsid sleep 20 & echo $! > \"$0\"", test.directory / "pid"}, test.job,
                    1s);
    CHECK(test.lines() == Lines{"warning: job 17: /bin/sh: killed: it did not end within 1s"});
    auto pid = test.directory.read("pid");
    pid.pop_back();
    CHECK(is_alive(pid));
    ::kill(std::stoi(pid), SIGKILL);
}

TEST_CASE("when too many commands wait, the newest are dropped") {
    Fixture test;
    for (int i = 0; i < 999; ++i) test.runner.run({"/no/such/program"}, test.job, kPatience);
    // These have failed already; now one that blocks the rest.
    CHECK(test.log.take().size() == 999);
    test.runner.run({"/bin/sh", "-c", "while ! test -e \"$0\"; do sleep 0.01; done", test.directory / "go"},
                    test.job, kPatience);
    for (int i = 0; i < 999; ++i) test.runner.run({"/no/such/program"}, test.job, kPatience);
    CHECK(test.log.take().empty());
    test.runner.run({"/bin/dropped"}, test.job, kPatience);
    CHECK(test.log.take() ==
          Lines{"warning: job 17: /bin/dropped: not run: 1000 commands are already waiting"});
    test.directory.write("go", "");
    const auto end = std::chrono::steady_clock::now() + kPatience;
    Lines lines;
    while (lines.size() < 999) {
        REQUIRE(std::chrono::steady_clock::now() < end);
        REQUIRE(sd_event_run(test.event.get(), 10'000) >= 0);
        for (auto& line : test.log.take()) lines.push_back(std::move(line));
    }
    CHECK(std::count(lines.begin(), lines.end(), lines.front()) == 999);
}

TEST_CASE("when the runner goes, what runs is killed with its children, and what waits is dropped") {
    support::TemporaryDirectory directory;
    std::string child;
    {
        Fixture test;
        test.runner.run({"/bin/sh", "-c", "sleep 1000 & echo $! > \"$0.new\"; mv \"$0.new\" \"$0\"; wait",
                         directory / "child"},
                        test.job, kPatience);
        test.runner.run({"/bin/sh", "-c", "exec touch \"$0\"", directory / "next"}, test.job, kPatience);
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (!directory.has("child")) REQUIRE(std::chrono::steady_clock::now() < end);
        child = directory.read("child");
        child.pop_back();
    }
    wait_until_dead(child);
    CHECK_FALSE(directory.has("next"));
}
