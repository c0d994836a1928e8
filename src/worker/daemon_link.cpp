#include "worker/daemon_link.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "base/error.hpp"

namespace vmad::worker {

std::string DaemonLink::receive_line() {
    for (;;) {
        if (auto line = lines_.next()) return *line;
        std::array<char, 4096> bytes;
        const auto count = ::read(orders_.get(), bytes.data(), bytes.size());
        if (count > 0)
            lines_.add({bytes.data(), static_cast<std::size_t>(count)});
        else if (count == 0)
            throw DaemonGone();
        else if (errno != EINTR)
            base::throw_errno("read", "the daemon's orders");
    }
}

api::WorkerOrder DaemonLink::receive_order() { return api::worker_order_from_line(receive_line()); }

void DaemonLink::send(const api::WorkerEvent& event) {
    const auto line = api::to_line(event);
    const std::lock_guard lock(sending_);
    for (std::string_view rest = line; !rest.empty();) {
        const auto count = ::write(events_.get(), rest.data(), rest.size());
        if (count == 0) throw base::SystemError(EIO, "write (which took 0 bytes)", "events to the daemon");
        if (count > 0)
            rest.remove_prefix(static_cast<std::size_t>(count));
        else if (errno == EPIPE)
            throw DaemonGone();
        else if (errno != EINTR)
            base::throw_errno("write", "events to the daemon");
    }
}

void DaemonLink::record(const api::WorkerRecord& record) {
    send(record);
    if (receive_line() + '\n' != api::kRecordedLine) throw DaemonGone();
}

}  // namespace vmad::worker
