// Random values of the types of the api, the odd ones more often than in life.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/archive_record.hpp"
#include "api/guest_summary.hpp"
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
    vmad::api::NewStretch new_stretch() { return {number(), number(), number(), text()}; }
    vmad::api::NewSince new_since() {
        vmad::api::NewSince since{text(), time(), number()};
        for (auto left = below(3); left > 0; --left)
            since.disks.push_back(
                {text(), number(), number(), coin() ? std::optional(new_stretch()) : std::nullopt});
        return since;
    }
    std::vector<vmad::api::DamagedPlace> damage() {
        std::vector<vmad::api::DamagedPlace> damage(below(vmad::api::kMaxDamagedPlaces + 1));
        for (auto& place : damage) place = {text(), number(), number(), text()};
        return damage;
    }
    vmad::api::ArchiveRecord archive() {
        vmad::api::ArchiveRecord record{.path = path()};
        record.storage = text();
        record.vmid = maybe_number();
        record.guest = text();
        record.backup_at = time();
        record.size_bytes = number();
        record.modified_ns = time();
        record.digest = text();
        for (auto left = below(3); left > 0; --left) record.device_digests[text()] = text();
        record.new_bytes = maybe_number();
        record.repacked_at = maybe_time();
        record.verified_at = maybe_time();
        record.looked_at = maybe_time();
        record.mount_point = text();
        record.verdict = static_cast<vmad::api::Verdict>(below(vmad::api::kVerdictNames.size()));
        record.fault = text();
        record.acknowledged = coin();
        return record;
    }
    vmad::api::GuestSummary guest() {
        vmad::api::GuestSummary guest{.vmid = maybe_number(), .storage = text(), .guest = text()};
        for (auto* count : {&guest.backups, &guest.bytes, &guest.day_backups, &guest.day_bytes,
                            &guest.day_new_bytes, &guest.week_backups, &guest.week_bytes,
                            &guest.week_new_bytes, &guest.unverified, &guest.damaged})
            *count = number();
        guest.last_success_at = maybe_time();
        guest.last_size = maybe_number();
        guest.last_new_bytes = maybe_number();
        guest.verified_at = maybe_time();
        return guest;
    }
    vmad::api::Job job() {
        vmad::api::Job job;
        job.id = 1 + below(INT64_MAX);
        job.path = path();
        job.kind = static_cast<vmad::api::JobKind>(below(vmad::api::kJobKindNames.size()));
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
        if (coin()) job.since = new_since();
        job.shared_bytes = maybe_number();
        job.damage = damage();
        job.last_good_at = maybe_time();
        job.mount_point = coin() ? path() : "";
        if (coin()) job.recovery = record();
        if (coin()) job.progress = progress();
        job.paused = coin();
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
        auto& verify = totals.verify;
        for (auto* count : {&verify.good, &verify.damaged, &verify.failed, &verify.vanished,
                            &verify.cancelled, &verify.bytes, &verify.duration_seconds})
            *count = number();
        verify.last_good_at = maybe_time();
        verify.last_damaged_at = maybe_time();
        return totals;
    }
    vmad::api::Status status() {
        vmad::api::Status status;
        status.version = text();
        status.pid = time();
        status.started_at = time();
        status.state_dir = text();
        status.workers = small();
        for (std::size_t i = 0; i < 9; ++i) {
            status.counts[static_cast<vmad::api::JobState>(i)] = number();
            status.verify_counts[static_cast<vmad::api::JobState>(i)] = number();
        }
        status.archives = {number(), number(), number(), number(), number(), maybe_time()};
        status.verify_every_seconds = maybe_time();
        for (auto left = below(3); left > 0; --left) status.directories.push_back(path());
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
        if (coin()) order.known = archive();
        order.known_beside = {path()};
        order.share_blocks = coin();
        order.verify_source = static_cast<vmad::base::VerifySource>(below(3));
        order.last_attempt = coin();
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
                if (coin()) result.since = new_since();
                result.shared_bytes = maybe_number();
                result.damage = damage();
                if (coin()) result.record = archive();
                result.cleaned_up = coin();
                result.damaged = coin();
                return result;
            }
        }
    }

  private:
    std::mt19937_64 random_;
};
