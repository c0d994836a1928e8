#include "api/queue_calls.hpp"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "generate.hpp"
#include "varlink/protocol.hpp"

using namespace vmad::api;
using nlohmann::json;
using vmad::varlink::RemoteError;

namespace {

template <typename T>
T again(const T& value) {
    return json::parse(json(value).dump()).get<T>();
}

/// The parameter that InvalidParameter names.
template <typename T>
std::string wrong_parameter(const char* parameters) {
    try {
        static_cast<void>(parameters_as<T>(json::parse(parameters)));
    } catch (const RemoteError& error) {
        CHECK(error.name() == "org.varlink.service.InvalidParameter");
        return error.parameters().at("parameter").get<std::string>();
    }
    return "";
}

}  // namespace

TEST_CASE("law: calls and replies survive their JSON text") {
    Generate generate(3);
    for (int round = 0; round < 500; ++round) {
        const EnqueueCall enqueue{generate.text(), generate.coin(), generate.text(), generate.text(),
                                  static_cast<JobKind>(generate.below(2))};
        CHECK(again(enqueue) == enqueue);
        const EnqueueReply reply{generate.job(), generate.coin()};
        CHECK(again(reply) == reply);
        ListCall list;
        for (auto left = generate.below(4); left > 0; --left) list.states.push_back(generate.state());
        CHECK(again(list) == list);
        const JobCall call{generate.number()};
        CHECK(again(call) == call);
        const PauseCall pause{generate.coin()};
        CHECK(again(pause) == pause);
        ReloadReply reload;
        for (auto left = generate.below(4); left > 0; --left) reload.warnings.push_back(generate.text());
        CHECK(again(reload) == reload);
        WaitCall wait;
        for (auto left = generate.below(4); left > 0; --left) wait.ids.push_back(generate.number());
        for (auto left = generate.below(4); left > 0; --left) wait.paths.push_back(generate.text());
        CHECK(again(wait) == wait);
        const JobReply job{generate.coin() ? std::optional(generate.job()) : std::nullopt};
        CHECK(again(job) == job);
        const ArchiveReply archive{generate.coin() ? std::optional(generate.archive()) : std::nullopt};
        CHECK(again(archive) == archive);
        const GuestReply guest{generate.coin() ? std::optional(generate.guest()) : std::nullopt};
        CHECK(again(guest) == guest);
        ForgetCall forget;
        for (auto left = generate.below(4); left > 0; --left) forget.paths.push_back(generate.text());
        CHECK(again(forget) == forget);
        const ForgetReply forgotten{generate.number()};
        CHECK(again(forgotten) == forgotten);
    }
    CHECK(again(EmptyCall{}) == EmptyCall{});
}

TEST_CASE("absent and null parameters have their defaults") {
    CHECK(parameters_as<EnqueueCall>(json::parse(R"({"path":"/a"})")) == EnqueueCall{"/a", false, ""});
    CHECK(parameters_as<EnqueueCall>(json::parse(R"({"path":"/a","announced":null})")) ==
          EnqueueCall{"/a", false, ""});
    CHECK(parameters_as<EnqueueCall>(json::parse(R"({"path":"/a","storage":null})")) ==
          EnqueueCall{"/a", false, ""});
    CHECK(parameters_as<PauseCall>(json::object()) == PauseCall{false});
    CHECK(parameters_as<PauseCall>(json::parse(R"({"now":null})")) == PauseCall{false});
    CHECK(parameters_as<ListCall>(json::object()) == ListCall{});
    CHECK(parameters_as<ListCall>(json::parse(R"({"states":null})")) == ListCall{});
    CHECK(parameters_as<WaitCall>(json::parse(R"({"ids":[],"paths":null})")) == WaitCall{});
}

TEST_CASE("a bad parameter is named") {
    CHECK(wrong_parameter<EnqueueCall>("{}") == "path");
    CHECK(wrong_parameter<EnqueueCall>(R"({"path":1})") == "path");
    CHECK(wrong_parameter<EnqueueCall>(R"({"path":"/a","announced":1})") == "announced");
    CHECK(wrong_parameter<EnqueueCall>(R"({"path":"/a","anounced":true})") == "anounced");
    CHECK(wrong_parameter<EnqueueCall>(R"({"path":"/a","kind":"look"})") == "kind");
    CHECK(wrong_parameter<ForgetCall>("{}") == "paths");
    CHECK(wrong_parameter<ForgetCall>(R"({"paths":"/a"})") == "paths");
    CHECK(wrong_parameter<ForgetCall>(R"({"paths":[],"all":true})") == "all");
    CHECK(wrong_parameter<ListCall>(R"({"states":"queued"})") == "states");
    CHECK(wrong_parameter<ListCall>(R"({"states":["queued","asleep"]})") == "states");
    CHECK(wrong_parameter<ListCall>(R"({"states":[1]})") == "states");
    CHECK(wrong_parameter<ListCall>(R"({"state":[]})") == "state");
    CHECK(wrong_parameter<JobCall>("{}") == "id");
    CHECK(wrong_parameter<JobCall>(R"({"id":-1})") == "id");
    CHECK(wrong_parameter<JobCall>(R"({"id":"1"})") == "id");
    CHECK(wrong_parameter<JobCall>(R"({"id":1,"job":1})") == "job");
    CHECK(wrong_parameter<EnqueueCall>(R"({"path":"/a","storage":1})") == "storage");
    CHECK(wrong_parameter<JobCall>(R"({"id":1.5})") == "id");
    CHECK(wrong_parameter<JobCall>(R"({"id":1,"now":true})") == "now");
    CHECK(wrong_parameter<PauseCall>(R"({"now":"yes"})") == "now");
    CHECK(wrong_parameter<PauseCall>(R"({"id":1})") == "id");
    CHECK(wrong_parameter<EmptyCall>(R"({"verbose":true})") == "verbose");
    CHECK(wrong_parameter<WaitCall>(R"({"ids":1})") == "ids");
    CHECK(wrong_parameter<WaitCall>(R"({"ids":[1,-1]})") == "ids");
    CHECK(wrong_parameter<WaitCall>(R"({"paths":[null]})") == "paths");
    CHECK(wrong_parameter<WaitCall>(R"({"timeout":1})") == "timeout");
}

TEST_CASE("the errors carry their parameters") {
    CHECK(std::string(no_such_job(17).what()) == R"(org.vmad.Queue.NoSuchJob {"id":17})");
    CHECK(std::string(no_such_path("/a").what()) == R"(org.vmad.Queue.NoSuchPath {"path":"/a"})");
    CHECK(std::string(path_refused("/a", "no").what()) ==
          R"(org.vmad.Queue.PathRefused {"path":"/a","reason":"no"})");
    Job ended;
    ended.id = 17;
    ended.state = JobState::unchanged;
    CHECK(std::string(job_has_ended(ended).what()) ==
          R"(org.vmad.Queue.JobHasEnded {"id":17,"state":"unchanged"})");
    CHECK(std::string(invalid_settings("line 3: no").what()) ==
          R"(org.vmad.Queue.InvalidSettings {"reason":"line 3: no"})");
    CHECK(std::string(failed("disk full").what()) == R"(org.vmad.Queue.Failed {"reason":"disk full"})");
}
