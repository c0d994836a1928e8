// A clock that calls at a point in time, in the thread of the event loop.
#pragma once

#include <cstdint>
#include <functional>

#include "varlink/event_source.hpp"

namespace vmad::daemon {

class Alarm {
  public:
    /// What `on_time` throws is logged. Throws base::SystemError.
    Alarm(sd_event* event, std::function<void()> on_time);
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;

    /// Calls at `time`, in seconds since the epoch, unless an earlier call is due anyway: whoever is called
    /// asks again for what comes next.
    void at(std::int64_t time);

  private:
    static int on_event(sd_event_source*, std::uint64_t, void* self) noexcept;

    std::function<void()> on_time_;
    varlink::EventSource source_;
};

}  // namespace vmad::daemon
