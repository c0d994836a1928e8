// The checksums of the regions of archives that have no seek table, kept in files: raw, gzip and lzo ones.
//
// Whoever reads or writes such an archive from its start to its end records them. A file is a zstd stream of
// the disks, a record for each region, and which archive they are of: its name, size and modification time.
// What is damaged, or of another version of the archive, counts as not there. One thread at a time, and any
// number of processes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access/region_checksums.hpp"
#include "codec/frame_encoder.hpp"
#include "io/new_file.hpp"

namespace vmad::access {

class ChecksumStore;

/// Of an archive with more regions, 8 TiB of content, no list is made or kept: two have to fit in the memory
/// of a worker.
inline constexpr std::uint64_t kMaxListedRegions = std::uint64_t{1} << 22;

/// The checksums of one archive, as they are found. Whatever comes between, a full disk for example, ends the
/// recording only.
class ChecksumRecording {
  public:
    /// Both outlive this object.
    ChecksumRecording(io::FileSystem& fs, const ChecksumStore& store);
    ChecksumRecording(const ChecksumRecording&) = delete;
    ChecksumRecording& operator=(const ChecksumRecording&) = delete;
    ~ChecksumRecording();

    /// Of an archive with these devices, in the order of its header. Forgets what was added before.
    void begin(const std::vector<vma::Device>& devices) noexcept;
    /// In any order, each region once.
    void add(std::uint8_t device_id, const RegionChecksum& region) noexcept;
    /// They were those of the archive that stands here now: keeps them. Nothing happens when nothing was
    /// begun.
    void finish(const io::File& archive) noexcept;

  private:
    void append(std::span<const std::byte> bytes);
    void flush();

    io::FileSystem& fs_;
    const ChecksumStore& store_;
    std::unique_ptr<codec::FrameEncoder> encoder_;
    std::vector<std::byte> records_;  ///< not written yet
    std::vector<std::byte> frame_;
    std::uint64_t count_ = 0;
    std::uint64_t written_bytes_ = 0;
    bool is_recording_ = false;
    io::File directory_;
    std::optional<io::NewFile> file_;
};

class ChecksumStore {
  public:
    static constexpr std::uint64_t kDefaultBytes = std::uint64_t{256} << 20;

    /// In `directory`, which is made when something is kept. Of all files there may be `max_bytes`; the
    /// longest unused are removed. Nothing is kept in a directory without a name.
    explicit ChecksumStore(std::string directory, std::uint64_t max_bytes = kDefaultBytes)
        : directory_(std::move(directory)), max_bytes_(max_bytes) {}

    /// What was kept of an archive as it is now. Nothing when there is nothing, or it cannot be used.
    [[nodiscard]] std::optional<std::vector<DiskChecksums>> find(io::FileSystem& fs,
                                                                 const io::File& archive) const;

  private:
    friend class ChecksumRecording;

    std::string directory_;
    std::uint64_t max_bytes_;
};

/// The checksums of an archive wherever they can be had without reading its content: by its seek table or
/// from the store, which may be null. Nothing when there are none, or the archive is not canonical. What is
/// known of an lzo archive has no places in the file, and as stored bytes shares of the file's size. Throws
/// base::FormatError, base::Unsupported, base::SystemError, base::Cancelled.
[[nodiscard]] std::optional<std::vector<DiskChecksums>> checksums_of(io::FileSystem& fs,
                                                                     const io::File& archive,
                                                                     const ChecksumStore* store,
                                                                     const base::CancelFlag& cancel);

/// Those of a canonical raw archive, by reading all of it; keeps them in the store, which may be null.
/// Nothing when it is not canonical. Throws as checksums_of.
[[nodiscard]] std::optional<std::vector<DiskChecksums>> read_raw_checksums(io::FileSystem& fs,
                                                                           const io::File& archive,
                                                                           const ChecksumStore* store,
                                                                           const base::CancelFlag& cancel);

}  // namespace vmad::access
