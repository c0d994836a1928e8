// Messages in a stream of bytes: JSON texts, each ended by a NUL (Varlink) or another byte of choice.
//
// All limits hold before anything grows by what the other side sent. No I/O, no thread rule.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace vmad::varlink {

/// A message may be this long, without its terminator.
inline constexpr std::size_t kMaxMessageBytes = std::size_t{1} << 20;

/// Cuts a stream into messages. However the bytes are portioned, the messages are the same.
class MessageSplitter {
  public:
    explicit MessageSplitter(char terminator = '\0') : terminator_(terminator) {}

    void add(std::string_view bytes);
    /// True when next() has something to say: a message, or that it is too long.
    [[nodiscard]] bool ready() noexcept;
    /// The next complete message without its terminator. Throws ProtocolError when it is, or will be, longer
    /// than kMaxMessageBytes; the stream is of no further use then.
    [[nodiscard]] std::optional<std::string> next();
    /// Bytes that are held, those of handed out messages included until the last is.
    [[nodiscard]] std::size_t size() const noexcept { return buffer_.size(); }
    /// True when the stream may end here: no part of a message is left over.
    [[nodiscard]] bool empty() const noexcept { return start_ == buffer_.size(); }

  private:
    char terminator_;
    std::string buffer_;
    std::size_t start_ = 0;    ///< of the next message in buffer_
    std::size_t scanned_ = 0;  ///< no terminator between start_ and here
};

/// Throws ProtocolError when `text` is not JSON in UTF-8 or nests deeper than base::kMaxJsonDepth.
[[nodiscard]] nlohmann::json parse_message(std::string_view text);

/// The bytes of a message with its terminator. Bytes that are not UTF-8 are replaced by U+FFFD. Throws
/// ProtocolError when it is longer than kMaxMessageBytes.
[[nodiscard]] std::string frame_message(const nlohmann::json& message, char terminator = '\0');

}  // namespace vmad::varlink
