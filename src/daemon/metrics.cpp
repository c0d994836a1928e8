#include "daemon/metrics.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "daemon/log.hpp"

namespace vmad::daemon {
namespace {

using api::GuestSummary;
using api::JobState;
using Guests = std::vector<GuestSummary>;

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
    /// Its name is a label only where it is given.
    template <typename Value>
    void of_guest(const GuestSummary& guest, Value value,
                  const std::optional<std::string>& name = std::nullopt) {
        text_ += fmt::format("{}{{vmid=\"{}\",storage=\"{}\"", family_,
                             guest.vmid ? std::to_string(*guest.vmid) : "", escaped(guest.storage));
        if (name) text_ += fmt::format(",guest=\"{}\"", escaped(*name));
        text_ += fmt::format("}} {}\n", value);
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

void add_repacks(Exposition& out, const api::Totals& totals) {
    out.begin("vmad_jobs_ended_total", "counter", "Number of finished repack jobs, by result.");
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
             "Time at which a repack job last ended as done or unchanged, in seconds since the epoch.",
             totals.last_success_at);
    out.time("vmad_last_failure_timestamp_seconds",
             "Time at which a repack job last failed, in seconds since the epoch.", totals.last_failure_at);
}

void add_verifications(Exposition& out, const api::VerifyTotals& totals) {
    out.begin("vmad_verify_jobs_ended_total", "counter", "Number of finished verify jobs, by result.");
    out.labelled("result", "good", totals.good);
    out.labelled("result", "damaged", totals.damaged);
    out.labelled("result", "vanished", totals.vanished);
    out.labelled("result", "failed", totals.failed);
    out.labelled("result", "cancelled", totals.cancelled);
    out.single("vmad_verify_bytes_total", "counter", "Total size of archives that verify jobs have read.",
               totals.bytes);
    out.single("vmad_verify_duration_seconds_total", "counter",
               "Total duration of the last runs of verify jobs that have read their archives.",
               totals.duration_seconds);
}

void add_archives(Exposition& out, const Guests& guests) {
    std::uint64_t count = 0;
    std::uint64_t unverified = 0;
    std::uint64_t damaged = 0;
    for (const auto& guest : guests) {
        count += guest.backups;
        unverified += guest.unverified;
        damaged += guest.damaged;
    }
    out.begin("vmad_archives", "gauge", "Number of archives that the daemon knows, by verdict.");
    out.labelled("verdict", "good", count - std::min(count, unverified + damaged));
    out.labelled("verdict", "unverified", unverified);
    out.labelled("verdict", "damaged", damaged);
}

/// A family with a sample for each guest that has the figure.
template <typename Figure>
void add_of_guests(Exposition& out, const Guests& guests, std::string_view family, std::string_view help,
                   Figure GuestSummary::*figure) {
    bool begun = false;
    for (const auto& guest : guests) {
        const std::optional value(guest.*figure);
        if (!value) continue;
        if (!begun) out.begin(family, "gauge", help);
        begun = true;
        out.of_guest(guest, *value);
    }
}

void add_guests(Exposition& out, const Guests& guests) {
    const auto add = [&](std::string_view family, auto figure, std::string_view help) {
        add_of_guests(out, guests, family, help, figure);
    };
    out.begin("vmad_guest_info", "gauge", "Name of the guest in its newest backup; always 1.");
    for (const auto& guest : guests) out.of_guest(guest, 1, guest.guest);
    add("vmad_guest_archives", &GuestSummary::backups, "Number of archives that the daemon knows.");
    add("vmad_guest_archive_bytes", &GuestSummary::bytes, "Total size of these archives.");
    add("vmad_guest_last_success_timestamp_seconds", &GuestSummary::last_success_at,
        "Time at which a backup was last repacked, in seconds since the epoch.");
    add("vmad_guest_backup_bytes", &GuestSummary::last_size, "Size of the backup that was repacked last.");
    add("vmad_guest_new_bytes", &GuestSummary::last_new_bytes,
        "Bytes of that backup that are not in the one before.");
    add("vmad_guest_verified_timestamp_seconds", &GuestSummary::verified_at,
        "Time at which the archive that was verified longest ago was last found good, in seconds since the "
        "epoch.");
    add("vmad_guest_unverified_archives", &GuestSummary::unverified,
        "Number of archives that were not verified since they last changed.");
    add("vmad_guest_damaged_archives", &GuestSummary::damaged, "Number of archives that are damaged.");
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

std::string metrics_text(const api::Status& status, const Guests& guests) {
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
    add_repacks(out, status.totals);
    add_verifications(out, status.totals.verify);
    add_archives(out, guests);
    if (!guests.empty()) add_guests(out, guests);
    return out.take();
}

MetricsFile::MetricsFile(sd_event* event, std::function<std::string()> text)
    : event_(event), text_(std::move(text)) {
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
        write_file(path_, text_());
        dirty_ = false;
        if (failing_) log_info("metrics: " + path_ + " can be written again");
        failing_ = false;
    } catch (const std::exception& error) {
        if (!failing_) log_warning("metrics", error.what());
        failing_ = true;
    }
}

}  // namespace vmad::daemon
