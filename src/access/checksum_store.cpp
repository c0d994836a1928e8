#include "access/checksum_store.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "access/kept_files.hpp"
#include "access/region_cursor.hpp"
#include "base/integers.hpp"
#include "base/path.hpp"
#include "canon/sealed_extent.hpp"
#include "codec/archive_source.hpp"
#include "vma/header.hpp"

namespace vmad::access {
namespace {

constexpr char kSuffix[] = ".regions";
constexpr std::string_view kMagic = "vmad regions 1\n";
/// Compressed as one frame.
constexpr std::size_t kFrameBytes = 64 << 10;
/// Checksums are noise: a higher level gains nothing.
constexpr int kLevel = 1;
constexpr std::size_t kMaxNameBytes = 4096;
constexpr std::int64_t kNanoseconds = 1'000'000'000;

/// Little-endian, as seek tables are. The last one has device id 0, and how many there were as its offset.
constexpr std::size_t kRecordBytes = 28;
using Record = std::array<std::byte, kRecordBytes>;

Record encode(std::uint8_t device_id, const RegionChecksum& region) {
    Record record;
    base::store_le<std::uint32_t>(&record[0], device_id);
    base::store_le<std::uint32_t>(&record[4], region.region);
    base::store_le<std::uint32_t>(&record[8], region.content_bytes);
    base::store_le<std::uint32_t>(&record[12], region.checksum);
    base::store_le<std::uint32_t>(&record[16], region.stored_bytes);
    base::store_le<std::uint64_t>(&record[20], region.stored_offset);
    return record;
}

RegionChecksum decode(const Record& record) {
    return {.region = base::load_le<std::uint32_t>(&record[4]),
            .content_bytes = base::load_le<std::uint32_t>(&record[8]),
            .checksum = base::load_le<std::uint32_t>(&record[12]),
            .stored_bytes = base::load_le<std::uint32_t>(&record[16]),
            .stored_offset = base::load_le<std::uint64_t>(&record[20])};
}

/// A version of an archive. The directory does not matter: it may be known by other names, or have moved.
std::string key_of(io::FileSystem& fs, const io::File& archive) {
    const auto status = fs.status(archive);
    return fmt::format("{}\nsize {}\nmodified {}\n", base::file_name(archive.path()), status.st_size,
                       status.st_mtim.tv_sec * kNanoseconds + status.st_mtim.tv_nsec);
}

std::string name_of(const std::string& key) {
    const iovec slice{const_cast<char*>(key.data()), key.size()};
    return fmt::format("{:08x}-{}{}", canon::extent_checksum({&slice, 1}), key.size(), kSuffix);
}

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

/// Reads what a recording has written. Everything throws base::Error for what it cannot have written.
class KeptChecksums {
  public:
    KeptChecksums(io::FileSystem& fs, const io::File& file)
        : source_(codec::ArchiveSource::of_file(fs, file, io::CacheUse::keep, {})) {}

    /// Of the archive with this key.
    std::vector<DiskChecksums> read(std::string_view key) {
        if (text(kMagic.size()) != kMagic) refuse();
        auto disks = read_disks();
        Record record;
        for (read(record); record[0] != std::byte{0}; read(record)) add(disks, record);
        if (decode(record).stored_offset != count_ || text(key.size()) != key) refuse();
        for (auto& disk : disks) check(disk);
        return disks;
    }

  private:
    [[noreturn]] static void refuse() { throw base::Error("not the checksums of this archive"); }

    void read(std::span<std::byte> into) {
        iovec slice{into.data(), into.size()};
        if (source_.read({&slice, 1}) < into.size()) refuse();
    }
    template <typename Integer>
    Integer number() {
        std::array<std::byte, sizeof(Integer)> bytes;
        read(bytes);
        return base::load_le<Integer>(bytes.data());
    }
    std::string text(std::size_t size) {
        if (size > kMaxNameBytes) refuse();
        std::string result(size, '\0');
        read(std::as_writable_bytes(std::span(result)));
        return result;
    }

