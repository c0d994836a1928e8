#include "engine/repack.hpp"

#include "access/extent_pump.hpp"
#include "base/integers.hpp"
#include "codec/seek_table.hpp"
#include "engine/archive_output.hpp"
#include "engine/assembler.hpp"
#include "engine/extent_writer.hpp"
#include "engine/payload_loader.hpp"
#include "vma/header.hpp"

namespace vmad::engine {
namespace {

/// What is being read and written comes on top of the budget: this much is kept for it.
constexpr std::uint64_t kInFlightBytes = 4 * vma::kMaxExtentPayload;

}  // namespace

RepackResult repack(io::FileSystem& fs, codec::ArchiveSource& source, io::ByteSink& sink,
                    const RepackOptions& options) {
    const auto& cancel = options.task.cancel_flag();
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize,
                             base::checked_add(options.memory_bytes, kInFlightBytes).value_or(UINT64_MAX));
    vma::ArchiveReader reader(source, buffers);
    if (options.configs_read) options.configs_read(reader.header().configs);
    auto header = reader.header();
    if (options.edit_configs) header.configs = options.edit_configs(std::move(header.configs));
    const canon::Layout layout(header);
    if (options.format == codec::ArchiveFormat::zstd && layout.extent_count() >= codec::kMaxSeekFrames)
        throw base::Unsupported("as .vma.zst, disks of more than 64 TiB in all are not supported");
    SpillFile spill(fs, options.spill);
    Assembler assembler(layout, buffers, spill,
                        source.raw_file() != nullptr ? Overflow::drop : Overflow::spill,
                        options.memory_bytes);
    PayloadLoader loader(fs, source.raw_file(), buffers, spill);
    ArchiveOutput output(fs, sink, {options.format, options.zstd_level, options.spill}, cancel);
    auto* const checksums = options.format == codec::ArchiveFormat::zstd ? nullptr : options.checksums;
    if (checksums != nullptr) checksums->begin(vma::parse_header(layout.header()).devices);
    ExtentWriter writer(layout, assembler, loader, output, {options.task.threads, cancel, checksums});
    std::vector<canon::ContentSum> sums(options.task.threads, canon::ContentSum(header));

    access::ExtentPump pump([&](vma::Extent& extent) { return access::next_extent(reader, extent); },
                            options.task.threads, cancel,
                            {[&](const vma::Extent& extent, unsigned worker) {
                                 sums[worker].add(extent.header, extent.payload->data());
                                 assembler.add(extent);
                             },
                             [&] { options.task.report(base::Stage::repacking, source.progress()); },
                             [&](bool failed) { failed ? assembler.abort() : assembler.end(); }});
    const auto written = writer.run();
    pump.join();
    if (written != layout.extent_count())
        throw base::Error("internal error: extents are missing in the repacked archive; please report this");
    options.task.report_end(base::Stage::repacking, source.progress().done_bytes);

    for (std::size_t i = 1; i < sums.size(); ++i) sums[0].merge(sums[i]);
    return {{sums[0].finish(), sums[0].devices(), header.configs, header.ctime},
            reader.offset(),
            source.progress().done_bytes,
            sink.written_bytes(),
            loader.reread_bytes(),
            spill.written_bytes()};
}

}  // namespace vmad::engine
