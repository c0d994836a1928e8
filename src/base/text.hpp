// UTF-8, and what of it is fit for a terminal, a log line or a message: the one place where control
// characters are escaped. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

namespace vmad::base {

/// Well-formed UTF-8, control characters included: what JSON can hold as it is.
[[nodiscard]] bool is_utf8(std::string_view text) noexcept;

/// The text with \xNN for each byte of a control character, of one that turns the direction of writing, and
/// of what is no UTF-8: so that a name from a hostile archive can neither move the cursor, break a line, nor
/// show a file as another.
[[nodiscard]] std::string printable(std::string_view text);

/// Printable text in ASCII: "->" for an arrow, "~" for an ellipsis, \xNN for each byte of any other
/// character. The two are what our own messages and tables have.
[[nodiscard]] std::string ascii(std::string_view text);

/// The same as printable() with \uNNNN for such a character, as JSON and TOML spell it; what is no UTF-8
/// becomes \ufffd.
[[nodiscard]] std::string printable_unicode(std::string_view text);

/// Appends a sentence to others behind a semicolon, unless it is empty or there already.
void append_sentence(std::string& sentences, std::string_view more);

}  // namespace vmad::base
