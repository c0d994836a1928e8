#include "daemon/metrics.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "daemon/log.hpp"

namespace vmad::daemon {
namespace {

using api::JobState;

constexpr std::uint64_t kIntervalUsec = 15'000'000;
constexpr mode_t kFileMode = 0644;

/// As the text format has it inside the quotes of a label's value.
std::string escaped(std::string_view value) {
    std::string result;
    for (const char c : value) {
        if (c == '\\' || c == '"')
            result += {'\\', c};
        else if (c == '\n')
            result += "\\n";
        else
            result += c;
    }
    return result;
}

/// The text, family by family.
class Exposition {
  public:
    void begin(std::string_view family, std::string_view type, std::string_view help) {
        family_ = family;
        text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", family, help, family, type);
    }
    template <typename Value>
    void sample(Value value, std::string_view suffix = "") {
        text_ += fmt::format("{}{} {}\n", family_, suffix, value);
    }
    template <typename Value>
    void labelled(std::string_view label, std::string_view label_value, Value value,
                  std::string_view suffix = "") {
        text_ += fmt::format("{}{}{{{}=\"{}\"}} {}\n", family_, suffix, label, escaped(label_value), value);
    }
    /// A family without labels and with one sample.
    template <typename Value>
    void single(std::string_view family, std::string_view type, std::string_view help, Value value) {
        begin(family, type, help);
        sample(value);
    }
    /// The same; it is absent while there is no such time.
    void time(std::string_view family, std::string_view help, const std::optional<std::int64_t>& time) {
        if (time) single(family, "gauge", help, *time);
    }
    [[nodiscard]] std::string take() { return std::move(text_); }

  private:
    std::string_view family_;
    std::string text_;
};

void add_durations(Exposition& out, const api::Totals& totals) {
    out.begin("vmad_job_duration_seconds", "histogram", "Duration of the last run of each done job.");
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < api::kDurationLimits.size(); ++i) {
        count += totals.durations[i];
        out.labelled("le", std::to_string(api::kDurationLimits[i]), count, "_bucket");
    }
    count += totals.durations.back();
    out.labelled("le", "+Inf", count, "_bucket");
    out.sample(totals.duration_seconds, "_sum");
    out.sample(count, "_count");
}

/// Replaces the file as a whole. Its temporary name ends so that node_exporter does not read it.
void write_file(const std::string& path, std::string_view text) {
    const auto name_at = path.rfind('/') + 1;
    const auto temporary = path.substr(0, name_at) + "." + path.substr(name_at) + ".tmp";
    // Perhaps left by a daemon that was killed; or it is somebody's link to another file.
    (void)::unlink(temporary.c_str());
    const base::UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode));
    if (!fd) base::throw_errno("create", temporary);
    try {
        const auto written = ::write(fd.get(), text.data(), text.size());
        if (written < 0) base::throw_errno("write", temporary);
        if (static_cast<std::size_t>(written) != text.size())
            throw base::Error(fmt::format("write {}: there is no room for all of it", temporary));
        // Whatever the umask is: the collector is another user.
        if (::fchmod(fd.get(), kFileMode) != 0) base::throw_errno("chmod", temporary);
        if (std::rename(temporary.c_str(), path.c_str()) != 0) base::throw_errno("replace", path);
    } catch (...) {
        (void)::unlink(temporary.c_str());
        throw;
    }
}

}  // namespace

std::string metrics_text(const api::Status& status) {
    const auto& totals = status.totals;
    Exposition out;
    out.begin("vmad_build_info", "gauge", "Version of the running daemon; always 1.");
    out.labelled("version", status.version, 1);
    out.single("vmad_start_time_seconds", "gauge", "Start time of the daemon in seconds since the epoch.",
               status.started_at);
    out.begin("vmad_jobs", "gauge", "Number of unfinished jobs, by state.");
    for (std::size_t i = 0; i < api::kJobStateNames.size(); ++i) {
        const auto state = static_cast<JobState>(i);
        if (!api::is_final(state)) out.labelled("state", api::to_string(state), status.counts[state]);
    }
    out.time("vmad_oldest_job_timestamp_seconds",
             "Time at which the oldest unfinished job was queued, in seconds since the epoch.",
             status.oldest_at);
    // The other holds come and go without a change of any job, which would not update the file.
    out.single("vmad_paused", "gauge", "Whether the queue is paused (1) or not (0).",
               status.hold == api::Hold::paused ? 1 : 0);
    out.begin("vmad_jobs_ended_total", "counter", "Number of finished jobs, by result.");
    out.labelled("result", "done", totals.done);
    out.labelled("result", "unchanged", totals.unchanged);
    out.labelled("result", "vanished", totals.vanished);
    out.labelled("result", "failed", totals.failed);
    out.labelled("result", "cancelled", totals.cancelled);
    out.single("vmad_repack_input_bytes_total", "counter",
               "Total size of repacked archives before repacking.", totals.bytes_before);
    out.single("vmad_repack_output_bytes_total", "counter",
               "Total size of repacked archives after repacking.", totals.bytes_after);
    add_durations(out, totals);
    out.time("vmad_last_success_timestamp_seconds",
             "Time at which a job last ended as done or unchanged, in seconds since the epoch.",
             totals.last_success_at);
    out.time("vmad_last_failure_timestamp_seconds",
             "Time at which a job last failed, in seconds since the epoch.", totals.last_failure_at);
    return out.take();
}

MetricsFile::MetricsFile(sd_event* event, std::function<api::Status()> status)
    : event_(event), status_(std::move(status)) {
    sd_event_source* source = nullptr;
    varlink::check_event(sd_event_add_time(event_, &source, CLOCK_MONOTONIC, 0, 0, on_timer, this),
                         "sd_event_add_time");
    timer_.reset(source);
    varlink::check_event(sd_event_source_set_enabled(source, SD_EVENT_OFF), "sd_event_source_set_enabled");
}

void MetricsFile::set_path(const std::string& path) {
    if (path == path_) return;
    path_ = path;
    failing_ = false;
    next_usec_ = 0;
    changed();
}

void MetricsFile::changed() {
    dirty_ = true;
    if (path_.empty()) return;
    // From the loop, not now: the caller may be in the middle of its change.
    varlink::check_event(sd_event_source_set_time(timer_.get(), next_usec_), "sd_event_source_set_time");
    varlink::check_event(sd_event_source_set_enabled(timer_.get(), SD_EVENT_ONESHOT),
                         "sd_event_source_set_enabled");
}

int MetricsFile::on_timer(sd_event_source*, std::uint64_t, void* self) noexcept {
    auto& metrics = *static_cast<MetricsFile*>(self);
    metrics.flush();
    try {
        std::uint64_t now = 0;
        varlink::check_event(sd_event_now(metrics.event_, CLOCK_MONOTONIC, &now), "sd_event_now");
        metrics.next_usec_ = now + kIntervalUsec;
        if (metrics.dirty_) metrics.changed();
    } catch (const std::exception& error) {
        log_error("metrics", error.what());
    }
    return 0;
}

void MetricsFile::flush() noexcept {
    if (!dirty_ || path_.empty()) return;
    try {
        write_file(path_, metrics_text(status_()));
        dirty_ = false;
        if (failing_) log_info("metrics: " + path_ + " can be written again");
        failing_ = false;
    } catch (const std::exception& error) {
        if (!failing_) log_warning("metrics", error.what());
        failing_ = true;
    }
}

}  // namespace vmad::daemon
