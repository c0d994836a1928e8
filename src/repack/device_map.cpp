#include "repack/device_map.hpp"

#include <algorithm>
#include <optional>

namespace vmad::repack {
namespace {

/// Asked for at once, in bytes of the file.
constexpr std::uint64_t kWindowBytes = std::uint64_t{1} << 30;

/// From a place on, bytes that stand in one piece, or have no place that is known.
struct Piece {
    std::optional<std::uint64_t> device_offset;
    std::uint64_t bytes = 0;
};

Piece piece_at(DeviceMap& map, std::uint64_t offset, std::uint64_t bytes) {
    const auto* extent = map.find(offset, offset + bytes);
    if (extent == nullptr) return {{}, bytes};
    if (extent->offset > offset) return {{}, extent->offset - offset};
    const auto inside = offset - extent->offset;
    Piece piece{extent->device_offset, std::min(bytes, extent->bytes - inside)};
    // Of an encoded one only the whole has a place. Parts of it are never at the place of something else.
    if (piece.device_offset && !extent->is_encoded) *piece.device_offset += inside;
    return piece;
}

}  // namespace

const io::DeviceExtent* DeviceMap::find(std::uint64_t offset, std::uint64_t end) {
    while (offset < end) {
        if (offset < known_from_ || offset >= known_to_) {
            known_from_ = offset;
            extents_ = fs_.extents(file_, offset, kWindowBytes);
            known_to_ =
                extents_.empty() ? offset + kWindowBytes : extents_.back().offset + extents_.back().bytes;
            if (known_to_ <= offset) return nullptr;
        }
        const auto found = std::partition_point(extents_.begin(), extents_.end(), [&](const auto& extent) {
            return extent.offset + extent.bytes <= offset;
        });
        if (found != extents_.end()) return found->offset < end ? &*found : nullptr;
        offset = known_to_;
    }
    return nullptr;
}

std::uint64_t bytes_in_same_place(DeviceMap& a, std::uint64_t a_offset, DeviceMap& b, std::uint64_t b_offset,
                                  std::uint64_t bytes) {
    std::uint64_t same = 0;
    for (std::uint64_t done = 0; done < bytes;) {
        const auto of_a = piece_at(a, a_offset + done, bytes - done);
        const auto of_b = piece_at(b, b_offset + done, bytes - done);
        const auto step = std::min(of_a.bytes, of_b.bytes);
        if (of_a.device_offset && of_a.device_offset == of_b.device_offset) same += step;
        done += step;
    }
    return same;
}

}  // namespace vmad::repack
