#include "base/child_start.hpp"

#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include <climits>
#include <doctest/doctest.h>

#include "base/error.hpp"

using namespace vmad;
using base::ChildStart;

namespace {

struct Result {
    std::string output;
    std::string how;
};

Result wait_for(pid_t pid, base::Pipe& pipe) {
    pipe.write.reset();
    Result result;
    std::array<char, 4096> bytes;
    for (ssize_t count; (count = ::read(pipe.read.get(), bytes.data(), bytes.size())) > 0;)
        result.output.append(bytes.data(), static_cast<std::size_t>(count));
    siginfo_t info{};
    REQUIRE(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) == 0);
    result.how = base::describe_end(info);
    return result;
}

Result run_shell(const std::string& script, std::vector<std::string> environment = {}) {
    auto pipe = base::make_pipe();
    ChildStart child;
    child.give(pipe.write.get(), STDOUT_FILENO);
    return wait_for(child.run("/bin/sh", {"sh", "-c", script}, std::move(environment)), pipe);
}

}  // namespace

TEST_CASE("how a child ended is told in words") {
    CHECK(run_shell("exit 0").how == "exit code 0");
    CHECK(run_shell("exit 77").how == "exit code 77");
    CHECK(run_shell("kill -KILL $$").how == "signal 9");
}

TEST_CASE("a child has the environment that it is given, and no other") {
    CHECK(run_shell("/usr/bin/env | grep -v -e ^_= -e ^PWD=", {"A=one", "B=two words"}).output ==
          "A=one\nB=two words\n");
}

TEST_CASE("a child has default signals, and none of them blocked") {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    REQUIRE(::sigprocmask(SIG_BLOCK, &all, &before) == 0);
    const auto handler = ::signal(SIGPIPE, SIG_IGN);
    // 32 and 33 are the C library's own, and stay as we got them.
    const auto result =
        run_shell("grep -E '^Sig(Blk|Ign)' /proc/self/status | grep -v -E '0{7}[01][08]0{7}$'");
    ::signal(SIGPIPE, handler);
    REQUIRE(::sigprocmask(SIG_SETMASK, &before, nullptr) == 0);
    CHECK(result.output == "");
}

TEST_CASE("descriptors reach the child under any numbers, in any order, and no others do") {
    // Whoever runs this test may have left us some.
    REQUIRE(::close_range(3, UINT_MAX, CLOSE_RANGE_CLOEXEC) == 0);
    // Pipes that have each other's numbers.
    std::array<base::Pipe, 4> pipes;
    for (auto& pipe : pipes) pipe = base::make_pipe();
    auto output = base::make_pipe();
    ChildStart child;
    child.give(output.write.get(), STDOUT_FILENO);
    child.give(output.write.get(), STDERR_FILENO);
    int number = ChildStart::kMaxNumber;
    for (auto& pipe : pipes) child.give(pipe.write.get(), number--);
    const auto pid = child.run(
        "/bin/sh", {"sh", "-c", "for i in 6 7 8 9; do echo $i >&$i; done; ls /proc/$$/fd"}, {"PATH=/bin"});
    CHECK(wait_for(pid, output).output == "0\n1\n2\n6\n7\n8\n9\n");
    for (auto& pipe : pipes) {
        char text[3]{};
        CHECK(::read(pipe.read.get(), text, sizeof text) == 2);
        CHECK(std::string(text) == std::to_string(ChildStart::kMaxNumber - (&pipe - pipes.data())) + "\n");
    }
}

TEST_CASE("a child starts in its directory and in its group") {
    auto output = base::make_pipe();
    ChildStart child;
    child.give(output.write.get(), STDOUT_FILENO);
    child.set_directory("/usr/bin");
    child.set_own_group();
    const auto pid =
        child.run("sh", {"sh", "-c", "pwd; echo $$; sed 's/.*) //' /proc/$$/stat | cut -d' ' -f3"},
                  {"PATH=/usr/bin:/bin"});
    const auto number = std::to_string(pid);
    CHECK(wait_for(pid, output).output == "/usr/bin\n" + number + "\n" + number + "\n");
}

TEST_CASE("what cannot be started says so at once") {
    const auto start = [](const std::string& program) { (void)ChildStart().run(program, {program}, {}); };
    CHECK_THROWS_WITH_AS(start("/no/such/program"), "start /no/such/program: No such file or directory",
                         base::SystemError);
    CHECK_THROWS_WITH_AS(start("/etc/passwd"), "start /etc/passwd: Permission denied", base::SystemError);
    CHECK_THROWS_WITH_AS(start("/"), "start /: Permission denied", base::SystemError);
}

TEST_CASE("a child that is to ignore what asks it to stop ignores just that") {
    auto output = base::make_pipe();
    ChildStart child;
    child.give(output.write.get(), STDOUT_FILENO);
    child.set_ignores_stop_signals();
    const auto pid = child.run(
        "/bin/sh", {"sh", "-c", "kill -TERM $$; kill -INT $$; kill -HUP $$; echo here; kill -USR1 $$"}, {});
    const auto result = wait_for(pid, output);
    CHECK(result.output == "here\n");
    CHECK(result.how == "signal 10");
}

TEST_CASE("a child that is to die with its parent is killed when the parent ends") {
    auto output = base::make_pipe();
    const pid_t parent = ::fork();
    REQUIRE(parent >= 0);
    if (parent == 0) {
        ChildStart child;
        child.give(output.write.get(), STDOUT_FILENO);
        child.set_dies_with_parent();
        (void)child.run("/bin/sleep", {"sleep", "1000"}, {});
        ::_exit(0);
    }
    output.write.reset();
    char byte = 0;
    CHECK(::read(output.read.get(), &byte, 1) == 0);  // the end comes when the last writer is gone
    REQUIRE(::waitpid(parent, nullptr, 0) == parent);
}

TEST_CASE("a child that cannot be executed for a while is not waited for, and ends by itself") {
    // Stopped before it comes to exec, as by a share that does not answer.
    auto output = base::make_pipe();
    ChildStart child;
    child.give(output.write.get(), STDOUT_FILENO);
    child.set_own_group();
    static bool stops = false;
    stops = true;
    ::pthread_atfork(nullptr, nullptr, [] {
        if (stops) ::kill(::getpid(), SIGSTOP);
    });
    const auto pid = child.run("/no/such/program", {"program"}, {});
    stops = false;
    REQUIRE(::kill(pid, SIGCONT) == 0);
    CHECK(wait_for(pid, output).how == "exit code 126");
}
