// The typed client against a server of the same interface with canned jobs.
#include "api/queue_client.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "api/queue_interface.hpp"
#include "varlink/event_source.hpp"
#include "varlink/protocol.hpp"
#include "varlink/server.hpp"
#include "varlink/unix_socket.hpp"

using namespace vmad::api;
using nlohmann::json;
using vmad::varlink::RemoteError;
using vmad::varlink::Request;

namespace {

constexpr std::chrono::milliseconds kPatience = std::chrono::seconds(60);

Job make_job(std::uint64_t id, JobState state) {
    Job job;
    job.id = id;
    job.path = "/dump/" + std::to_string(id) + ".vma";
    job.state = state;
    return job;
}

/// Jobs 1 (failed), 2 (queued) and 3 (done). The method Stop ends it.
class CannedQueue {
  public:
    CannedQueue() {
        std::string name = std::filesystem::temp_directory_path() / "vmad-api-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        directory_ = name;
        std::promise<void> ready;
        thread_ = std::thread([&] { serve(ready); });
        ready.get_future().get();
    }
    CannedQueue(const CannedQueue&) = delete;
    CannedQueue& operator=(const CannedQueue&) = delete;
    ~CannedQueue() {
        vmad::varlink::Client(socket(), kPatience).call("org.vmad.Queue.Stop", {}, kPatience);
        thread_.join();
        std::filesystem::remove_all(directory_);
    }
    [[nodiscard]] std::string socket() const { return directory_ / "socket"; }

  private:
    void serve(std::promise<void>& ready) {
        const auto event = vmad::varlink::make_event();
        vmad::varlink::Server server(event.get(), vmad::varlink::listen_at(socket(), 0600), {});
        server.add({kQueueInterface,
                    std::string(queue_interface_description()),
                    {{"Enqueue", enqueue},
                     {"List", list},
                     {"Show", show},
                     {"Status", status},
                     {"Wait", wait},
                     {"Monitor", monitor},
                     {"Cancel", cancel},
                     {"Retry", retry},
                     {"Pause", pause},
                     {"Resume", [](Request& request) { request.reply(); }},
                     {"Reload", reload},
                     {"Stop", [&](Request& request) { request.reply(), stop(event.get()); }}}});
        ready.set_value();
        vmad::varlink::check_event(sd_event_loop(event.get()), "sd_event_loop");
    }

    /// A little later, so that the reply gets out.
    static void stop(sd_event* event) {
        vmad::varlink::check_event(sd_event_add_time_relative(
                                       event, nullptr, CLOCK_MONOTONIC, 1000, 1,
                                       [](sd_event_source* source, std::uint64_t, void*) {
                                           return sd_event_exit(sd_event_source_get_event(source), 0);
                                       },
                                       nullptr),
                                   "sd_event_add_time_relative");
    }

    static void enqueue(Request& request) {
        const auto call = parameters_as<EnqueueCall>(request.parameters());
        if (call.path != "/dump/2.vma") throw path_refused(call.path, "not below a configured directory");
        Job job = make_job(2, JobState::queued);
        job.announced = call.announced;
        job.storage = call.storage;
        request.reply(EnqueueReply{job, !call.announced});
    }
    static void list(Request& request) {
        request.require_more();
        const auto call = parameters_as<ListCall>(request.parameters());
        std::optional<Job> last;
        for (const Job& job :
             {make_job(1, JobState::failed), make_job(2, JobState::queued), make_job(3, JobState::done)}) {
            if (!call.states.empty() && std::ranges::find(call.states, job.state) == call.states.end())
                continue;
            if (last) request.reply_continues(JobReply{last});
            last = job;
        }
        request.reply(JobReply{last});
    }
    static void show(Request& request) {
        const auto call = parameters_as<JobCall>(request.parameters());
        if (call.id != 1) throw no_such_job(call.id);
        request.reply({{"job", make_job(1, JobState::failed)}});
    }
    static void status(Request& request) {
        static_cast<void>(parameters_as<EmptyCall>(request.parameters()));
        Status status;
        status.version = "1.2";
        status.recent.push_back(make_job(3, JobState::done));
        request.reply({{"status", status}});
    }
    static void wait(Request& request) {
        request.require_more();
        const auto call = parameters_as<WaitCall>(request.parameters());
        if (!call.paths.empty()) throw no_such_path(call.paths.front());
        for (const auto id : call.ids) request.reply_continues(JobReply{make_job(id, JobState::done)});
        request.reply(JobReply{});
    }
    /// Job 2 begins and ends.
    static void monitor(Request& request) {
        request.require_more();
        static_cast<void>(parameters_as<EmptyCall>(request.parameters()));
        request.reply_continues(JobReply{});
        request.reply_continues(JobReply{make_job(2, JobState::running)});
        request.reply(JobReply{make_job(2, JobState::done)});
    }
    static void cancel(Request& request) {
        const auto call = parameters_as<JobCall>(request.parameters());
        if (call.id == 3) throw job_has_ended(make_job(3, JobState::done));
        request.reply({{"job", make_job(call.id, JobState::cancelled)}});
    }
    static void retry(Request& request) {
        const auto call = parameters_as<JobCall>(request.parameters());
        request.reply({{"job", make_job(call.id + 1, JobState::queued)}});
    }
    static void pause(Request& request) {
        if (parameters_as<PauseCall>(request.parameters()).now) throw failed("now is refused");
        request.reply();
    }
    static void reload(Request& request) {
        static_cast<void>(parameters_as<EmptyCall>(request.parameters()));
        request.reply(ReloadReply{{"odd", "old"}});
    }

