// Sums up what the daemon knows by guest and storage: the archives of the catalogue, and the jobs of the last
// days. Nothing is looked at; one pass over both. One thread, that of the event loop.
#pragma once

#include <cstdint>
#include <vector>

#include "api/guest_summary.hpp"
#include "queue/catalogue.hpp"
#include "queue/queue.hpp"

namespace vmad::daemon {

/// By storage and guest. An archive or job without the name of a storage counts to that of another in its
/// directory that has one.
[[nodiscard]] std::vector<api::GuestSummary> guest_summaries(const queue::Queue& queue,
                                                             const queue::Catalogue& catalogue,
                                                             std::int64_t now);

}  // namespace vmad::daemon
