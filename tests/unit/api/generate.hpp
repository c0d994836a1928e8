// Random values of the types of the api, the odd ones more often than in life.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/job.hpp"
#include "api/status.hpp"
#include "api/worker_messages.hpp"

class Generate {
  public:
    explicit Generate(unsigned seed) : random_(seed) {}

    std::uint64_t below(std::uint64_t end) { return random_() % end; }
    bool coin() { return below(2) == 1; }

    /// 0 … 2^63-1
    std::uint64_t number() {
        const std::uint64_t odd[] = {0, 1, INT32_MAX, UINT32_MAX, INT64_MAX};
        return coin() ? odd[below(std::size(odd))] : random_() >> (1 + below(63));
    }
    std::int64_t time() {
        return coin() ? static_cast<std::int64_t>(number()) : -static_cast<std::int64_t>(number()) - 1;
    }
    std::uint32_t small() { return static_cast<std::uint32_t>(number()); }

    /// UTF-8 with quotes, backslashes, controls, line ends and NULs.
    std::string text() {
        const std::string parts[] = {"a", " ", "\"", "\\", "\n", "\x01", std::string(1, '\0'),
                                     "ä", "€", "𝄞",  "{[", "/"};
        std::string text;
        for (auto left = below(12); left > 0; --left) text += parts[below(std::size(parts))];
        return text;
    }
    std::string path() {
        std::string path = "/" + text();
        std::erase(path, '\0');
        return path;
    }
    std::optional<std::uint64_t> maybe_number() { return coin() ? std::optional(number()) : std::nullopt; }
    std::optional<std::int64_t> maybe_time() { return coin() ? std::optional(time()) : std::nullopt; }
    std::string record() {
        nlohmann::json record = nlohmann::json::object();
        for (auto left = below(3); left > 0; --left) record[text()] = {text(), number(), coin(), nullptr};
        return record.dump();
    }

    vmad::api::JobState state() { return static_cast<vmad::api::JobState>(below(9)); }
    vmad::api::WaitReason wait_reason() {
        return static_cast<vmad::api::WaitReason>(below(vmad::api::kWaitReasonNames.size()));
    }
    vmad::api::JobProgress progress() {
        return {coin() ? "repacking" : "verifying", number(), number(), number(), maybe_number()};
    }
    vmad::api::SpaceRefusal space_refusal() { return {text(), maybe_number(), number(), small(), time()}; }
    vmad::api::Job job() {
        vmad::api::Job job;
        job.id = 1 + below(INT64_MAX);
        job.path = path();
        job.state = state();
        job.reason = text();
        job.damaged = coin();
        if (coin()) job.waiting_for = wait_reason();
        job.warning = text();
        job.storage = text();
        job.vmid = maybe_number();
        job.guest = text();
        job.announced = coin();
        job.queued_at = time();
        job.started_at = maybe_time();
        job.ended_at = maybe_time();
        job.end_number = maybe_number();
        job.retry_at = maybe_time();
        if (coin()) job.state_after_recovery = state();
        job.refused_file = text();
        if (coin()) job.space_refusal = space_refusal();
        job.attempts = small();
        job.failed_attempts = small();
        job.run_again = coin();
        job.size_before = maybe_number();
        job.size_after = maybe_number();
        job.mount_point = coin() ? path() : "";
        if (coin()) job.recovery = record();
        if (coin()) job.progress = progress();
        return job;
    }
    std::vector<vmad::api::Job> jobs() {
        std::vector<vmad::api::Job> jobs(below(4));
        for (auto& entry : jobs) entry = job();
        return jobs;
    }
    vmad::api::Totals totals() {
        vmad::api::Totals totals;
        for (auto* count :
             {&totals.done, &totals.unchanged, &totals.vanished, &totals.failed, &totals.cancelled,
              &totals.bytes_before, &totals.bytes_after, &totals.duration_seconds, &totals.counted})
            *count = number();
        for (auto& count : totals.durations) count = number();
        totals.last_success_at = maybe_time();
        totals.last_failure_at = maybe_time();
        return totals;
    }
    vmad::api::Status status() {
        vmad::api::Status status;
        status.version = text();
        status.pid = time();
        status.started_at = time();
        status.state_dir = text();
        status.workers = small();
        for (std::size_t i = 0; i < 9; ++i) status.counts[static_cast<vmad::api::JobState>(i)] = number();
        if (coin()) status.hold = static_cast<vmad::api::Hold>(below(3));
        status.hold_until = maybe_time();
        status.oldest_at = maybe_time();
        status.totals = totals();
        status.active = jobs();
        status.waiting = jobs();
        status.recent = jobs();
        return status;
    }
    vmad::api::WorkerOrder order() {
        vmad::api::WorkerOrder order;
        order.job = job();
        order.directories = {path(), path()};
        order.state_dir = path();
        order.recover_only = coin();
        order.threads = static_cast<unsigned>(below(64));
        order.memory_bytes = number();
        order.failed_beside = {path()};
        order.spill_dir = path();
        order.zstd_level = static_cast<int>(below(19));
        order.reserve_bytes = maybe_number();
        order.grace_period_seconds = static_cast<std::int64_t>(number());
        return order;
    }
    vmad::api::WorkerEvent event() {
        using namespace vmad::api;
        switch (below(4)) {
            case 0:
                return progress();
            case 1:
                return WorkerRecord{coin() ? JobState::running : JobState::publishing, record()};
            case 2:
                return WorkerGuest{text()};
            default: {
                WorkerResult result;
                const JobState states[] = {JobState::queued,    JobState::waiting,  JobState::done,
                                           JobState::unchanged, JobState::vanished, JobState::failed};
                result.state = states[below(std::size(states))];
                if (result.state == JobState::waiting) result.waiting_for = wait_reason();
                result.reason = text();
                result.size_before = maybe_number();
                result.size_after = maybe_number();
                if (coin()) result.retry_after_seconds = static_cast<std::int64_t>(number());
                result.warning = text();
                result.refused_file = text();
                if (coin()) result.space_refusal = space_refusal();
                result.gone.assign(below(3), path());
                result.cleaned_up = coin();
                result.damaged = coin();
                return result;
            }
        }
    }

  private:
    std::mt19937_64 random_;
};
