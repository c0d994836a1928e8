// The socket that the daemon serves: the one that systemd listens at for it, or one of its own.
#pragma once

#include <string>

#include "base/unique_fd.hpp"

namespace vmad::daemon {

/// What the socket unit calls its socket (FileDescriptorName=).
inline constexpr char kSocketName[] = "varlink";

class ServiceSocket {
  public:
    /// Takes the socket named kSocketName from the service manager, wherever that listens; else listens at
    /// `path`, for the daemon's own user only. Throws base::Error, also when the manager passed something
    /// else under that name.
    explicit ServiceSocket(const std::string& path);
    ServiceSocket(const ServiceSocket&) = delete;
    ServiceSocket& operator=(const ServiceSocket&) = delete;
    /// Removes the name of a socket of our own. One of the manager's stays: clients are queued there until
    /// the next start.
    ~ServiceSocket();

    /// The descriptor, once.
    [[nodiscard]] base::UniqueFd take() noexcept { return std::move(socket_); }

  private:
    base::UniqueFd socket_;
    std::string own_path_;  ///< empty: not ours
};

}  // namespace vmad::daemon
