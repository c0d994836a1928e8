#include "access/device_extents.hpp"

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "canon/canonical_rules.hpp"
#include "codec/seek_frame.hpp"
#include "vma/extent.hpp"

namespace vmad::access {
namespace {

constexpr std::size_t kMaxExtent = vma::kExtentHeaderSize + vma::kMaxExtentPayload;

/// True when the frame begins with the header of the extent that `plan` asks for, and is as long as it says.
bool begins_as_planned(io::FileSystem& fs, const io::File& file, const codec::SeekFrame& frame,
                       const canon::ExtentPlan& plan) {
    std::array<std::byte, vma::kExtentHeaderSize> raw;
    return codec::read_frame_start(fs, file, frame, raw) &&
           canon::canonical_extent_bytes(raw, plan) == frame.bytes;
}

}  // namespace

std::optional<DeviceExtents> DeviceExtents::find(io::FileSystem& fs, const io::File& file,
                                                 const vma::ArchiveReader& reader,
                                                 const std::vector<vma::Device>& devices,
                                                 base::BufferPool& buffers, const base::CancelFlag& cancel) {
    const auto found = codec::read_seek_table(fs, file);
    const canon::Layout layout(reader.header());
    if (!found.table || !canon::is_canonical_header(reader.raw_header(), layout) ||
        found.table->frames.size() != layout.extent_count() + 1)
        return std::nullopt;
    DeviceExtents result(fs, file, buffers);
    std::uint64_t offset = found.table->frames[0].bytes;
    for (std::uint64_t number = 0; number < layout.extent_count(); ++number) {
        const auto& frame = found.table->frames[number + 1];
        const auto plan = layout.plan(number);
        if (std::any_of(devices.begin(), devices.end(),
                        [&](const auto& device) { return device.id == plan.device_id; })) {
            cancel.check();
            if (!begins_as_planned(fs, file, frame, plan)) return std::nullopt;
            result.wanted_.push_back({number, offset, plan, frame});
            result.progress_.total_bytes += frame.stored_bytes;
        }
        offset += frame.bytes;
    }
    return result;
}

bool DeviceExtents::next(vma::Extent& extent) {
    if (next_ == wanted_.size()) return false;
    const auto& wanted = wanted_[next_++];
    const auto bytes = codec::read_frame(fs_, file_, wanted.frame, kMaxExtent);
    if (!bytes || bytes->size() < vma::kExtentHeaderSize) throw SeekTableMismatch();
    extent.number = wanted.number;
    extent.offset = wanted.offset;
    std::memcpy(extent.raw_header.data(), bytes->data(), extent.raw_header.size());
    extent.header = vma::parse_extent_header(extent.raw_header, canon::kCanonicalUuid, extent.offset);
    const auto size = extent.header.payload_bytes();
    if (!canon::is_canonical_extent(extent.raw_header, extent.header, wanted.plan) ||
        bytes->size() != vma::kExtentHeaderSize + size)
        throw SeekTableMismatch();
    extent.payload = buffers_.get(size);
    std::memcpy(extent.payload->data(), bytes->data() + vma::kExtentHeaderSize, size);
    progress_.done_bytes += wanted.frame.stored_bytes;
    return true;
}

}  // namespace vmad::access
