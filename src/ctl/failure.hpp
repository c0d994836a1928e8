// What an exception means to whoever called vmactl: an exit code and one line of text. The one place for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ctl/exit_code.hpp"
#include "ctl/text/console.hpp"

namespace vmad::ctl {

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
/// about, and returns its code.
[[nodiscard]] ExitCode report_failure(Console& console, const std::string& archive);

}  // namespace vmad::ctl
