// Owners for the handles of sd-event, which are reference-counted C objects. Use them in the thread of the
// loop.
#pragma once

#include <memory>
#include <string_view>

#include <systemd/sd-event.h>

namespace vmad::varlink {

struct EventUnref {
    void operator()(sd_event* event) const noexcept { sd_event_unref(event); }
};
using Event = std::unique_ptr<sd_event, EventUnref>;

/// Once the owner is gone the callback is never called again.
struct EventSourceUnref {
    void operator()(sd_event_source* source) const noexcept { sd_event_source_disable_unref(source); }
};
using EventSource = std::unique_ptr<sd_event_source, EventSourceUnref>;

/// A new loop. Throws SystemError.
[[nodiscard]] Event make_event();

/// Throws SystemError when `result`, from a call of sd-event, is a negated errno; `what` names the call.
void check_event(int result, std::string_view what);

}  // namespace vmad::varlink
