// The connection of a command to the daemon.
#pragma once

#include "api/queue_client.hpp"
#include "ctl/commands/command.hpp"

namespace vmad::ctl {

/// Throws what QueueClient throws, and base::Error that says what to do when the socket is not for us.
[[nodiscard]] api::QueueClient connect_to_daemon(const GlobalOptions& options);

}  // namespace vmad::ctl
