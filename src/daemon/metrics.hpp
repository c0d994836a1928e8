// The daemon's metrics for Prometheus, as a file for node_exporter's textfile collector.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "api/guest_summary.hpp"
#include "api/status.hpp"
#include "varlink/event_source.hpp"

namespace vmad::daemon {

/// In Prometheus' text format 0.0.4. A guest has one summary for each storage. Any thread.
[[nodiscard]] std::string metrics_text(const api::Status& status,
                                       const std::vector<api::GuestSummary>& guests);

/// Keeps a file up to date: written from the loop soon after a change, but at most every 15 seconds, and
/// never while nothing changes. That it cannot be written is logged once, tried again, and disturbs nobody.
/// Belongs to the thread of the event loop.
class MetricsFile {
  public:
    /// `text` gives its content; it is called from the loop and from flush(). Throws base::SystemError.
    MetricsFile(sd_event* event, std::function<std::string()> text);
    MetricsFile(const MetricsFile&) = delete;
    MetricsFile& operator=(const MetricsFile&) = delete;

    /// Empty: no file. What lies at the path so far is left alone. Throws base::SystemError.
    void set_path(const std::string& path);
    /// The text may be another one now. Throws base::SystemError.
    void changed();
    /// Writes now what was changed: for the end, as the destructor writes nothing.
    void flush() noexcept;

  private:
    static int on_timer(sd_event_source*, std::uint64_t, void* self) noexcept;

    sd_event* event_;
    std::function<std::string()> text_;
    std::string path_;
    bool dirty_ = false;           ///< the file is not what the text is
    bool failing_ = false;         ///< so that a failure is logged once
    std::uint64_t next_usec_ = 0;  ///< not to be written before, on CLOCK_MONOTONIC
    varlink::EventSource timer_;   ///< on only while something is to be written
};

}  // namespace vmad::daemon