    std::vector<DiskChecksums> read_disks() {
        const auto count = number<std::uint32_t>();
        if (count > vma::kDeviceSlots) refuse();
        std::vector<DiskChecksums> disks(count);
        for (auto& disk : disks) {
            disk.device.id = number<std::uint8_t>();
            disk.device.size_bytes = number<std::uint64_t>();
            disk.device.name = text(number<std::uint32_t>());
            by_id_[disk.device.id] = &disk - disks.data() + 1;
        }
        return disks;
    }

    void add(std::vector<DiskChecksums>& disks, const Record& record) {
        if (++count_ > kMaxListedRegions) refuse();
        const auto place = by_id_[std::to_integer<std::size_t>(record[0])];
        if (place == 0) refuse();
        disks[static_cast<std::size_t>(place - 1)].regions.push_back(decode(record));
    }

    static void check(DiskChecksums& disk) {
        auto& regions = disk.regions;
        const auto before = [](const auto& a, const auto& b) { return a.region < b.region; };
        if (!std::is_sorted(regions.begin(), regions.end(), before))
            std::sort(regions.begin(), regions.end(), before);
        const auto is_same = [](const auto& a, const auto& b) { return a.region == b.region; };
        if (std::adjacent_find(regions.begin(), regions.end(), is_same) != regions.end()) refuse();
        if (!regions.empty() &&
            regions.back().region * std::uint64_t{canon::kRegionBytes} >= disk.device.size_bytes)
            refuse();
    }

