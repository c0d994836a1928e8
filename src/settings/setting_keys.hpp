// The keys that a settings file may have: how each is read, limited and printed.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "settings/setting_value.hpp"
#include "settings/settings.hpp"

namespace vmad::settings {

struct Key {
    std::string_view name;  ///< with the tables that it stands in: "table.key"
    /// Throws base::UsageError as SettingValue does.
    void (*read)(const SettingValue& value, Settings& settings);
    /// As TOML spells it.
    std::string (*show)(const Settings& settings);
};

/// In alphabetical order.
[[nodiscard]] std::span<const Key> all_keys();

/// nullptr when there is none of this name.
[[nodiscard]] const Key* find_key(std::string_view name);

/// What to write instead of a key that there is not: one that is spelled much like it, or all of them.
[[nodiscard]] std::string instead_of_key(std::string_view unknown);

}  // namespace vmad::settings
