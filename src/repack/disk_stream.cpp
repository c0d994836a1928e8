#include "repack/disk_stream.hpp"

#include <algorithm>
#include <cstring>

#include "access/device_choice.hpp"
#include "access/disk_reader.hpp"
#include "engine/repack.hpp"
#include "vma/extent.hpp"
#include "vma/header.hpp"

namespace vmad::repack {
namespace {

/// Takes the bytes of a raw canonical archive, and hands on one disk.
class CanonicalDisk final : public io::ByteSink {
  public:
    CanonicalDisk(io::ByteSink& sink, std::string device) : sink_(sink), device_name_(std::move(device)) {}

    void append(std::span<iovec> slices, std::uint64_t size_bytes) override {
        written_bytes_ += size_bytes;
        for (const auto& slice : slices) take({static_cast<const std::byte*>(slice.iov_base), slice.iov_len});
    }
    [[nodiscard]] std::uint64_t written_bytes() const noexcept override { return written_bytes_; }

  private:
    /// Gathers the parts of the archive: the fixed header, all of it, then headers and payloads of extents.
    void take(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto count = std::min(bytes.size(), wanted_bytes_ - part_.size());
            part_.insert(part_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
            bytes = bytes.subspan(count);
            if (part_.size() == wanted_bytes_) take_part();
        }
    }

    void take_part() {
        if (!device_) return take_header();
        if (wanted_bytes_ == vma::kExtentHeaderSize) {
            extent_ = vma::parse_extent_header(std::span(part_).first<vma::kExtentHeaderSize>(),
                                               canon::kCanonicalUuid, 0);
            if (extent_.block_count != 0) return want(extent_.payload_bytes());
            part_.clear();
        }
        if (extent_.slots[0].device_id == device_->id) write_region();
        want(vma::kExtentHeaderSize);
    }

    void take_header() {
        const auto size = vma::parse_header_size(std::span(part_).first<vma::kFixedHeaderSize>());
        if (part_.size() < size) {
            wanted_bytes_ = size;
            return;
        }
        device_ = access::chosen_device(vma::parse_header(part_), device_name_);
        want(vma::kExtentHeaderSize);
    }

    void want(std::size_t bytes) {
        wanted_bytes_ = bytes;
        part_.clear();
    }

    void write_region() {
        region_.assign(canon::kRegionBytes, std::byte{0});
        const auto* stored = part_.data();
        for (unsigned block = 0; block < canon::kClustersPerRegion * vma::kBlocksPerCluster; ++block) {
            const auto mask = extent_.slots[block / vma::kBlocksPerCluster].mask;
            if ((mask >> block % vma::kBlocksPerCluster & 1) == 0) continue;
            std::memcpy(region_.data() + block * vma::kBlockSize, stored, vma::kBlockSize);
            stored += vma::kBlockSize;
        }
        const auto begin = extent_.slots[0].cluster * std::uint64_t{vma::kClusterSize};
        const auto count = std::min<std::uint64_t>(canon::kRegionBytes, device_->size_bytes - begin);
        auto slice = io::const_slice(std::span(region_).first(count));
        sink_.append({&slice, 1}, count);
    }

    io::ByteSink& sink_;
    std::string device_name_;
    std::optional<vma::Device> device_;  ///< once the header has gone by
    std::vector<std::byte> part_;
    std::size_t wanted_bytes_ = vma::kFixedHeaderSize;
    vma::ExtentHeader extent_;
    std::vector<std::byte> region_;
    std::uint64_t written_bytes_ = 0;
};

/// What can be found in a file; nothing when that is to be read from its start.
std::unique_ptr<access::ArchiveIndex> find_index(io::FileSystem& fs, const io::File& file,
                                                 const DiskStreamOptions& options) {
    try {
        const auto& task = options.task;
        return access::ArchiveIndex::read(fs, file, {task.threads, task.cancel, options.index.progress},
                                          options.index.cache);
    } catch (const base::InvalidArchive&) {
    } catch (const base::Unsupported&) {
    }
    return nullptr;
}

void copy_disk(const access::ArchiveIndex& index, io::ByteSink& sink, const DiskStreamOptions& options) {
    const auto& device = access::chosen_device(index.header(), options.device);
    access::DiskReader reader(index, {.read_ahead = 2 * options.task.threads});
    std::vector<std::byte> buffer(canon::kRegionBytes);
    for (std::uint64_t done = 0; done < device.size_bytes;) {
        options.task.cancel_flag().check();
        const auto part =
            std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), device.size_bytes - done));
        reader.read_at(device.id, done, part);
        auto slice = io::const_slice(part);
        sink.append({&slice, 1}, part.size());
        done += part.size();
        options.task.report(base::Stage::extracting, io::SourceProgress{done, device.size_bytes});
    }
    options.task.report_end(base::Stage::extracting, device.size_bytes);
}

engine::RepackOptions repack_options(const base::TaskOptions& task) {
    engine::RepackOptions options;
    options.task = task;
    if (task.progress)
        options.task.progress = [&task](base::Progress progress) {
            progress.stage = base::Stage::extracting;
            task.progress(progress);
        };
    return options;
}

}  // namespace

void stream_disk(io::FileSystem& fs, codec::ArchiveSource& source, const io::File* source_file,
                 io::ByteSink& sink, const DiskStreamOptions& options) {
    if (source_file != nullptr)
        if (const auto index = find_index(fs, *source_file, options)) return copy_disk(*index, sink, options);
    CanonicalDisk disk(sink, options.device);
    (void)engine::repack(fs, source, disk, repack_options(options.task));
}

}  // namespace vmad::repack
