#include "verify/survey.hpp"

#include <atomic>
#include <bit>
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

/// Devices with a stored block behind their end. Proxmox VE's reader writes whole clusters up to the end, but
/// takes a block of any other one that begins behind it for an error.
class BlocksBeyondEnd {
  public:
    /// Any thread.
    void look_at(const vma::ExtentHeader& extent, const vma::Header& header) noexcept {
        constexpr std::uint16_t kWhole = 0xffff;
        for (const auto& slot : extent.slots) {
            if (slot.device_id == 0 || slot.mask == 0 || slot.mask == kWhole) continue;
            const auto last = static_cast<unsigned>(std::bit_width(slot.mask)) - 1;
            const auto begin = slot.cluster * std::uint64_t{vma::kClusterSize} + last * vma::kBlockSize;
            if (begin >= header.device(slot.device_id)->size_bytes) devices_[slot.device_id] = true;
        }
    }
    [[nodiscard]] std::string text(const vma::Header& header) const {
        for (const auto& device : header.devices)
            if (devices_[device.id])
                return fmt::format(
                    "blocks are stored behind the end of {}: Proxmox VE cannot restore it until it "
                    "is repacked",
                    device.name);
        return "";
    }

  private:
    std::array<std::atomic<bool>, vma::kDeviceSlots> devices_{};
};

/// vma writes each config to a file of its name, and qmrestore tells it where each disk goes by lines of
/// words that are parted by spaces, colons and the first "=".
std::string name_warning(const vma::Header& header) {
    const auto warn = [](std::string_view what, const std::string& name) {
        return fmt::format("Proxmox VE cannot restore it: the {} has the name \"{}\"", what, name);
    };
    for (const auto& config : header.configs)
        if (config.name.find('/') != config.name.npos || config.name == "." || config.name == "..")
            return warn("config", config.name);
    for (const auto& device : header.devices)
        if (device.name.find_first_of(" \t\n\v\f\r/:=") != device.name.npos) return warn("disk", device.name);
    return "";
}

std::string joined(const std::vector<std::string>& warnings) {
    std::string text;
    for (const auto& warning : warnings)
        if (!warning.empty()) text += (text.empty() ? "" : "; ") + warning;
    return text;
}

/// Unused buffers are kept up to this; what is in flight with four threads fits.
constexpr std::uint64_t kBufferBytes = 10 * vma::kMaxExtentPayload;

}  // namespace

Survey survey(codec::ArchiveSource& source, const base::TaskOptions& options,
              const std::function<void(const vma::Extent&)>& extent_read) {
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, kBufferBytes);
    vma::ArchiveReader reader(source, buffers);
    const canon::Layout layout(reader.header());
    FirstDeviation deviation;
    BlocksBeyondEnd beyond_end;
    if (!canon::is_canonical_header(reader.raw_header(), layout))
        deviation.note(0, "the header is not canonical");
    std::vector<canon::ContentSum> sums(options.threads, canon::ContentSum(reader.header()));
    std::uint64_t extents = 0;
    ExpectedFrames ends(reader.offset());
    access::ExtentPump pump([&](vma::Extent& extent) { return access::next_extent(reader, extent); },
                            options.threads, options.cancel_flag(),
                            {[&](const vma::Extent& extent, unsigned worker) {
                                 sums[worker].add(extent.header, extent.payload->data());
                                 check_layout(extent, layout, deviation);
                                 beyond_end.look_at(extent.header, reader.header());
                                 if (extent_read) extent_read(extent);
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
            sums[0].devices(),
            extents,
            reader.offset(),
            source.progress().done_bytes,
            where.empty() ? source.stored_deviation(ends.finish()) : where,
            joined({source.warning(), beyond_end.text(reader.header()), name_warning(reader.header())})};
}

}  // namespace vmad::verify
