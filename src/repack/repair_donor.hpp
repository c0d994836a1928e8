// Another backup of a guest, as a source of regions that an archive has lost.
//
// What it says of itself is not trusted: a region counts only with its content, which whoever asks compares.
// One thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access/archive_index.hpp"
#include "access/checksum_store.hpp"
#include "access/extent_search.hpp"
#include "canon/layout.hpp"

namespace vmad::repack {

class RepairDonor {
  public:
    /// `store`, which may be null, and `fs` outlive it. A .vma.gz is read to its end for this. Throws
    /// base::Error for an archive that regions cannot be taken from.
    RepairDonor(io::FileSystem& fs, std::string path, io::File file, const access::ChecksumStore* store,
                const base::TaskOptions& task);
    RepairDonor(const RepairDonor&) = delete;
    RepairDonor& operator=(const RepairDonor&) = delete;
    ~RepairDonor();

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    /// Its own header.
    [[nodiscard]] const vma::Header& header() const noexcept { return header_; }

    /// What its seek table, or what was kept of it, says of a region; nothing where that is not known.
    struct Claim {
        bool is_stored = false;  ///< else it is zero
        std::uint32_t content_bytes = 0;
        std::uint32_t checksum = 0;
    };
    [[nodiscard]] std::optional<Claim> claim(const vma::Device& device, std::uint32_t region) const;

    /// The extent that a region of the disk with this name makes in a canonical archive with this plan.
    /// Nothing when the donor has no such disk or region, or it is damaged there. Throws base::SystemError
    /// but for EIO.
    [[nodiscard]] std::optional<std::vector<std::byte>> extent(const std::string& disk,
                                                               const canon::ExtentPlan& plan);

  private:
    [[nodiscard]] std::optional<access::Region> load(const vma::Device& own, std::uint32_t region);

    std::string path_;
    io::File file_;
    vma::Header header_;
    std::optional<std::vector<access::DiskChecksums>> checksums_;
    std::unique_ptr<access::ArchiveIndex> index_;
    // Of a .vma.gz.
    std::optional<canon::Layout> layout_;
    std::optional<access::FoundArchive> found_;
    std::unique_ptr<access::FoundExtentReader> reader_;
};

/// Other backups, the best first: each is opened once it is asked.
class RepairDonors {
  public:
    using LeftOut = std::function<void(const std::string& path, const std::string& reason)>;

    /// `store`, which may be null, and `fs` outlive it. `left_out`, which may be empty, is told of those that
    /// cannot help.
    RepairDonors(io::FileSystem& fs, std::vector<std::string> paths, const access::ChecksumStore* store,
                 base::TaskOptions task, LeftOut left_out);

    [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
    [[nodiscard]] const std::string& path(std::size_t number) const { return entries_.at(number).path; }
    /// Null when it cannot help. Throws base::Cancelled.
    [[nodiscard]] RepairDonor* find(std::size_t number);
    /// As RepairDonor has it.
    [[nodiscard]] std::optional<std::vector<std::byte>> extent(std::size_t number, const std::string& disk,
                                                               const canon::ExtentPlan& plan);

  private:
    struct Entry {
        std::string path;
        bool is_opened = false;
        std::unique_ptr<RepairDonor> donor{};
    };
    void open(Entry& entry);

    io::FileSystem& fs_;
    const access::ChecksumStore* store_;
    base::TaskOptions task_;
    LeftOut left_out_;
    std::vector<Entry> entries_;
};

}  // namespace vmad::repack
