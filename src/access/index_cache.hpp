// The extent headers of large raw archives, kept in files, so that they need not be gathered once more from
// all over the archive: 1 TiB has 300,000 of them, some 50 MiB compressed.
//
// A file is a zstd stream of records of 512 bytes: first which archive they are of (device, inode, size and
// modification time), then its extent headers in their order. Their own checksums, the archive's uuid in
// each of them and the rules of the format tell whether they can be true; where not, the archive is read.
// One thread at a time, and any number of processes.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "codec/archive_source.hpp"
#include "codec/frame_encoder.hpp"
#include "io/file_system.hpp"
#include "io/new_file.hpp"
#include "vma/format.hpp"

namespace vmad::access {

/// The first record of a file of the cache.
using IndexKey = std::array<std::byte, vma::kExtentHeaderSize>;

/// Headers that were kept, in their order.
class KeptHeaders {
  public:
    /// Null when the file is of another archive. Throws base::Error when it is damaged.
    [[nodiscard]] static std::unique_ptr<KeptHeaders> open(io::FileSystem& fs, io::File file,
                                                           const IndexKey& key);
    /// False when there are no more. Throws base::Error.
    [[nodiscard]] bool next(std::span<std::byte, vma::kExtentHeaderSize> into);
    /// The next one is the first again.
    void rewind();

  private:
    KeptHeaders(io::FileSystem& fs, io::File file) : fs_(fs), file_(std::move(file)) {}

    io::FileSystem& fs_;
    io::File file_;
    std::optional<codec::ArchiveSource> source_;
};

/// Writes headers to a file of the cache, which appears with finish(), if there are enough. Whatever comes
/// between, a full disk for example, ends the recording only.
class HeaderRecording {
  public:
    struct Place {
        std::string directory;
        std::string name;
        std::uint64_t min_headers = 0;
        std::size_t max_files = 0;
        std::uint64_t max_bytes = 0;
    };
    /// `fs` and `archive` outlive this object.
    HeaderRecording(io::FileSystem& fs, const io::File& archive, const IndexKey& key, Place place);

    void add(std::span<const std::byte, vma::kExtentHeaderSize> header) noexcept;
    /// Forgets what was added.
    void restart() noexcept;
    void finish() noexcept;

  private:
    void flush();

    io::FileSystem& fs_;
    const io::File& archive_;
    IndexKey key_;
    Place place_;
    std::unique_ptr<codec::FrameEncoder> encoder_;
    std::vector<std::byte> records_;  ///< not written yet
    std::vector<std::byte> frame_;
    std::uint64_t count_ = 0;
    std::uint64_t written_bytes_ = 0;
    bool failed_ = false;
    io::File directory_;
    std::optional<io::NewFile> file_;
};

class IndexCache {
  public:
    struct Options {
        std::string directory = default_directory();
        /// The headers of smaller archives are read soon enough: of some 7 GiB with this many.
        std::uint64_t min_headers = 2048;
        /// Of all files; the longest unused are removed.
        std::size_t max_files = 16;
        std::uint64_t max_bytes = std::uint64_t{512} << 20;
    };

    /// vmad in $XDG_CACHE_HOME, else in /var/cache for root and in ~/.cache for others; empty when there is
    /// none.
    [[nodiscard]] static std::string default_directory();

    /// Nothing is kept in a directory without a name.
    explicit IndexCache(Options options) : options_(std::move(options)) {}
    IndexCache() : IndexCache(Options{}) {}

    /// What was kept of an archive as it is now; null when there is nothing. A directory or file that
    /// somebody else could have written is ignored. Throws base::Error for a damaged file.
    [[nodiscard]] std::unique_ptr<KeptHeaders> find(io::FileSystem& fs, const io::File& archive) const;
    /// To keep them; null when there is no place for it.
    [[nodiscard]] std::unique_ptr<HeaderRecording> record(io::FileSystem& fs, const io::File& archive) const;

  private:
    Options options_;
};

}  // namespace vmad::access
