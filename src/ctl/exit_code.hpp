// What vmactl exits with; a contract with scripts, documented in --help.
#pragma once

namespace vmad::ctl {

enum class ExitCode {
    done = 0,
    failed = 1,
    usage = 2,
    unreachable = 3,  ///< the daemon
    no_such_job = 4,
    timed_out = 5,
    invalid = 6,  ///< an archive is damaged, or of a kind that is not supported
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

}  // namespace vmad::ctl
