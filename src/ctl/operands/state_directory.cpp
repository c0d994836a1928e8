#include "ctl/operands/state_directory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

namespace vmad::ctl {

std::string default_state_directory() {
    if (::geteuid() == 0) return "/var/lib/vmad";
    // A relative $XDG_STATE_HOME is to be ignored, says its specification.
    if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/')
        return std::string(state) + "/vmad";
    if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
        return std::string(home) + "/.local/state/vmad";
    throw base::UsageError("HOME is not set: name a directory for records and locks with --state-dir");
}

io::File make_directories(io::FileSystem& fs, const std::string& path) {
    for (std::size_t end = 1; end != path.npos;) {
        end = path.find('/', end + 1);
        (void)fs.make_directory(path.substr(0, end), 0700);
    }
    return fs.open(path, O_RDONLY | O_DIRECTORY);
}

}  // namespace vmad::ctl
