// Settings from a text instead of a file.
#pragma once

#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "settings/settings.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::settings {

/// A settings file that is gone with the object.
class SettingsFile {
  public:
    explicit SettingsFile(const std::string& text) { directory_.write("vmad.toml", text); }
    [[nodiscard]] std::string path() const { return directory_ / "vmad.toml"; }

  private:
    support::TemporaryDirectory directory_;
};

inline Settings load_text(const std::string& text) { return load_file(SettingsFile(text).path()).settings; }

/// The message of the UsageError, with the path of the file left out; "" when there was none.
inline std::string mistake(const std::string& text) {
    const SettingsFile file(text);
    try {
        (void)load_file(file.path());
        return "";
    } catch (const base::UsageError& error) {
        const std::string message = error.what();
        REQUIRE(message.starts_with(file.path() + ':'));
        return message.substr(file.path().size() + 1);
    }
}

}  // namespace vmad::settings
