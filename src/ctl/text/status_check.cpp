#include "ctl/text/status_check.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "ctl/text/local_time.hpp"
#include "ctl/text/printable_text.hpp"

namespace vmad::ctl {
namespace {

const char* name_of(CheckResult result) {
    switch (result) {
        case CheckResult::ok:
            return "OK";
        case CheckResult::warning:
            return "WARNING";
        case CheckResult::critical:
            return "CRITICAL";
        case CheckResult::unknown:
            break;
    }
    return "UNKNOWN";
}

/// `values` is empty when there are none.
Check check(CheckResult result, const std::string& text, const std::string& values) {
    auto line = fmt::format("VMAD {} - {}", name_of(result), printable(text));
    // A bar would start the performance data.
    std::replace(line.begin(), line.end(), '|', '!');
    if (!values.empty()) line += " | " + values;
    return {result, line + "\n"};
}

}  // namespace

Check check_of(const api::Status& status, std::int64_t now) {
    using enum api::JobState;
    const auto& counts = status.counts;
    const auto active = counts[running] + counts[publishing];
    const auto age = std::max<std::int64_t>(now - status.oldest_at.value_or(now), 0);
    auto result = CheckResult::ok;
    std::string text;
    if (age > kOldJobSeconds) {
        result = CheckResult::warning;
        text = fmt::format("an unfinished job was queued {}, ", relative_time(*status.oldest_at, now));
    }
    const auto& archives = status.archives;
    if (archives.overdue != 0) {
        result = CheckResult::warning;
        text += fmt::format("{} overdue to be verified (see vmactl list --verified), ", archives.overdue);
    }
    const auto failed_jobs = counts[failed] + status.verify_counts[failed];
    if (failed_jobs != 0) {
        result = CheckResult::critical;
        text = fmt::format("{} failed (see vmactl list --state failed), ", failed_jobs) + text;
    }
    if (archives.unacknowledged != 0) {
        result = CheckResult::critical;
        text = fmt::format("{} damaged (see vmactl list --verified), ", archives.unacknowledged) + text;
    }
    text += fmt::format("{} queued, {} running, {} waiting", counts[queued], active, counts[waiting]);
    if (status.hold == api::Hold::paused) text += ", paused";
    // 'label'=value[unit];[warning above];[critical above];[least];[most]; "c" marks a counter.
    return check(
        result, text,
        fmt::format("queued={};;;0 running={};;;0;{} waiting={};;;0 failed={};;0;0 oldest={}s;{};;0 "
                    "done={}c;;;0 archives={};;;0 damaged={};;0;0 overdue={};0;;0",
                    counts[queued], active, status.workers, counts[waiting], failed_jobs, age, kOldJobSeconds,
                    status.totals.done, archives.known, archives.unacknowledged, archives.overdue));
}

Check check_of(const Failure& failure) {
    return check(failure.code == ExitCode::unreachable ? CheckResult::critical : CheckResult::unknown,
                 failure.message, {});
}

}  // namespace vmad::ctl