    codec::ArchiveSource source_;
    std::uint64_t count_ = 0;
    std::array<std::ptrdiff_t, vma::kDeviceSlots> by_id_{};  ///< one more than the place in the list
};

/// Whoever reads an lzo archive, or a gzip one as a stream, does not know where in the file a region is.
bool lacks_places(const std::vector<DiskChecksums>& disks) {
    for (const auto& disk : disks)
        for (const auto& region : disk.regions)
            if (region.stored_bytes == 0) return true;
    return false;
}

/// Of an archive in which they are not known: what each region's content makes of the file.
void share_out_stored_bytes(std::vector<DiskChecksums>& disks, std::uint64_t file_bytes) {
    std::uint64_t content = 0;
    for (const auto& disk : disks)
        for (const auto& region : disk.regions) content += region.content_bytes;
    for (auto& disk : disks)
        for (auto& region : disk.regions)
            region.stored_bytes = static_cast<std::uint32_t>(
                static_cast<double>(region.content_bytes) / static_cast<double>(content) *
                static_cast<double>(std::min(file_bytes, content)));
}

}  // namespace

// ---- recording ----

ChecksumRecording::ChecksumRecording(io::FileSystem& fs, const ChecksumStore& store)
    : fs_(fs), store_(store) {}

ChecksumRecording::~ChecksumRecording() = default;

void ChecksumRecording::begin(const std::vector<vma::Device>& devices) noexcept {
    file_.reset();
    records_.clear();
    written_bytes_ = count_ = 0;
    is_recording_ = false;
    if (store_.directory_.empty()) return;
    try {
        if (!encoder_) encoder_ = codec::make_frame_encoder(codec::ArchiveFormat::zstd, kLevel);
        append(bytes_of(kMagic));
        const auto append_number = [this](auto number) {
            std::array<std::byte, sizeof number> bytes;
            base::store_le(bytes.data(), number);
            append(bytes);
        };
        append_number(static_cast<std::uint32_t>(devices.size()));
        for (const auto& device : devices) {
            append_number(device.id);
            append_number(device.size_bytes);
            append_number(static_cast<std::uint32_t>(device.name.size()));
            append(bytes_of(device.name));
        }
        is_recording_ = true;
    } catch (const std::exception&) {
        is_recording_ = false;
    }
}

void ChecksumRecording::add(std::uint8_t device_id, const RegionChecksum& region) noexcept {
    if (!is_recording_) return;
    try {
        append(encode(device_id, region));
        if (++count_ > kMaxListedRegions) throw base::Error("too many regions");
        if (records_.size() >= kFrameBytes) flush();
    } catch (const std::exception&) {
        is_recording_ = false;
    }
}

void ChecksumRecording::append(std::span<const std::byte> bytes) {
    records_.insert(records_.end(), bytes.begin(), bytes.end());
}

void ChecksumRecording::flush() {
    if (!file_) {
        directory_ = make_kept_directory(fs_, store_.directory_);
        file_.emplace(fs_, directory_, std::string());
    }
    frame_.resize(encoder_->bound(records_.size()));
    auto slice = io::const_slice(records_);
    const auto size = encoder_->encode({&slice, 1}, frame_);
    slice = io::const_slice(std::span(frame_).first(size));
    io::write_fully_at(fs_, file_->file(), {&slice, 1}, written_bytes_);
    written_bytes_ += size;
    records_.clear();
    if (written_bytes_ > store_.max_bytes_) throw base::Error("too many regions");
}

void ChecksumRecording::finish(const io::File& archive) noexcept {
    if (!is_recording_) return;
    is_recording_ = false;
    try {
        const auto key = key_of(fs_, archive);
        append(encode(0, {.stored_offset = count_}));
        append(bytes_of(key));
        flush();
        file_->replace(name_of(key));
        remove_oldest(fs_, directory_, [](const std::string& name) { return name.ends_with(kSuffix); },
                      {.max_bytes = store_.max_bytes_});
    } catch (const std::exception&) {
        file_.reset();
    }
}

// ---- store ----

std::optional<std::vector<DiskChecksums>> ChecksumStore::find(io::FileSystem& fs,
                                                              const io::File& archive) const try {
    if (directory_.empty()) return std::nullopt;
    const auto key = key_of(fs, archive);
    const auto file = open_kept_file(fs, directory_, name_of(key));
    if (!file) return std::nullopt;
    return KeptChecksums(fs, *file).read(key);
} catch (const base::Error&) {
    return std::nullopt;
}

// ---- wherever they come from ----

std::optional<std::vector<DiskChecksums>> checksums_of(io::FileSystem& fs, const io::File& archive,
                                                       const ChecksumStore* store,
                                                       const base::CancelFlag& cancel) {
    const auto format = codec::format_of_file(fs, archive);
    if (format == codec::ArchiveFormat::zstd)
        return read_region_checksums(fs, archive, cancel, kMaxListedRegions);
    if (store == nullptr) return std::nullopt;
    auto disks = store->find(fs, archive);
    if (disks && (format == codec::ArchiveFormat::lzo || lacks_places(*disks)))
        share_out_stored_bytes(*disks, static_cast<std::uint64_t>(fs.status(archive).st_size));
    return disks;
}

std::optional<std::vector<DiskChecksums>> read_raw_checksums(io::FileSystem& fs, const io::File& archive,
                                                             const ChecksumStore* store,
                                                             const base::CancelFlag& cancel) try {
    if (codec::format_of_file(fs, archive) != codec::ArchiveFormat::raw) return std::nullopt;
    auto cursor = RegionCursor::open(fs, archive);
    if (!cursor) return std::nullopt;
    const ChecksumStore nowhere("");
    ChecksumRecording recording(fs, store != nullptr ? *store : nowhere);
    std::vector<DiskChecksums> disks;
    std::array<std::size_t, vma::kDeviceSlots> by_id{};
    const auto devices = vma::parse_header(cursor->layout().header()).devices;
    recording.begin(devices);
    for (const auto& device : devices) {
        by_id[device.id] = disks.size();
        disks.push_back({device, {}});
    }
    for (StoredExtents extents; cursor->next(extents);) {
        cancel.check();
        if (!extents.has_payload()) continue;
        const auto content = cursor->read(extents.frame, extents.number).bytes;
        const auto plan = cursor->layout().plan(extents.number);
        const iovec slice{const_cast<std::byte*>(content.data()), content.size()};
        const RegionChecksum region{
            .region = plan.first_cluster / canon::kClustersPerRegion,
            .content_bytes = extents.frame.bytes - static_cast<std::uint32_t>(vma::kExtentHeaderSize),
            .checksum = canon::extent_checksum({&slice, 1}),
            .stored_bytes = extents.frame.stored_bytes,
            .stored_offset = extents.frame.stored_offset};
        disks[by_id[plan.device_id]].regions.push_back(region);
        recording.add(plan.device_id, region);
    }
    recording.finish(archive);
    return disks;
} catch (const NotCanonical&) {
    return std::nullopt;
}

}  // namespace vmad::access
