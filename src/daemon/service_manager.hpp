// What the daemon tells the service manager that started it (sd_notify(3)). Without one, nothing happens. One
// thread.
#pragma once

#include <string>
#include <vector>

#include "api/status.hpp"

namespace vmad::daemon {

void tell_ready();
void tell_stopping();

/// Tells that a reload begins and, when it is destroyed, that it is over, however it went.
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
    /// Tells it, when it is another one than last time.
    void tell(const api::JobCounts& counts, const std::vector<api::Job>& active);

  private:
    std::string told_;
};

}  // namespace vmad::daemon
