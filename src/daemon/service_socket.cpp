#include "daemon/service_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "base/error.hpp"
#include "varlink/event_source.hpp"
#include "varlink/listening_socket.hpp"

namespace vmad::daemon {
namespace {

constexpr mode_t kSocketMode = 0600;

/// The descriptor that the service manager passed under the name; none when it passed none.
base::UniqueFd passed_socket() {
    char** names = nullptr;
    // Not kept in the environment: children have none of it.
    const int count = sd_listen_fds_with_names(1, &names);
    varlink::check_event(count, "sd_listen_fds_with_names");
    base::UniqueFd found;
    for (int i = 0; i < count; ++i) {
        base::UniqueFd fd(SD_LISTEN_FDS_START + i);
        if (!found && std::string_view(names[i]) == kSocketName) found = std::move(fd);
        std::free(names[i]);
    }
    std::free(names);
    if (found && sd_is_socket(found.get(), AF_UNIX, SOCK_STREAM, 1) <= 0)
        throw base::Error(fmt::format("what the service manager passed as \"{}\" is no listening Unix socket",
                                      kSocketName));
    return found;
}

}  // namespace

ServiceSocket::ServiceSocket(const std::string& path) : socket_(passed_socket()) {
    if (socket_) return;
    socket_ = varlink::listen_at(path, kSocketMode);
    own_path_ = path;
}

ServiceSocket::~ServiceSocket() {
    if (!own_path_.empty()) ::unlink(own_path_.c_str());
}

}  // namespace vmad::daemon
