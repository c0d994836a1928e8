#include "repack/proof.hpp"

#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "canon/canonical_rules.hpp"
#include "canon/layout.hpp"
#include "io/device_source.hpp"
#include "repack/extent_pump.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::repack {
namespace {

/// The first departure from the canonical layout, by position in the archive, found by several threads.
class FirstDeparture {
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

void check_layout(const vma::Extent& extent, const canon::Layout& layout, FirstDeparture& departure) {
    if (extent.number >= layout.extent_count()) return departure.note(extent.offset, "an extent too many");
    const auto plan = layout.plan(extent.number);
    if (!canon::is_canonical_extent(extent.raw_header, extent.header, plan))
        return departure.note(extent.offset, "the extent is not the one that belongs here");
    if (!canon::has_canonical_blocks(extent.header, plan, extent.payload->data()))
        departure.note(extent.payload_offset(),
                       "a block is stored that is all zero or goes past the device's end");
}

/// Unused buffers are kept up to this; what is in flight with four threads fits.
constexpr std::uint64_t kBufferBytes = 10 * vma::kMaxExtentPayload;

}  // namespace

unsigned default_threads() noexcept { return std::clamp(std::thread::hardware_concurrency() / 2, 1u, 4u); }

Survey survey(io::ByteSource& source, const TaskOptions& options) {
    static const base::CancelFlag never;
    base::BufferPool buffers(vma::kMaxExtentPayload, vma::kClusterSize, kBufferBytes);
    vma::ArchiveReader reader(source, buffers);
    const canon::Layout layout(reader.header());
    FirstDeparture departure;
    if (!canon::is_canonical_header(reader.raw_header(), layout))
        departure.note(0, "the header is not canonical");
    std::vector<canon::ContentSum> sums(options.threads, canon::ContentSum(reader.header()));
    std::atomic<std::uint64_t> extents = 0;
    const auto total = source.size_bytes().value_or(0);
    ExtentPump pump(reader, options.threads, options.cancel != nullptr ? *options.cancel : never,
                    {[&](const vma::Extent& extent, unsigned worker) {
                         sums[worker].add(extent.header, extent.payload->data());
                         check_layout(extent, layout, departure);
                         ++extents;
                     },
                     [&](std::uint64_t offset) {
                         if (options.progress) options.progress({base::Stage::proving, offset, total});
                     },
                     [](bool) {}});
    pump.join();
    for (std::size_t i = 1; i < sums.size(); ++i) sums[0].merge(sums[i]);
    return {reader.header(), sums[0].finish(), extents, reader.offset(), departure.text()};
}

void prove(io::FileSystem& fs, const io::File& file, const Fingerprint& expected,
           const TaskOptions& options) {
    // What the device holds counts, not what memory holds of it.
    io::DeviceSource source(fs, file);
    try {
        const auto found = survey(source, options);
        if (!found.departure.empty()) throw ProofError("the copy is not canonical: " + found.departure);
        if (found.digest != expected.digest)
            throw ProofError(fmt::format("the copy holds other content than its source: digest {}, not {}",
                                         found.digest.to_hex(), expected.digest.to_hex()));
        if (Fingerprint{found.digest, found.header.configs, found.header.ctime} != expected)
            throw ProofError("the copy has other configs or another ctime than its source");
    } catch (const base::FormatError& error) {
        throw ProofError(fmt::format("the copy is not a valid archive: {}", error.what()));
    } catch (const base::Unsupported& error) {
        throw ProofError(fmt::format("the copy is not a valid archive: {}", error.what()));
    }
}

bool has_canonical_headers(io::FileSystem& fs, const io::File& file, const base::CancelFlag& cancel) {
    try {
        const auto size = static_cast<std::uint64_t>(fs.status(file).st_size);
        std::vector<std::byte> raw(vma::kFixedHeaderSize);
        if (io::read_fully_at(fs, file, raw, 0) < raw.size()) return false;
        raw.resize(vma::parse_header_size(std::span<const std::byte, vma::kFixedHeaderSize>(raw)));
        if (raw.size() > size || io::read_fully_at(fs, file, raw, 0) < raw.size()) return false;
        const auto header = vma::parse_header(raw);
        if (header.uuid != canon::kUuid) return false;
        const canon::Layout layout(header);
        if (!canon::is_canonical_header(raw, layout)) return false;
        std::uint64_t offset = raw.size();
        for (std::uint64_t number = 0; number < layout.extent_count(); ++number) {
            cancel.check();
            std::array<std::byte, vma::kExtentHeaderSize> raw_extent;
            if (io::read_fully_at(fs, file, raw_extent, offset) < raw_extent.size()) return false;
            const auto extent = vma::parse_extent_header(raw_extent, header.uuid, offset);
            if (!canon::is_canonical_extent(raw_extent, extent, layout.plan(number))) return false;
            offset += raw_extent.size() + extent.payload_bytes();
        }
        return offset == size;
    } catch (const base::FormatError&) {
        return false;
    } catch (const base::Unsupported&) {
        return false;
    }
}

}  // namespace vmad::repack
