// Waits for jobs, and prints a line for each one that ends; on a terminal with what the daemon is doing.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/queue_client.hpp"
#include "ctl/commands/command.hpp"

namespace vmad::ctl {

class JobWait {
  public:
    /// Waits as long as it takes when `timeout_seconds` is 0.
    JobWait(Context& context, std::int64_t timeout_seconds);

    /// For the jobs of the call, or for all unfinished ones when it names none. Returns `failed` when one of
    /// them failed or was cancelled, `timed_out` when some have not ended. Throws what QueueClient throws.
    [[nodiscard]] ExitCode run(api::WaitCall call);
    /// For the unfinished jobs of archives below these directories, absolute paths.
    [[nodiscard]] ExitCode run_below(const std::vector<std::string>& directories);

  private:
    using Clock = std::chrono::steady_clock;

    /// The daemon of before, or the one that has been started since.
    [[nodiscard]] api::QueueClient connect_again() const;
    /// False when the daemon went away meanwhile.
    [[nodiscard]] bool wait_once(api::QueueClient& daemon, const api::WaitCall& call,
                                 const api::QueueClient::OnJob& on_end) const;

    Context& context_;
    std::int64_t timeout_seconds_;
    std::optional<Clock::time_point> end_;
    ExitCode code_ = ExitCode::done;
};

}  // namespace vmad::ctl
