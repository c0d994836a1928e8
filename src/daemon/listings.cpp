#include "daemon/listings.hpp"

#include <utility>

namespace vmad::daemon {
namespace {

/// Some 100 KB, and a millisecond of work.
constexpr unsigned kRepliesInPortion = 100;

}  // namespace

void Listings::start(varlink::Request request, Next next) {
    listings_.push_front({std::move(request), std::move(next)});
    const auto self = listings_.begin();
    self->request.when_gone([this, self] { listings_.erase(self); });
    self->held = self->next();
    send_portion(self);
}

void Listings::send_portion(std::list<Listing>::iterator listing) {
    for (unsigned sent = 0; listing->held; ++sent) {
        if (sent == kRepliesInPortion) {
            listing->request.when_drained([this, listing] { send_portion(listing); });
            return;
        }
        auto following = listing->next();
        if (!following) break;
        listing->request.reply_continues(std::exchange(*listing->held, *std::move(following)));
    }
    listing->request.reply(listing->held.value_or(nlohmann::json::object()));
    listings_.erase(listing);
}

}  // namespace vmad::daemon
