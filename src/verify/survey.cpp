#include "verify/survey.hpp"

#include <mutex>

#include <fmt/format.h>

#include "access/extent_pump.hpp"
#include "canon/canonical_rules.hpp"
#include "canon/layout.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::verify {
namespace {

/// The first deviation from the canonical layout, by position in the archive, found by several threads.
class FirstDeviation {
  public:
    void note(std::uint64_t offset, std::string_view what) {
        const std::lock_guard lock(mutex_);
        if (text_.empty() || offset < offset_) {
            offset_ = offset;
            text_ = fmt::format("at byte {}: {}", offset, what);
        }
    }
    [[nodiscard]] std::string text() const { return text_; }

  private:
    std::mutex mutex_;
    std::uint64_t offset_ = 0;
    std::string text_;
};

/// Where the frames of a canonical archive end that has these extents.
class ExpectedFrames {
  public:
    explicit ExpectedFrames(std::uint64_t header_bytes) : end_(header_bytes) { ends_.add(end_); }

    /// The next extent, which ends at `end`.
    void add_extent(std::uint64_t number, std::uint64_t end) {
        const bool has_payload = end - end_ > vma::kExtentHeaderSize;
        if (has_payload || number % canon::kExtentsPerGroup == 0) end_run();
        end_ = end;
        in_run_ = !has_payload;
        if (has_payload) ends_.add(end);
    }
    [[nodiscard]] const codec::FrameEnds& finish() {
        end_run();
        return ends_;
    }

  private:
    void end_run() {
        if (in_run_) ends_.add(end_);
        in_run_ = false;
    }

    codec::FrameEnds ends_;
    std::uint64_t end_;  ///< of the last extent
    bool in_run_ = false;
};

void check_layout(const vma::Extent& extent, const canon::Layout& layout, FirstDeviation& deviation) {
    if (extent.number >= layout.extent_count()) return deviation.note(extent.offset, "an extent too many");
    const auto plan = layout.plan(extent.number);
    if (!canon::is_canonical_extent(extent.raw_header, extent.header, plan))
        return deviation.note(extent.offset, "the extent is not the one that belongs here");
    if (!canon::has_canonical_blocks(extent.header, plan, extent.payload->data()))
        deviation.note(extent.payload_offset(),
                       "a block is stored that is all zero or goes past the device's end");
}

/// Unused buffers are kept up to this; what is in flight with four threads fits.
constexpr std::uint64_t kBufferBytes = 10 * vma::kMaxExtentPayload;

}  // namespace

Survey survey(codec::ArchiveSource& source, const base::TaskOptions& options) {
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, kBufferBytes);
    vma::ArchiveReader reader(source, buffers);
    const canon::Layout layout(reader.header());
    FirstDeviation deviation;
    if (!canon::is_canonical_header(reader.raw_header(), layout))
        deviation.note(0, "the header is not canonical");
    std::vector<canon::ContentSum> sums(options.threads, canon::ContentSum(reader.header()));
    std::uint64_t extents = 0;
    ExpectedFrames ends(reader.offset());
    access::ExtentPump pump([&](vma::Extent& extent) { return reader.next(extent); }, options.threads,
                            options.cancel_flag(),
                            {[&](const vma::Extent& extent, unsigned worker) {
                                 sums[worker].add(extent.header, extent.payload->data());
                                 check_layout(extent, layout, deviation);
                             },
                             [&] {
                                 ends.add_extent(extents, reader.offset());
                                 ++extents;
                                 options.report(base::Stage::verifying, source.progress());
                             },
                             [](bool) {}});
    pump.join();
    options.report_end(base::Stage::verifying, source.progress().done_bytes);
    if (extents < layout.extent_count()) deviation.note(reader.offset(), "extents are missing at the end");
    for (std::size_t i = 1; i < sums.size(); ++i) sums[0].merge(sums[i]);
    const auto where = deviation.text();
    return {source.format(),
            reader.header(),
            sums[0].finish(),
            extents,
            reader.offset(),
            source.progress().done_bytes,
            where.empty() ? source.stored_deviation(ends.finish()) : where,
            source.warning()};
}

}  // namespace vmad::verify
