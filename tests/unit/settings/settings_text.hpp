// Settings from a text instead of a file.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "settings/settings.hpp"

namespace vmad::settings {

/// A settings file that is gone with the object.
class SettingsFile {
  public:
    explicit SettingsFile(const std::string& text) {
        char name[] = "/tmp/vmad-settings-XXXXXX";
        const int fd = ::mkstemp(name);
        REQUIRE(fd >= 0);
        ::close(fd);
        path_ = name;
        std::ofstream(path_) << text;
    }
    SettingsFile(const SettingsFile&) = delete;
    SettingsFile& operator=(const SettingsFile&) = delete;
    ~SettingsFile() { ::unlink(path_.c_str()); }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
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
