#include "repack/repack.hpp"

#include <fcntl.h>

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "canon/sealed_extent.hpp"
#include "repack/assembler.hpp"
#include "repack/extent_pump.hpp"
#include "repack/ordered_writer.hpp"
#include "vma/extent.hpp"

namespace vmad::repack {
namespace {

/// What is being read and written comes on top of the budget: this much is kept for it.
constexpr std::uint64_t kInFlightBytes = 4 * vma::kMaxExtentPayload;

/// Reads payload that was dropped for want of memory, by its offset in the source.
class Rereader {
  public:
    Rereader(io::FileSystem& fs, const io::File& source, base::BufferPool& buffers)
        : fs_(fs), source_(source), buffers_(buffers) {}

    /// Completes the clusters of the extent. The buffer with their blocks lives in `keep`.
    void complete(AssembledExtent& extent, std::shared_ptr<base::Buffer>& keep) {
        std::vector<AssembledCluster*> dropped;
        std::size_t size = 0;
        for (unsigned i = 0; i < extent.plan.cluster_count; ++i) {
            auto& cluster = extent.clusters[i];
            if (cluster.mask == 0 || cluster.blocks != nullptr) continue;
            dropped.push_back(&cluster);
            size += cluster.stored_bytes();
        }
        if (dropped.empty()) return;
        keep = buffers_.get(size);
        std::sort(dropped.begin(), dropped.end(),
                  [](const auto* a, const auto* b) { return a->source_offset < b->source_offset; });
        for (const auto* cluster : dropped)
            fs_.advise(source_, cluster->source_offset, cluster->stored_bytes(), POSIX_FADV_WILLNEED);
        std::size_t at = 0;
        for (auto* cluster : dropped) {
            const std::span into(keep->data() + at, cluster->stored_bytes());
            if (io::read_fully_at(fs_, source_, into, cluster->source_offset) < into.size())
                throw base::FormatError(cluster->source_offset,
                                        "the archive became shorter while it was read");
            cluster->blocks = into.data();
            at += into.size();
        }
        reread_bytes_ += size;
    }
    [[nodiscard]] std::uint64_t reread_bytes() const noexcept { return reread_bytes_; }

  private:
    io::FileSystem& fs_;
    const io::File& source_;
    base::BufferPool& buffers_;
    std::uint64_t reread_bytes_ = 0;
};

/// Gathers what the assembler forgot from the source's extent headers, which the first pass has checked.
void rescan(io::FileSystem& fs, const io::File& source, const vma::Header& header,
            const base::CancelFlag& cancel, Assembler& assembler) {
    const auto size = static_cast<std::uint64_t>(fs.status(source).st_size);
    assembler.begin_pass();
    vma::ClusterMap clusters(header, size);
    vma::Extent extent;
    for (extent.offset = header.size_bytes; extent.offset < size;
         extent.offset = extent.payload_offset() + extent.header.payload_bytes()) {
        cancel.check();
        if (io::read_fully_at(fs, source, extent.raw_header, extent.offset) < extent.raw_header.size())
            throw base::FormatError(extent.offset, "the archive became shorter while it was read");
        extent.header = vma::parse_extent_header(extent.raw_header, header.uuid, extent.offset);
        clusters.add(extent.header, extent.offset);
        assembler.add(extent);
    }
    // Whatever is complete now gets the next extent written, so every pass gets some way.
    clusters.require_complete(extent.offset);
    assembler.end_pass();
}

}  // namespace

RepackResult repack(io::FileSystem& fs, const io::File& source, const io::File& destination,
                    const RepackOptions& options) {
    static const base::CancelFlag never;
    const auto& cancel = options.task.cancel != nullptr ? *options.task.cancel : never;
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize,
                             options.memory_bytes + kInFlightBytes);
    io::FileSource stream(fs, source, options.source_cache);
    vma::ArchiveReader reader(stream, buffers);
    const canon::Layout layout(reader.header());
    Assembler assembler(layout, buffers, options.memory_bytes);
    std::vector<canon::ContentSum> sums(options.task.threads, canon::ContentSum(reader.header()));
    OrderedWriter writer(fs, destination, options.before_write);
    Rereader rereader(fs, source, buffers);

    const auto write_header = [&] {
        auto bytes = layout.header();
        iovec slice{bytes.data(), bytes.size()};
        writer.append({&slice, 1}, bytes.size());
    };
    const auto write_complete_extents = [&] {
        while (auto extent = assembler.next()) {
            cancel.check();
            std::shared_ptr<base::Buffer> reread;
            rereader.complete(*extent, reread);
            if (options.spoil) options.spoil(*extent);
            std::array<canon::StoredCluster, vma::kSlotsPerExtent> clusters;
            for (unsigned i = 0; i < extent->plan.cluster_count; ++i)
                clusters[i] = {extent->clusters[i].mask, extent->clusters[i].blocks};
            canon::SealedExtent sealed(extent->plan, clusters);
            writer.append(sealed.slices(), sealed.size_bytes());
            assembler.written(*extent);
        }
    };

    const auto total = stream.size_bytes().value_or(0);
    ExtentPump pump(reader, options.task.threads, cancel,
                    {[&](const vma::Extent& extent, unsigned worker) {
                         sums[worker].add(extent.header, extent.payload->data());
                         assembler.add(extent);
                     },
                     [&](std::uint64_t offset) {
                         if (options.task.progress)
                             options.task.progress({base::Stage::repacking, offset, total});
                     },
                     [&](bool failed) { failed ? assembler.abort() : assembler.end_pass(); }});
    try {
        write_header();
        write_complete_extents();
    } catch (...) {
        assembler.abort();  // or the pump's threads would wait for this one
        throw;
    }
    pump.join();
    while (!assembler.finished()) {
        rescan(fs, source, reader.header(), cancel, assembler);
        write_complete_extents();
    }

    for (std::size_t i = 1; i < sums.size(); ++i) sums[0].merge(sums[i]);
    return {{sums[0].finish(), reader.header().configs, reader.header().ctime},
            reader.offset(),
            writer.written_bytes(),
            rereader.reread_bytes()};
}

}  // namespace vmad::repack
