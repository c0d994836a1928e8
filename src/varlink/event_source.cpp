#include "varlink/event_source.hpp"

#include "base/error.hpp"

namespace vmad::varlink {

Event make_event() {
    sd_event* event = nullptr;
    check_event(sd_event_new(&event), "sd_event_new");
    return Event(event);
}

void check_event(int result, std::string_view what) {
    if (result < 0) throw base::SystemError(-result, what, "event loop");
}

}  // namespace vmad::varlink
