#include "daemon/output_lines.hpp"

namespace vmad::daemon {

void OutputLines::add(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto end = bytes.find('\n');
        append(bytes.substr(0, end));
        if (end == std::string_view::npos) return;
        end_line();
        bytes.remove_prefix(end + 1);
    }
}

void OutputLines::finish() { end_line(); }

void OutputLines::append(std::string_view part) {
    const auto room = kMaxLineBytes - line_.size();
    line_ += part.substr(0, room);
    if (part.size() > room) cut_ = true;
}

void OutputLines::end_line() {
    if (!line_.empty() && count_ <= kMaxLines) {
        if (count_ == kMaxLines)
            on_line_("(further output is not logged)");
        else
            on_line_(cut_ ? line_ + "…" : line_);
        ++count_;
    }
    line_.clear();
    cut_ = false;
}

}  // namespace vmad::daemon
