// The worker as a process of its own, with a daemon that this program plays.
#include "worker/worker_main.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>

#include <doctest/doctest.h>

#include "api/worker_messages.hpp"
#include "base/child_start.hpp"
#include "io/rate_limit.hpp"
#include "support/dump.hpp"
#include "support/reference.hpp"
#include "support/run_outcome.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using support::outcome_of;
namespace outcome = support::outcome;

namespace {

/// What the worker is started with, and what it leaves.
struct Daemon {
    support::TemporaryDirectory files{support::TemporaryDirectory::fast_base()};
    base::Pipe orders = base::make_pipe();
    base::Pipe events = base::make_pipe();
    io::RateLimit rate = io::RateLimit::create();
    int rate_fd = rate.fd();
    pid_t parent = ::getpid();
    pid_t worker = 0;
    std::vector<std::string> lines;

    /// `prepare` is called in the child.
    void start(const std::function<void()>& prepare = [] {}) {
        std::fflush(nullptr);
        worker = ::fork();
        REQUIRE(worker >= 0);
        if (worker != 0) {
            orders.read.reset();
            events.write.reset();
            return;
        }
        // Beyond those that they become.
        const auto beyond = [](int fd) { return ::fcntl(fd, F_DUPFD, 10); };
        const int from[] = {beyond(orders.read.get()), beyond(events.write.get()), beyond(rate_fd),
                            beyond(::open((files / "stderr").c_str(), O_WRONLY | O_CREAT, 0600))};
        const int to[] = {api::kWorkerOrderFd, api::kWorkerEventFd, api::kWorkerRateFd, STDERR_FILENO};
        ::close(orders.write.release());
        ::close(events.read.release());
        for (std::size_t i = 0; i < std::size(to); ++i) ::dup2(from[i], to[i]);
        prepare();
        std::exit(worker::worker_main(parent));
    }
    void order(const std::string& line) const {
        REQUIRE(::write(orders.write.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size()));
    }
    /// Answers the worker until it ends. Returns its exit code, or -1.
    int end() {
        auto* stream = ::fdopen(events.read.release(), "r");
        char* line = nullptr;
        std::size_t room = 0;
        for (ssize_t size = 0; (size = ::getline(&line, &room, stream)) > 0;) {
            lines.emplace_back(line, static_cast<std::size_t>(size - 1));
            if (std::holds_alternative<api::WorkerRecord>(api::worker_event_from_line(lines.back())))
                order(std::string(api::kRecordedLine));
        }
        std::free(line);
        std::fclose(stream);
        int status = 0;
        REQUIRE(::waitpid(worker, &status, 0) == worker);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    /// And listens to SIGTERM.
    void wait_until_it_yields() const {
        const auto directory = "/proc/" + std::to_string(worker) + "/";
        std::string score;
        bool listens = false;
        for (int i = 0; i < 6000 && !(listens && score == "1000"); ++i) {
            ::usleep(10'000);
            std::ifstream(directory + "oom_score_adj") >> score;
            std::ifstream status(directory + "status");
            for (std::string word; status >> word;)
                if (word == "SigCgt:" && status >> word)
                    listens = (std::stoull(word, nullptr, 16) >> (SIGTERM - 1) & 1) != 0;
        }
        REQUIRE(score == "1000");
        REQUIRE(listens);
    }
    [[nodiscard]] std::string errors() const { return files.read("stderr"); }
    [[nodiscard]] api::WorkerOrder order_for(const std::string& archive) const {
        api::WorkerOrder order;
        order.job.id = 1;
        order.job.path = files / archive;
        order.job.announced = true;
        order.state_dir = files.path();
        return order;
    }
};

}  // namespace

TEST_CASE("a worker reports what it does, the name of its guest, and its result, which comes last") {
    Daemon daemon;
    auto guest = testing::plausible_guest({{"drive-scsi0", 1 << 20, {}}});
    const std::string config = "name: web\n";
    guest.configs[0].data.clear();
    for (const char c : config) guest.configs[0].data.push_back(static_cast<std::byte>(c));
    const auto bytes = testing::dump(guest);
    daemon.files.write("a.vma", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    daemon.start();
    daemon.order(api::to_line(daemon.order_for("a.vma")));
    CHECK(daemon.end() == 0);
    std::map<std::size_t, unsigned> counts;
    std::string name;
    for (const auto& line : daemon.lines) {
        const auto event = api::worker_event_from_line(line);
        ++counts[event.index()];
        if (const auto* found = std::get_if<api::WorkerGuest>(&event)) name = found->name;
    }
    CHECK(name == "web");
    CHECK(counts[api::WorkerEvent(api::WorkerRecord()).index()] >= 1);
    const auto last = api::worker_event_from_line(daemon.lines.back());
    REQUIRE(std::holds_alternative<api::WorkerResult>(last));
    CHECK(outcome_of(std::get<api::WorkerResult>(last)) == outcome::done);
    CHECK(daemon.errors().starts_with("<6>the copy is verified "));
    const auto expected = testing::reference_repack(bytes);
    CHECK(daemon.files.read("a.vma") ==
          std::string_view(reinterpret_cast<const char*>(expected.data()), expected.size()));
}

TEST_CASE("SIGTERM ends a worker early, with a result") {
    Daemon daemon;
    const auto bytes = testing::dump(testing::plausible_guest({{"drive-scsi0", 8 << 20, {}}}));
    daemon.files.write("a.vma", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    daemon.rate.set_bytes_per_second(1);  // as good as never
    daemon.start();
    daemon.order(api::to_line(daemon.order_for("a.vma")));
    daemon.wait_until_it_yields();
    ::kill(daemon.worker, SIGTERM);
    CHECK(daemon.end() == 0);
    const auto last = api::worker_event_from_line(daemon.lines.back());
    CHECK(outcome_of(std::get<api::WorkerResult>(last)) == outcome::stopped);
}

TEST_CASE("a worker that cannot begin says why") {
    struct Row {
        const char* what;
        std::function<void(Daemon&)> make;
        std::function<void()> prepare;
        std::string says;
    };
    const auto nothing = [] {};
    const Row rows[] = {
        {"another parent", [](Daemon& d) { d.parent = 1; }, nothing, "the daemon is gone"},
        {"no order", [](Daemon& d) { d.orders.write.reset(); }, nothing,
         "the daemon is gone or keeps no records"},
        {"no pipe", [](Daemon&) {}, [] { ::close(api::kWorkerEventFd); },
         "fcntl what the daemon passes on: Bad file descriptor"},
        {"no page", [](Daemon& d) { d.rate_fd = d.orders.read.get(); }, nothing, ""},
        {"no JSON", [](Daemon& d) { d.order("{\n"); }, nothing, ""},
    };
    for (const auto& row : rows) {
        CAPTURE(row.what);
        Daemon daemon;
        row.make(daemon);
        daemon.start(row.prepare);
        CHECK(daemon.end() == 1);
        CHECK(daemon.lines.empty());
        CHECK(daemon.errors().starts_with("vmad worker: " + row.says));
        CHECK(daemon.errors().ends_with("\n"));
    }
}

TEST_CASE("a worker yields to everything else") {
    Daemon daemon;
    daemon.start();
    daemon.wait_until_it_yields();
    CHECK(::getpriority(PRIO_PROCESS, static_cast<id_t>(daemon.worker)) >= 10);
    daemon.orders.write.reset();
    CHECK(daemon.end() == 1);
}
