#include "settings/settings_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/unique_fd.hpp"
#include "settings/setting_value.hpp"

namespace vmad::settings {
namespace {

constexpr std::size_t kFileLimitBytes = 1 << 20;

bool is_absence(int error_number) { return error_number == ENOENT || error_number == ENOTDIR; }

std::optional<std::string> read_file(const std::string& path) {
    const auto fail_errno = [&] { fail_to_read(path, std::generic_category().message(errno)); };
    const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && is_absence(errno)) return std::nullopt;
    if (!fd) fail_errno();
    std::string text(kFileLimitBytes + 1, '\0');
    std::size_t size = 0;
    for (;;) {
        const auto count = ::read(fd.get(), text.data() + size, text.size() - size);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_errno();
        size += static_cast<std::size_t>(count);
        if (size > kFileLimitBytes) fail_to_read(path, fmt::format("larger than {} bytes", kFileLimitBytes));
        if (count == 0) break;
    }
    text.resize(size);
    return text;
}

/// Empties a line, counted from 1. False when there is nothing in it.
bool blank_line(std::string& text, std::size_t number) {
    std::size_t begin = 0;
    for (; number > 1; --number) {
        const auto line_feed = text.find('\n', begin);
        if (line_feed == text.npos) return false;
        begin = line_feed + 1;
    }
    const auto end = std::min(text.find('\n', begin), text.size());
    text.erase(begin, end - begin);
    return begin != end;
}

bool is_drop_in(const std::filesystem::directory_entry& entry) {
    const std::string name = entry.path().filename().string();
    std::error_code unknown;  // a link that leads nowhere is no file
    return name.ends_with(".toml") && !name.starts_with('.') && entry.is_regular_file(unknown);
}

}  // namespace

void fail_to_read(const std::string& path, std::string_view why) {
    throw base::UsageError(fmt::format("{}: cannot be read: {}", path, why));
}

std::optional<toml::table> parse_file(const std::string& path) {
    const auto text = read_file(path);
    if (!text) return std::nullopt;
    try {
        return toml::parse(*text, std::string_view(path));
    } catch (const toml::parse_error& error) {
        fail_at(error.source(), fmt::format("not TOML: {}", base::printable_unicode(error.description())),
                "write each key once, as KEY = VALUE, with strings in quotes");
    }
}

toml::table parse_what_is_valid(const std::string& path) {
    // Each round empties a line.
    constexpr int kMostInvalidLines = 100;
    auto text = read_file(path).value_or("");
    for (int i = 0; i < kMostInvalidLines; ++i) {
        try {
            return toml::parse(text, std::string_view(path));
        } catch (const toml::parse_error& error) {
            if (!blank_line(text, error.source().begin.line)) break;
        }
    }
    fail_to_read(path, "too much in it is not TOML");
}

std::vector<std::string> drop_ins(const std::string& directory) {
    std::vector<std::string> paths;
    std::error_code error;
    std::filesystem::directory_iterator entry(directory, error);
    for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
        if (is_drop_in(*entry)) paths.push_back(entry->path().string());
    if (error && !is_absence(error.value())) fail_to_read(directory, error.message());
    std::sort(paths.begin(), paths.end());
    return paths;
}

}  // namespace vmad::settings
