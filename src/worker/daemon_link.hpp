// The worker's end of the two pipes to the daemon: the order comes in on one, events go out on the other.
//
// When the daemon is gone, nothing can be recorded any more: calls throw DaemonGone then, and the worker
// stops where it is. Any thread may call send, one the rest.
#pragma once

#include <exception>
#include <mutex>

#include "api/worker_messages.hpp"
#include "base/unique_fd.hpp"
#include "varlink/framing.hpp"

namespace vmad::worker {

/// The daemon is gone, or could not keep a record. Not an Error on purpose: it says nothing about the
/// archive.
class DaemonGone : public std::exception {
  public:
    [[nodiscard]] const char* what() const noexcept override {
        return "the daemon is gone or keeps no records";
    }
};

class DaemonLink {
  public:
    DaemonLink(base::UniqueFd orders, base::UniqueFd events)
        : orders_(std::move(orders)), events_(std::move(events)) {}

    /// The order, which is the first thing that the daemon sends.
    [[nodiscard]] api::WorkerOrder receive_order();
    void send(const api::WorkerEvent& event);
    /// Sends the record of a replacement and returns when the daemon has made it durable.
    void record(const api::WorkerRecord& record);

  private:
    [[nodiscard]] std::string receive_line();

    base::UniqueFd orders_;
    varlink::MessageSplitter lines_{'\n'};
    std::mutex sending_;
    base::UniqueFd events_;
};

}  // namespace vmad::worker
