#include "daemon/listings.hpp"

#include <algorithm>

namespace vmad::daemon {
namespace {

/// Some 100 KB, and a millisecond of work.
constexpr unsigned kJobsInPortion = 100;

}  // namespace

void Listings::start(varlink::Request request, const api::ListCall& call) {
    listings_.push_front({std::move(request), call.states});
    const auto self = listings_.begin();
    self->request.when_gone([this, self] { listings_.erase(self); });
    send_portion(self);
}

void Listings::send_portion(std::list<Listing>::iterator listing) {
    const auto wanted = [&](const api::Job& job) {
        const auto& states = listing->states;
        return states.empty() || std::find(states.begin(), states.end(), job.state) != states.end();
    };
    unsigned sent = 0;
    for (auto next = queue_.jobs().upper_bound(listing->last_id); next != queue_.jobs().end(); ++next) {
        if (sent == kJobsInPortion) {
            listing->request.when_drained([this, listing] { send_portion(listing); });
            return;
        }
        listing->last_id = next->first;
        if (!wanted(next->second)) continue;
        if (listing->held) {
            listing->request.reply_continues(api::JobReply{listing->held});
            ++sent;
        }
        listing->held = runner_.with_progress(next->second);
    }
    listing->request.reply(api::JobReply{listing->held});
    listings_.erase(listing);
}

}  // namespace vmad::daemon