    std::filesystem::path directory_;
    std::thread thread_;
};

std::vector<std::uint64_t> ids_of(const std::vector<Job>& jobs) {
    std::vector<std::uint64_t> ids;
    for (const Job& job : jobs) ids.push_back(job.id);
    return ids;
}

}  // namespace

TEST_CASE("the typed client and the interface fit together") {
    const CannedQueue queue;
    QueueClient client(queue.socket(), kPatience);
    const EnqueueReply queued = client.enqueue({"/dump/2.vma", true, "nas"});
    CHECK(queued.job.announced);
    CHECK(queued.job.storage == "nas");
    CHECK_FALSE(queued.created);
    CHECK(client.enqueue({"/dump/2.vma", false, ""}).created);
    CHECK_THROWS_WITH_AS(
        client.enqueue({"/etc/shadow", true, ""}),
        R"(org.vmad.Queue.PathRefused {"path":"/etc/shadow","reason":"not below a configured directory"})",
        RemoteError);
    CHECK(ids_of(client.list({})) == std::vector<std::uint64_t>{1, 2, 3});
    CHECK(ids_of(client.list({JobState::done, JobState::failed})) == std::vector<std::uint64_t>{1, 3});
    CHECK(client.list({JobState::waiting}).empty());
    CHECK(client.show(1) == make_job(1, JobState::failed));
    CHECK_THROWS_WITH_AS(static_cast<void>(client.show(9)), R"(org.vmad.Queue.NoSuchJob {"id":9})",
                         RemoteError);
    CHECK(client.status().version == "1.2");
    std::vector<Job> ended;
    const auto collect = [&](const Job& job) { ended.push_back(job); };
    client.wait({{3, 1}, {}}, kPatience, collect);
    CHECK(ids_of(ended) == std::vector<std::uint64_t>{3, 1});
    ended.clear();
    client.wait({}, std::nullopt, collect);
    CHECK(ended.empty());
    CHECK_THROWS_WITH_AS(client.wait({{}, {"/a"}}, kPatience, collect),
                         R"(org.vmad.Queue.NoSuchPath {"path":"/a"})", RemoteError);
}

TEST_CASE("the typed client steers the queue") {
    const CannedQueue queue;
    QueueClient client(queue.socket(), kPatience);
    CHECK(client.cancel(1) == make_job(1, JobState::cancelled));
    CHECK_THROWS_WITH_AS(client.cancel(3), R"(org.vmad.Queue.JobHasEnded {"id":3,"state":"done"})",
                         RemoteError);
    CHECK(client.retry(1).id == 2);
    client.pause(false);
    CHECK_THROWS_WITH_AS(client.pause(true), R"(org.vmad.Queue.Failed {"reason":"now is refused"})",
                         RemoteError);
    client.resume();
    CHECK(client.reload() == std::vector<std::string>{"odd", "old"});
}

TEST_CASE("the typed client follows changes") {
    const CannedQueue queue;
    QueueClient client(queue.socket(), kPatience);
    std::vector<std::string> events;
    client.monitor([&] { events.emplace_back("begin"); },
                   [&](const Job& job) { events.emplace_back(to_string(job.state)); });
    CHECK(events == std::vector<std::string>{"begin", "running", "done"});
    CHECK_THROWS_WITH_AS(client.monitor([] {}, [](const Job&) { throw std::runtime_error("enough"); }),
                         "enough", std::runtime_error);
}
