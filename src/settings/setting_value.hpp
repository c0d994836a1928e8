// One value of a settings file, and the ways to read it: the only place that knows how a type of value is
// spelled and limited.
//
// Every reading throws base::UsageError "FILE:LINE:COLUMN: what is wrong; what to write instead".
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

#include "settings/settings.hpp"

namespace vmad::settings {

/// Borrows the node, which outlives it.
class SettingValue {
  public:
    /// `name` is what messages call it: the key, or "entry 2 of KEY".
    SettingValue(const toml::node& node, std::string name) : node_(&node), name_(std::move(name)) {}

    /// An integer from `least` to `most`.
    [[nodiscard]] std::int64_t integer(std::int64_t least, std::int64_t most) const;
    /// A number of bytes from `least` to `most`, as base::parse_size() spells it.
    [[nodiscard]] std::uint64_t size(std::uint64_t least, std::uint64_t most) const;
    /// The same, or nothing for the string `word`.
    [[nodiscard]] std::optional<std::uint64_t> size_or(std::string_view word, std::uint64_t least,
                                                       std::uint64_t most) const;
    [[nodiscard]] bool boolean() const;
    /// Seconds from `least` to `most`, as base::parse_duration() spells them.
    [[nodiscard]] std::int64_t duration(std::int64_t least, std::int64_t most) const;
    /// The same, or nothing for the string `word`.
    [[nodiscard]] std::optional<std::int64_t> duration_or(std::string_view word, std::int64_t least,
                                                          std::int64_t most) const;
    /// The index in `words`, two or more, of the string that it is.
    [[nodiscard]] std::size_t one_of(std::span<const std::string_view> words) const;
    /// As parse_start_window() spells it.
    [[nodiscard]] StartWindow start_window() const;
    /// Whether it is "", which some keys take for none.
    [[nodiscard]] bool is_empty_string() const;
    /// An absolute path of at most `limit_bytes`; doubled slashes and one at the end are dropped.
    [[nodiscard]] std::string path(std::size_t limit_bytes) const;
    /// An array of absolute paths of at most `limit_bytes` each; may be empty.
    [[nodiscard]] std::vector<std::string> paths(std::size_t limit_bytes) const;
    /// An array of strings without NUL, of which the first is such a path; may be empty.
    [[nodiscard]] std::vector<std::string> command(std::size_t limit_bytes) const;

    [[nodiscard]] Origin origin() const;

  private:
    [[noreturn]] void fail(std::string_view what, std::string_view instead) const;
    [[nodiscard]] std::int64_t duration_within(std::int64_t least, std::int64_t most,
                                               std::string_view instead) const;
    [[nodiscard]] std::uint64_t size_within(std::uint64_t least, std::uint64_t most,
                                            std::string_view instead) const;
    /// The string that it is; fails when it is something else.
    [[nodiscard]] const std::string& text(std::string_view instead) const;
    /// The same for an array.
    [[nodiscard]] const toml::array& list(std::string_view instead) const;
    /// What it is called where it stands in an array, counted from 0.
    [[nodiscard]] std::string entry_name(std::size_t index) const;

    const toml::node* node_;
    std::string name_;
};

/// "FILE:LINE:COLUMN: WHAT; INSTEAD"
[[nodiscard]] std::string message_at(const toml::source_region& place, std::string_view what,
                                     std::string_view instead);
/// Throws that as base::UsageError.
[[noreturn]] void fail_at(const toml::source_region& place, std::string_view what, std::string_view instead);

// How TOML spells a value.
[[nodiscard]] std::string toml_text(std::string_view text);
[[nodiscard]] std::string toml_text(const std::vector<std::string>& texts);

}  // namespace vmad::settings
