#include "daemon/alarm.hpp"

#include <algorithm>
#include <ctime>

#include "daemon/log.hpp"

namespace vmad::daemon {

Alarm::Alarm(sd_event* event, std::function<void()> on_time) : on_time_(std::move(on_time)) {
    sd_event_source* source = nullptr;
    varlink::check_event(sd_event_add_time(event, &source, CLOCK_REALTIME, UINT64_MAX, 0, on_event, this),
                         "sd_event_add_time");
    source_.reset(source);
    varlink::check_event(sd_event_source_set_enabled(source, SD_EVENT_OFF), "sd_event_source_set_enabled");
}

void Alarm::at(std::int64_t time) {
    const auto usec = static_cast<std::uint64_t>(std::max<std::int64_t>(time, 0)) * 1'000'000;
    std::uint64_t planned = 0;
    int enabled = SD_EVENT_OFF;
    varlink::check_event(sd_event_source_get_time(source_.get(), &planned), "sd_event_source_get_time");
    varlink::check_event(sd_event_source_get_enabled(source_.get(), &enabled), "sd_event_source_get_enabled");
    if (enabled != SD_EVENT_OFF && planned <= usec) return;
    varlink::check_event(sd_event_source_set_time(source_.get(), usec), "sd_event_source_set_time");
    varlink::check_event(sd_event_source_set_enabled(source_.get(), SD_EVENT_ONESHOT),
                         "sd_event_source_set_enabled");
}

int Alarm::on_event(sd_event_source*, std::uint64_t, void* self) noexcept {
    try {
        static_cast<Alarm*>(self)->on_time_();
    } catch (const std::exception& error) {
        log_error(error.what());
    }
    return 0;
}

}  // namespace vmad::daemon
