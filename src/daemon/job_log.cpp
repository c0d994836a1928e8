#include "daemon/job_log.hpp"

// The place in the source would be the same for all records.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <sys/uio.h>

#include <chrono>
#include <deque>
#include <vector>

#include <fmt/format.h>
#include <systemd/sd-journal.h>

#include "base/text.hpp"
#include "base/units.hpp"
#include "daemon/log.hpp"

namespace vmad::daemon {
namespace {

using api::Job;
using api::JobState;

/// What is logged about a state.
struct Event {
    std::string_view name;
    LogLevel level;
    /// 128 bits that mean this event for ever; systemd/vmad.catalog has the text for each.
    std::string_view message_id;
};

constexpr Event kQueued{"queued", LogLevel::info, "67f2a7dd5724412aa81555c65053bf91"};
constexpr Event kStarted{"started", LogLevel::info, "ebfc70ae306e4bf7ae35562edbc96bc3"};
constexpr Event kWaiting{"waiting", LogLevel::warning, "fece02b03556449caca555e55106bb73"};
/// What needs nobody's attention: it has the same meaning otherwise.
constexpr Event kWaitingAsUsual{kWaiting.name, LogLevel::info, kWaiting.message_id};
constexpr Event kDone{"done", LogLevel::info, "ac9facf00d4946f0a4d2a308336dab18"};
constexpr Event kUnchanged{"unchanged", LogLevel::info, "66dea262c8214899a9a778a6e8b5becb"};
constexpr Event kVanished{"vanished", LogLevel::info, "f53c1fe1ad674fb6a65b457e448e28a9"};
constexpr Event kFailed{"failed", LogLevel::error, "70ad576030e446fe874bd6fcd62ea728"};
constexpr Event kCancelled{"cancelled", LogLevel::info, "7a4c9e7b46264a5584b3215bfa5d2ad6"};

// The same of verify jobs.
constexpr Event kVerifyQueued{"queued to be verified", LogLevel::info, "c308a39b29954a2eb99161cb7bf93c09"};
constexpr Event kVerifyStarted{"verification started", LogLevel::info, "4d9fc80ef34542d29af6c94030509fc0"};
constexpr Event kVerifyWaiting{"verification waiting", LogLevel::warning, "c70c548855af4b819cefb1c657bdb0a1"};
constexpr Event kVerifyWaitingAsUsual{kVerifyWaiting.name, LogLevel::info, kVerifyWaiting.message_id};
constexpr Event kVerified{"verified", LogLevel::info, "4c401a7d9f4140afaf6bdc01d04905c6"};
constexpr Event kDamaged{"damaged", LogLevel::error, "301b1a893505484891f5ed0abd44a5b5"};
constexpr Event kVerifyFailed{"verification failed", LogLevel::error, "b36a0d9c33ca4bb98368c7aee56b3d74"};
constexpr Event kVerifyVanished{"vanished before verification", LogLevel::info,
                                "0fe6a47db9cd4bc19b0e5afa7c8e225d"};
constexpr Event kVerifyCancelled{"verification cancelled", LogLevel::info,
                                 "6e890fb75f2b43eba076c3b65a0ae064"};

bool needs_nobody(std::optional<api::WaitReason> what) {
    return what == api::WaitReason::locked || what == api::WaitReason::too_recent ||
           what == api::WaitReason::grace_period;
}

const Event* verify_event_of(const Job& job) {
    switch (job.state) {
        case JobState::queued:
            return &kVerifyQueued;
        case JobState::running:
            return &kVerifyStarted;
        case JobState::publishing:
            return nullptr;
        case JobState::waiting:
            return needs_nobody(job.waiting_for) ? &kVerifyWaitingAsUsual : &kVerifyWaiting;
        case JobState::done:
        case JobState::unchanged:
            return &kVerified;
        case JobState::vanished:
            return &kVerifyVanished;
        case JobState::failed:
            return job.damaged ? &kDamaged : &kVerifyFailed;
        case JobState::cancelled:
            return &kVerifyCancelled;
    }
    return nullptr;
}

/// Nothing for a state that is no event.
const Event* event_of(const Job& job) {
    if (job.kind == api::JobKind::verify) return verify_event_of(job);
    switch (job.state) {
        case JobState::queued:
            return &kQueued;
        case JobState::running:
            return &kStarted;
        case JobState::publishing:
            return nullptr;
        case JobState::waiting:
            return needs_nobody(job.waiting_for) ? &kWaitingAsUsual : &kWaiting;
        case JobState::done:
            return &kDone;
        case JobState::unchanged:
            return &kUnchanged;
        case JobState::vanished:
            return &kVanished;
        case JobState::failed:
            return &kFailed;
        case JobState::cancelled:
            return &kCancelled;
    }
    return nullptr;
}

std::chrono::seconds duration_of(const Job& job) {
    return std::chrono::seconds(job.ended_at.value_or(0) - job.started_at.value_or(0));
}

/// "30.0 GiB -> 29.8 GiB in 2 min 5 s, 246 MiB/s", or without the second size.
std::string what_was_done(const Job& job) {
    const auto before = job.size_before.value_or(0);
    const auto took = duration_of(job);
    auto text = base::format_size(before);
    if (job.kind == api::JobKind::repack)
        text += fmt::format(" -> {}", base::format_size(job.size_after.value_or(0)));
    text += " in " + base::format_duration(took);
    if (took.count() > 0) text += ", " + base::format_rate(before, took);
    return text;
}

/// ": 37 MiB new since vzdump-qemu-100-2026_11_27-02_00_00.vma.zst"
std::string what_is_new(const Job& job) {
    if (!job.since) return "";
    return fmt::format("{}{} new since {}", job.state == JobState::done ? ", " : ": ",
                       base::format_size(job.since->new_bytes), job.since->archive);
}

/// Of syslog, as the journal has them.
int priority_of(LogLevel level) {
    switch (level) {
        case LogLevel::debug:
            return 7;
        case LogLevel::info:
            return 6;
        case LogLevel::warning:
            return 4;
        case LogLevel::error:
            return 3;
    }
    __builtin_unreachable();
}

/// The fields of one record.
class Fields {
  public:
    template <typename Value>
    void add(std::string_view name, const Value& value) {
        texts_.push_back(fmt::format("{}={}", name, value));
    }
    template <typename Value>
    void add_known(std::string_view name, const std::optional<Value>& value) {
        if (value) add(name, *value);
    }
    void send() {
        std::vector<iovec> slices;
        for (auto& text : texts_) slices.push_back({text.data(), text.size()});
        // A journal that cannot be written is nobody's concern here.
        (void)sd_journal_sendv(slices.data(), static_cast<int>(slices.size()));
    }

