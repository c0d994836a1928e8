// SIGINT, SIGTERM and SIGHUP while an archive is worked on: the work ends cleanly instead of the process.
#pragma once

#include <signal.h>

#include <array>

#include "base/task.hpp"

namespace vmad::ctl {

/// While it lives, the signals set flag(). At most one at a time, in the main thread.
class StopSignals {
  public:
    StopSignals();
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;
    /// What the signals did before.
    ~StopSignals();

    [[nodiscard]] const base::CancelFlag& flag() const noexcept;

    /// What the process exits with after base::Cancelled: 128 and the number of the signal.
    [[nodiscard]] static int exit_status() noexcept;

  private:
    static constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};
    std::array<struct sigaction, kSignals.size()> old_;
};

}  // namespace vmad::ctl
