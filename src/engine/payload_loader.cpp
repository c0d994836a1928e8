#include "engine/payload_loader.hpp"

#include <fcntl.h>

#include <algorithm>

namespace vmad::engine {

LoadedPayload PayloadLoader::complete(AssembledExtent& extent) {
    LoadedPayload payload;
    for (auto at = extent.spilled; at != SpillFile::kNone; at = payload.spilled.back().previous) {
        payload.spilled.push_back(spill_.read(at));
        for (const auto& spilled : payload.spilled.back().clusters) {
            auto& cluster = extent.clusters[spilled.slot];
            cluster.mask = spilled.mask;
            cluster.source_offset = spilled.source_offset;
            cluster.blocks = spilled.blocks;
        }
    }
    if (source_ != nullptr) read_again(extent, payload);
    return payload;
}

void PayloadLoader::read_again(AssembledExtent& extent, LoadedPayload& payload) {
    std::vector<AssembledCluster*> dropped;
    std::size_t size = 0;
    for (unsigned i = 0; i < extent.plan.cluster_count; ++i) {
        auto& cluster = extent.clusters[i];
        if (cluster.mask == 0 || cluster.blocks != nullptr) continue;
        dropped.push_back(&cluster);
        size += vma::stored_bytes(cluster.mask);
    }
    if (dropped.empty()) return;
    payload.reread = buffers_.get(size);
    std::sort(dropped.begin(), dropped.end(),
              [](const auto* a, const auto* b) { return a->source_offset < b->source_offset; });
    for (const auto* cluster : dropped)
        fs_.advise(*source_, cluster->source_offset, vma::stored_bytes(cluster->mask), POSIX_FADV_WILLNEED);
    std::size_t at = 0;
    for (auto* cluster : dropped) {
        const std::span into(payload.reread->data() + at, vma::stored_bytes(cluster->mask));
        if (io::read_fully_at(fs_, *source_, into, cluster->source_offset) < into.size())
            throw base::FormatError(cluster->source_offset, "source-truncated",
                                    "the archive became shorter while it was read");
        cluster->blocks = into.data();
        at += into.size();
    }
    reread_bytes_ += size;
}

}  // namespace vmad::engine
