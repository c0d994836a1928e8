// Unix stream sockets by their path: the address in the kernel's form, and a listening socket for a daemon
// that did not get one from its service manager.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <string>

#include "base/unique_fd.hpp"

namespace vmad::varlink {

/// Throws base::Error when the path does not fit.
[[nodiscard]] sockaddr_un socket_address(const std::string& path);

/// Binds and listens at `path` with exactly `mode`; at no moment is it wider. Replaces a socket that a dead
/// process left behind, but nothing else: throws base::Error when somebody answers there or when it is not a
/// socket, SystemError when a call fails. Two callers at the same time are kept apart by a lock of their own.
[[nodiscard]] base::UniqueFd listen_at(const std::string& path, mode_t mode);

}  // namespace vmad::varlink
