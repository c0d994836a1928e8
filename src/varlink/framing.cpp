#include "varlink/framing.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json_fields.hpp"
#include "varlink/protocol.hpp"

namespace vmad::varlink {

using nlohmann::json;

namespace {

[[noreturn]] void throw_too_long() {
    throw ProtocolError(fmt::format("message is longer than {} bytes", kMaxMessageBytes));
}

}  // namespace

void MessageSplitter::add(std::string_view bytes) {
    // Whoever reads on has taken all complete messages, so what is moved here is at most a part of one.
    buffer_.erase(0, start_);
    scanned_ -= start_;
    start_ = 0;
    buffer_.append(bytes);
}

bool MessageSplitter::ready() noexcept {
    scanned_ = std::min(buffer_.find(terminator_, scanned_), buffer_.size());
    return scanned_ < buffer_.size() || scanned_ - start_ > kMaxMessageBytes;
}

std::optional<std::string> MessageSplitter::next() {
    if (!ready()) return std::nullopt;
    if (scanned_ - start_ > kMaxMessageBytes) throw_too_long();
    std::string message = buffer_.substr(start_, scanned_ - start_);
    start_ = ++scanned_;
    if (empty()) {
        // Gives the memory back: a client that once sent a long message may stay for long.
        buffer_ = {};
        start_ = scanned_ = 0;
    }
    return message;
}

json parse_message(std::string_view text) {
    // Before the parser, because its own hook for this makes "[{},{},…" take quadratic time.
    if (base::nests_too_deep(text))
        throw ProtocolError(fmt::format("message nests deeper than {} levels", base::kMaxJsonDepth));
    try {
        // For the parser a NUL is the end of the text.
        if (text.find('\0') == std::string_view::npos) return json::parse(text);
    } catch (const json::exception&) {
        // The text of the library quotes the input, which may be anything.
    }
    throw ProtocolError("message is not valid JSON");
}

std::string frame_message(const json& message, char terminator) {
    std::string bytes = message.dump(-1, ' ', false, json::error_handler_t::replace);
    if (bytes.size() > kMaxMessageBytes) throw_too_long();
    bytes.push_back(terminator);
    return bytes;
}

}  // namespace vmad::varlink