  private:
    std::vector<std::string> texts_;
};

Fields fields_of(const Job& job, LogLevel level, std::string_view message) {
    Fields fields;
    fields.add("MESSAGE", message);
    fields.add("PRIORITY", priority_of(level));
    fields.add("SYSLOG_IDENTIFIER", kSyslogIdentifier);
    fields.add("VMAD_JOB", job.id);
    fields.add("VMAD_ARCHIVE", job.path);
    fields.add_known("VMAD_VMID", job.vmid);
    if (!job.storage.empty()) fields.add("VMAD_STORAGE", job.storage);
    fields.add("VMAD_KIND", api::to_string(job.kind));
    fields.add("VMAD_STATE", api::to_string(job.state));
    return fields;
}

void log_event(const Job& job, const Event& event) {
    auto text = fmt::format("job {}: {}: {}", job.id, event.name, job.path);
    if (job.state == JobState::done) text += ": " + what_was_done(job);
    if (job.state == JobState::done || job.state == JobState::unchanged) text += what_is_new(job);
    if (job.state == JobState::waiting || job.state == JobState::failed) text += ": " + job.reason;
    text = base::printable(text);
    if (!logs_to_journal()) return log(event.level, text);
    auto fields = fields_of(job, event.level, text);
    fields.add("MESSAGE_ID", event.message_id);
    if (job.state == JobState::done) {
        fields.add_known("VMAD_SIZE_BEFORE", job.size_before);
        fields.add_known("VMAD_SIZE_AFTER", job.size_after);
        fields.add("VMAD_DURATION_SEC", duration_of(job).count());
    }
    if (job.since && api::is_final(job.state)) {
        fields.add("VMAD_NEW_BYTES", job.since->new_bytes);
        fields.add("VMAD_NEW_SINCE", job.since->archive);
    }
    fields.send();
}

}  // namespace

void log_job(const Job& job) noexcept {
    try {
        if (const auto* event = event_of(job)) log_event(job, *event);
    } catch (const std::exception& error) {
        log_error("job " + std::to_string(job.id), error.what());
    }
}

void log_about_job(const Job& job, LogLevel level, std::string_view text) noexcept {
    try {
        const auto line = base::printable(fmt::format("job {}: {}", job.id, text));
        if (!logs_to_journal()) return log(level, line);
        fields_of(job, level, line).send();
    } catch (const std::exception& error) {
        log_error("job " + std::to_string(job.id), error.what());
    }
}

void log_worker_line(const Job& job, std::string_view line) noexcept {
    auto level = LogLevel::warning;
    for (const auto& [prefix, of_prefix] : {std::pair{std::string_view("<6>"), LogLevel::info},
                                            std::pair{std::string_view("<7>"), LogLevel::debug}})
        if (line.starts_with(prefix)) {
            level = of_prefix;
            line.remove_prefix(prefix.size());
            break;
        }
    log_about_job(job, level, line);
}

}  // namespace vmad::daemon
