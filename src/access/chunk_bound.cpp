#include "access/chunk_bound.hpp"

#include <algorithm>
#include <tuple>

namespace vmad::access {
namespace {

/// A frame with payload, by where it belongs.
struct Frame {
    const vma::Device* device;
    const RegionChecksum* region;
};

/// In the order of the file: by descending names.
std::vector<Frame> frames_of(const std::vector<DiskChecksums>& disks) {
    std::vector<const DiskChecksums*> ordered;
    for (const auto& disk : disks) ordered.push_back(&disk);
    std::sort(ordered.begin(), ordered.end(),
              [](const auto* a, const auto* b) { return a->device.name > b->device.name; });
    std::vector<Frame> frames;
    for (const auto* disk : ordered)
        for (const auto& region : disk->regions) frames.push_back({&disk->device, &region});
    return frames;
}

bool stands_before(const Frame& a, const Frame& b) {
    return std::tie(b.device->name, a.region->region) < std::tie(a.device->name, b.region->region);
}

/// Whether frames of one place are the same in the file.
bool is_same(const Frame& a, const Frame& b) {
    const auto key = [](const Frame& frame) {
        return std::tuple(frame.device->id, frame.region->checksum, frame.region->content_bytes,
                          frame.region->stored_bytes);
    };
    return key(a) == key(b);
}

/// Adds up what is stored once more, from the start of the file on.
class Stored {
  public:
    void frame_begins(std::uint64_t offset) {
        last_frame_ = offset;
        if (!open_ || offset < until_) return;
        bytes_ += offset - begin_;
        begin_ = offset;
        open_ = false;
    }
    /// What stands there is new.
    void add(std::uint64_t offset, std::uint64_t bytes) {
        if (!open_) begin_ = std::max(begin_, before(offset));
        open_ = true;
        until_ = offset + bytes + kMinChunkBytes;
    }
    /// The seek table, at the end, is always new.
    [[nodiscard]] std::uint64_t finish(std::uint64_t file_bytes) const {
        return bytes_ + file_bytes - (open_ ? begin_ : std::max(begin_, before(last_frame_)));
    }

  private:
    static std::uint64_t before(std::uint64_t offset) { return offset - std::min(offset, kMinChunkBytes); }

    std::uint64_t bytes_ = 0;
    std::uint64_t begin_ = 0;  ///< of what is being added up; or nothing before it is
    std::uint64_t until_ = 0;  ///< that goes on so far at least
    std::uint64_t last_frame_ = 0;
    bool open_ = false;
};

}  // namespace

std::uint64_t chunk_bound(const std::vector<DiskChecksums>& before, const std::vector<DiskChecksums>& after,
                          std::uint64_t after_file_bytes) {
    const auto old_frames = frames_of(before);
    Stored stored;
    stored.add(0, 0);  // the header, which has the time
    auto old = old_frames.begin();
    for (const auto& frame : frames_of(after)) {
        const auto gone = old;
        while (old != old_frames.end() && stands_before(*old, frame)) ++old;
        const auto offset = frame.region->stored_offset;
        const bool was_there = old != old_frames.end() && !stands_before(frame, *old);
        stored.frame_begins(offset);
        if (!was_there || !is_same(*old, frame))
            stored.add(offset, frame.region->stored_bytes);
        else if (gone != old)
            stored.add(offset, 0);  // something else stood in front of it
        if (was_there) ++old;
    }
    return stored.finish(after_file_bytes);
}

}  // namespace vmad::access
