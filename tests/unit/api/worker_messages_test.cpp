#include "api/worker_messages.hpp"

#include <string>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "generate.hpp"
#include "varlink/framing.hpp"

using namespace vmad::api;
using nlohmann::json;

namespace {

std::string without_end(std::string line) {
    REQUIRE(line.ends_with('\n'));
    line.pop_back();
    return line;
}

}  // namespace

TEST_CASE("law: orders and events survive their line, and are one line") {
    Generate generate(4);
    for (int round = 0; round < 1000; ++round) {
        const WorkerOrder order = generate.order();
        const std::string order_line = without_end(to_line(order));
        CHECK(order_line.find('\n') == std::string::npos);
        CHECK(worker_order_from_line(order_line) == order);
        const WorkerEvent event = generate.event();
        const std::string event_line = without_end(to_line(event));
        CHECK(event_line.find('\n') == std::string::npos);
        CHECK(worker_event_from_line(event_line) == event);
    }
}

TEST_CASE("the lines") {
    CHECK(to_line(WorkerEvent(JobProgress{"verifying", 1, 2, 3, std::nullopt})) ==
          "{\"event\":\"progress\",\"progress\":{\"bytes_per_second\":3,\"done_bytes\":1,\"stage\":"
          "\"verifying\","
          "\"total_bytes\":2}}\n");
    CHECK(to_line(WorkerEvent(WorkerRecord{JobState::publishing, R"({"a":1})"})) ==
          "{\"event\":\"record\",\"recovery\":{\"a\":1},\"state\":\"publishing\"}\n");
    CHECK(to_line(WorkerEvent(WorkerResult{.state = JobState::done, .size_before = 5, .cleaned_up = true})) ==
          "{\"cleaned_up\":true,\"event\":\"result\",\"size_before\":5,\"state\":\"done\"}\n");
    CHECK(to_line(WorkerEvent(WorkerResult{.state = JobState::waiting,
                                           .waiting_for = WaitReason::grace_period,
                                           .reason = "kept",
                                           .size_before = 5,
                                           .size_after = 4,
                                           .retry_after_seconds = 900,
                                           .warning = "odd"})) ==
          "{\"event\":\"result\",\"reason\":\"kept\",\"retry_after_seconds\":900,\"size_after\":4,"
          "\"size_before\":5,\"state\":\"waiting\",\"waiting_for\":\"grace_period\",\"warning\":\"odd\"}\n");
    vmad::varlink::MessageSplitter lines('\n');
    lines.add(kRecordedLine);
    CHECK(lines.next() == "\"recorded\"");
    CHECK(lines.empty());
}

TEST_CASE("a reason that is not UTF-8 does not lose a result") {
    const WorkerEvent event = WorkerResult{.state = JobState::failed, .reason = "/dump/\xe4.vma: bad"};
    const auto read = std::get<WorkerResult>(worker_event_from_line(without_end(to_line(event))));
    CHECK(read.reason == "/dump/\xef\xbf\xbd.vma: bad");
}

TEST_CASE("a bad event is refused with the field that is wrong") {
    const struct {
        const char* line;
        const char* message;
    } table[] = {
        {"", "message is not valid JSON"},
        {"vma: warning: something printed to the wrong descriptor", "message is not valid JSON"},
        {"[]", "event is not an object"},
        {"\"recorded\"", "event is not an object"},
        {"{}", "event: event is missing"},
        {R"({"event":1})", "event: event is not a string"},
        {R"({"event":"gone"})", "event: event 'gone' is unknown"},
        {R"({"event":"progress"})", "event: progress is missing"},
        {R"({"event":"progress","progress":{}})", "progress: stage is missing"},
        {R"({"event":"record"})", "event: state is missing"},
        {R"({"event":"record","state":"done"})", "event: state is not that of a running job"},
        {R"({"event":"record","state":"running"})", "event: recovery is missing"},
        {R"({"event":"record","state":"running","recovery":null})", "event: recovery is missing"},
        {R"({"event":"record","state":"running","recovery":"x"})", "event: recovery is not an object"},
        {R"({"event":"record","state":"running","recovery":{},"more":1})", "event: more is unknown"},
        {R"({"event":"result"})", "event: state is missing"},
        {R"({"event":"result","state":"ok"})", "event: state 'ok' is unknown"},
        {R"({"event":"result","state":"running"})", "event: state is no result of a run"},
        {R"({"event":"result","state":"cancelled"})", "event: state is no result of a run"},
        {R"({"event":"result","state":"waiting"})", "event: waiting_for belongs to the state waiting"},
        {R"({"event":"result","state":"done","waiting_for":"space"})",
         "event: waiting_for belongs to the state waiting"},
        {R"({"event":"result","state":"waiting","waiting_for":"busy"})",
         "event: waiting_for 'busy' is unknown"},
        {R"({"event":"result","state":"failed","reason":1})", "event: reason is not a string"},
        {R"({"event":"result","state":"done","size_before":-1})", "event: size_before is out of range"},
        {R"({"event":"result","state":"waiting","waiting_for":"locked","retry_after_seconds":"1"})",
         "event: retry_after_seconds is not an integer"},
        {R"({"event":"result","state":"done","warning":1})", "event: warning is not a string"},
        {R"({"event":"result","state":"done","recovery":{}})", "event: recovery is unknown"},
    };
    for (const auto& [line, message] : table) {
        CAPTURE(std::string(line));
        CHECK_THROWS_WITH_AS(static_cast<void>(worker_event_from_line(line)), message, vmad::base::Error);
    }
    CHECK_THROWS_WITH_AS(static_cast<void>(worker_event_from_line(std::string(1000, '['))),
                         "message nests deeper than 32 levels", vmad::base::Error);
}

TEST_CASE("a bad order is refused with the field that is wrong") {
    const struct {
        const char* patch;
        const char* message;
    } table[] = {
        {R"({"job":null})", "order: job is missing"},
        {R"({"job":{"id":0}})", "job: id is out of range"},
        {R"({"directories":null})", "order: directories is missing"},
        {R"({"directories":"/dump"})", "order: directories is not an array"},
        {R"({"directories":["/dump",1]})", "order: directories is not a string"},
        {R"({"state_dir":null})", "order: state_dir is missing"},
        {R"({"state_dir":1})", "order: state_dir is not a string"},
        {R"({"grace_period_seconds":null})", "order: grace_period_seconds is missing"},
        {R"({"reserve_bytes":-1})", "order: reserve_bytes is out of range"},
        {R"({"level":3})", "order: level is unknown"},
    };
    const std::string good = without_end(to_line(Generate(5).order()));
    for (const auto& [patch, message] : table) {
        CAPTURE(std::string(patch));
        json bad = json::parse(good);
        bad.merge_patch(json::parse(patch));
        CHECK_THROWS_WITH_AS(static_cast<void>(worker_order_from_line(bad.dump())), message,
                             vmad::base::Error);
    }
    CHECK_THROWS_WITH_AS(static_cast<void>(worker_order_from_line("1")), "order is not an object",
                         vmad::base::Error);
}

TEST_CASE("a line above the limit is not sent") {
    const WorkerEvent event = WorkerRecord{
        JobState::running, json{{"a", std::string(vmad::varlink::kMaxMessageBytes, 'x')}}.dump()};
    CHECK_THROWS_WITH_AS(static_cast<void>(to_line(event)), "message is longer than 1048576 bytes",
                         vmad::base::Error);
}
