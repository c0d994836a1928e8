// The path of a Unix socket in the form that the kernel wants.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::varlink {

/// Throws base::Error when the path does not fit.
[[nodiscard]] inline sockaddr_un socket_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        throw base::Error(fmt::format("the path of a socket has 1 to {} bytes, this one has {}: {}",
                                      sizeof address.sun_path - 1, path.size(), path));
    path.copy(address.sun_path, path.size());
    return address;
}

}  // namespace vmad::varlink
