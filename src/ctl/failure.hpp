// What vmactl exits with, and what an exception means to whoever called it: an exit code and one line of
// text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ctl/text/console.hpp"

namespace vmad::ctl {

/// Promised to scripts: vmactl(1) lists them.
enum class ExitCode {
    done = 0,
    failed = 1,
    usage = 2,
    unreachable = 3,  ///< the daemon
    no_such_job = 4,
    timed_out = 5,
    invalid = 6,  ///< an archive is damaged, or of an unsupported format
    busy = 7,     ///< an archive is worked on by another process, or may still be written
};

/// Of several files that were dealt with one by one, the one that a script has to hear about most: a bad
/// archive before other failures, and those before one that is only busy.
[[nodiscard]] inline ExitCode worse(ExitCode a, ExitCode b) noexcept {
    const auto rank = [](ExitCode code) {
        switch (code) {
            case ExitCode::done:
                return 0;
            case ExitCode::busy:
                return 1;
            case ExitCode::invalid:
                return 3;
            default:
                return 2;
        }
    };
    return rank(b) > rank(a) ? b : a;
}

struct Failure {
    ExitCode code = ExitCode::failed;
    std::string message;
    std::optional<std::uint64_t> offset{};  ///< in an invalid archive, where there is a place
    std::string rule{};                     ///< that an invalid archive breaks; empty for other failures
};

/// For the exception in flight: call it in a catch block. What is wrong with an archive comes without the
/// archive's path, because the exception does not know it. Passes base::Cancelled on.
[[nodiscard]] Failure current_failure();

/// Writes the message of the exception in flight to standard error, with the path of the archive that it is
/// about, if it is about one, and returns its code. In JSON it has exit_code, and path, rule and offset where
/// they apply.
[[nodiscard]] ExitCode report_failure(Console& console, const std::string& archive = {});

}  // namespace vmad::ctl
