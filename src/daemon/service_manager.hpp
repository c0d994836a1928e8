// The service manager that started the daemon: what the daemon reports to it (sd_notify(3)), and the socket
// that it listens at for the daemon. Without a manager nothing is reported, and the socket is our own. One
// thread.
#pragma once

#include <string>
#include <vector>

#include "api/status.hpp"
#include "base/unique_fd.hpp"

namespace vmad::daemon {

void notify_ready();
void notify_stopping();

/// Reports that a reload begins and, when it is destroyed, that it is over, however it went.
class ReloadNotice {
  public:
    ReloadNotice();
    ReloadNotice(const ReloadNotice&) = delete;
    ReloadNotice& operator=(const ReloadNotice&) = delete;
    ~ReloadNotice();
};

/// The line that the service manager shows beside the service's name: how many jobs there are, and how far
/// the running ones.
class StatusLine {
  public:
    /// Sends it when it has changed.
    void update(const api::JobCounts& counts, const std::vector<api::Job>& active);

  private:
    std::string sent_;
};

/// What the socket unit calls its socket (FileDescriptorName=).
inline constexpr char kSocketName[] = "varlink";

/// The socket that the daemon serves.
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
