// Law: a line between daemon and worker is an order or an event that is the same after it was written and
// read once more, or an error that fits into a line of the log.
#include "api/worker_messages.hpp"
#include "base/error.hpp"
#include "fuzz_target.hpp"

namespace vmad::fuzz {
namespace {

template <typename Read>
void check(std::string_view line, const Read& read) {
    try {
        const auto message = read(line);
        auto written = api::to_line(message);
        require(written.ends_with('\n') && written.find('\n') == written.size() - 1, "a line is one line");
        written.pop_back();
        const auto again = read(written);
        require(again == message, "a line that is read is the same after it was written and read again");
    } catch (const base::Error& error) {
        require(std::string_view(error.what()).size() < 2048, "an error is a sentence");
    }
}

void run(View bytes) {
    Input input(bytes);
    const auto line = input.text();
    check(line, api::worker_order_from_line);
    check(line, api::worker_event_from_line);
}

std::vector<Bytes> seeds() {
    const api::ArchiveRecord record{.path = "/a",
                                    .storage = "s",
                                    .vmid = 1,
                                    .guest = "g",
                                    .digest = "00",
                                    .device_digests = {{"d", "11"}},
                                    .new_bytes = 1,
                                    .verified_at = 2,
                                    .fault = "f"};
    api::Job job;
    job.id = 1;
    job.path = "/a";
    api::WorkerResult result{.state = api::JobState::waiting,
                             .waiting_for = api::WaitReason::space,
                             .reason = "r",
                             .size_before = 1,
                             .size_after = 2,
                             .retry_after_seconds = 3,
                             .warning = "w"};
    result.space_refusal = api::SpaceRefusal{"/d", 1, 2, 0, 0};
    result.gone = {"/b"};
    result.since = api::NewSince{"a", 1, 2, {{"d", 1, 2, api::NewStretch{1, 2, 3, "p"}}}};
    result.damage = {{"d", 1, 2, "p"}};
    result.record = record;
    api::WorkerOrder order;
    order.job = job;
    order.directories = {"/mnt"};
    order.known = record;
    order.known_beside = {"/b"};
    order.reserve_bytes = 1;
    std::vector<Bytes> lines;
    const auto add = [&](std::string line) {
        line.pop_back();
        lines.push_back(bytes_of(line));
    };
    add(api::to_line(order));
    add(api::to_line(api::WorkerEvent(result)));
    add(api::to_line(api::WorkerEvent(api::WorkerRecord{api::JobState::publishing, R"({"a":[1]})"})));
    add(api::to_line(api::WorkerEvent(api::WorkerGuest{"g"})));
    add(api::to_line(api::WorkerEvent(api::JobProgress{"repacking", 1, 2, 3, 4})));
    return lines;
}

const Registration registration({"worker", 40, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
