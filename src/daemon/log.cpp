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

}  // namespace vmad::daemon
