#include "daemon/log.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/sinks/systemd_sink.h>
#include <spdlog/spdlog.h>

namespace vmad::daemon {
namespace {

spdlog::level::level_enum level_of(LogLevel level) noexcept {
    switch (level) {
        case LogLevel::debug:
            return spdlog::level::debug;
        case LogLevel::info:
            return spdlog::level::info;
        case LogLevel::warning:
            return spdlog::level::warn;
        case LogLevel::error:
            return spdlog::level::err;
    }
    __builtin_unreachable();
}

template <typename... Texts>
void write(LogLevel level, const char* format, Texts... texts) noexcept {
    try {
        spdlog::log(level_of(level), fmt::runtime(format), texts...);
    } catch (const std::exception&) {
        // There is nobody else to tell.
    }
}

}  // namespace

void set_up_log() {
    if (logs_to_journal()) {
        auto sink = std::make_shared<spdlog::sinks::systemd_sink_st>(kSyslogIdentifier);
        spdlog::set_default_logger(std::make_shared<spdlog::logger>(kSyslogIdentifier, std::move(sink)));
        return;
    }
    spdlog::set_default_logger(spdlog::stderr_color_st(kSyslogIdentifier));
    spdlog::set_pattern(::isatty(STDERR_FILENO) ? "%H:%M:%S %^%l%$ %v" : "%l: %v");
}

bool logs_to_journal() {
    // systemd names the file there; the variable may have been inherited by a program with another stderr.
    const char* named = std::getenv("JOURNAL_STREAM");
    struct stat status {};
    return named != nullptr && ::fstat(STDERR_FILENO, &status) == 0 &&
           fmt::format("{}:{}", status.st_dev, status.st_ino) == named;
}

void log(LogLevel level, std::string_view what) noexcept { write(level, "{}", what); }
void log_info(std::string_view what) noexcept { log(LogLevel::info, what); }
void log_warning(std::string_view what) noexcept { log(LogLevel::warning, what); }
void log_warning(std::string_view what, std::string_view why) noexcept {
    write(LogLevel::warning, "{}: {}", what, why);
}
void log_error(std::string_view what) noexcept { log(LogLevel::error, what); }
void log_error(std::string_view what, std::string_view why) noexcept {
    write(LogLevel::error, "{}: {}", what, why);
}

}  // namespace vmad::daemon
