// A command of vmactl in this process, on a file system of a test. One at a time.
#pragma once

#include <string>
#include <vector>

#include "ctl/commands/command.hpp"

namespace vmad::fault {

struct CommandRun {
    ctl::ExitCode code;
    std::string text;  ///< what it has written to standard output and error
};

/// `words` begin with its name.
[[nodiscard]] CommandRun run_command(io::FileSystem& fs, const std::vector<std::string>& words);

}  // namespace vmad::fault
