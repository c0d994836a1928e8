// The hours of the day in which jobs may start, for example "22:00-06:00".
//
// It is open whenever the local clock shows a minute in it. So where the clock is put forward over its
// beginning it opens with the jump, where over all of it not at all on that day; and where the clock is put
// back into it, it opens twice. Plain data; any thread.
#pragma once

#include <ctime>
#include <string>

namespace vmad::settings {

struct StartWindow {
    unsigned begin_minute = 0;  ///< of the local day, 0 to 1439
    unsigned end_minute = 0;    ///< the first minute outside; never begin_minute; less: over midnight

    [[nodiscard]] bool contains(std::time_t now) const;
    /// The first moment from `now` on that the window contains, which may be `now`.
    [[nodiscard]] std::time_t next_opening(std::time_t now) const;
    /// "HH:MM-HH:MM", as parse_start_window() takes it.
    [[nodiscard]] std::string text() const;

    friend bool operator==(const StartWindow&, const StartWindow&) = default;
};

/// "HH:MM-HH:MM", from 00:00 to 23:59 each. Throws base::UsageError that says what is wrong with it.
[[nodiscard]] StartWindow parse_start_window(const std::string& text);

}  // namespace vmad::settings
