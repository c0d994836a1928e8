#include "ctl/daemon_connection.hpp"

#include <cerrno>

#include <fmt/format.h>

namespace vmad::ctl {

api::QueueClient connect_to_daemon(const GlobalOptions& options) {
    try {
        return api::QueueClient(options.socket);
    } catch (const base::SystemError& error) {
        if (error.number() != EACCES) throw;
        throw base::Error(fmt::format("{}: run as root", error.what()));
    }
}

}  // namespace vmad::ctl
