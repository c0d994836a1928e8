// Calls with many replies that are there from the start: List, Archives and Guests. They go out in portions,
// as fast as each client reads, so that neither a long list nor a slow client holds up anybody else. One
// thread, that of the event loop.
#pragma once

#include <functional>
#include <list>
#include <optional>

#include <nlohmann/json.hpp>

#include "varlink/request.hpp"

namespace vmad::daemon {

class Listings {
  public:
    /// The next reply, or nothing after the last. Called from the loop, with changes of what it lists in
    /// between.
    using Next = std::function<std::optional<nlohmann::json>()>;

    Listings() = default;
    Listings(const Listings&) = delete;
    Listings& operator=(const Listings&) = delete;

    /// Without any reply, the answer is a single one without parameters.
    void start(varlink::Request request, Next next);

  private:
    struct Listing {
        varlink::Request request;
        Next next;
        std::optional<nlohmann::json> held{};  ///< not sent before it is known whether another follows
    };
    void send_portion(std::list<Listing>::iterator listing);

    std::list<Listing> listings_;
};

}  // namespace vmad::daemon
