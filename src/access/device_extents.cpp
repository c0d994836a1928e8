#include "access/device_extents.hpp"

#include "base/error.hpp"

namespace vmad::access {

std::optional<DeviceExtents> DeviceExtents::find(io::FileSystem& fs, const io::File& file,
                                                 const std::vector<vma::Device>& devices,
                                                 base::BufferPool& buffers, const base::CancelFlag& cancel) {
    try {
        auto cursor = RegionCursor::open(fs, file);
        if (!cursor) return std::nullopt;
        DeviceExtents result(*cursor, buffers);
        for (const auto& device : devices) result.wanted_.set(device.id);
        for (StoredExtents extents; cursor->next(extents);) {
            cancel.check();
            if (!result.is_wanted(extents)) continue;
            cursor->check_headers(extents);
            if (extents.has_payload()) result.progress_.total_bytes += extents.frame.stored_bytes;
        }
        return result;
    } catch (const NotCanonical&) {
    } catch (const base::InvalidArchive&) {
    } catch (const base::Unsupported&) {
    }
    return std::nullopt;
}

bool DeviceExtents::is_wanted(const StoredExtents& extents) const {
    return wanted_.test(cursor_.layout().plan(extents.number).device_id);
}

bool DeviceExtents::next(vma::Extent& extent) {
    for (StoredExtents extents; cursor_.next(extents);) {
        if (!extents.has_payload() || !is_wanted(extents)) continue;
        extent = cursor_.read(extents, buffers_);
        progress_.done_bytes += extents.frame.stored_bytes;
        return true;
    }
    return false;
}

}  // namespace vmad::access
