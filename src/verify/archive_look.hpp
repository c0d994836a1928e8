// A look at an archive that was published earlier: is it still what it was, and if not, what is damaged?
//
// First it is read to its end as any archive is (verify/survey), and compared with the digest that it was
// published with. Only when that finds a fault, a canonical archive is read once more, for all of its damaged
// places. Nothing is written. One thread at a time; it has more of its own.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "access/extent_search.hpp"
#include "verify/published_digest.hpp"
#include "verify/survey.hpp"

namespace vmad::verify {

/// Who knows the digest that an archive was published with.
enum class DigestOrigin {
    none,
    attribute,  ///< the file itself
    record,     ///< whoever keeps a list of archives: attributes are lost on a copy
};

/// A digest from a list of archives. It counts while the file has this size and modification time.
struct RecordedDigest {
    PublishedDigest published;
    std::uint64_t size_bytes = 0;
    std::int64_t modified_ns = 0;
    bool is_canonical = true;  ///< as it should be; else only its content is known
};

/// Of an archive with this digest and these of its devices, all of them in hexadecimal digits. Nothing where
/// the digest is empty.
[[nodiscard]] std::optional<RecordedDigest> recorded_digest(const std::string& digest,
                                                            std::map<std::string, std::string> devices,
                                                            std::uint64_t size_bytes,
                                                            std::int64_t modified_ns, bool is_canonical);

/// The digest that an archive should have; the attribute's where it has one.
struct KnownDigest {
    DigestOrigin origin = DigestOrigin::none;
    std::optional<PublishedDigest> published{};
    bool is_canonical = false;  ///< that the archive should be
    /// What the record says, where that is something else.
    std::optional<std::string> other{};
};

[[nodiscard]] KnownDigest known_digest(io::FileSystem& fs, const io::File& file,
                                       const std::optional<RecordedDigest>& recorded);

/// A part of an archive that is not as it was written.
struct DamagedStretch {
    std::string disk;          ///< empty: the header
    std::uint64_t offset = 0;  ///< in the disk
    std::uint64_t bytes = 0;
    /// Some of it is damaged: where cannot be told.
    bool is_somewhere = false;
    friend bool operator==(const DamagedStretch&, const DamagedStretch&) = default;
};

struct Damage {
    /// By disk and offset; regions that follow each other are one. At most kMaxStretches.
    std::vector<DamagedStretch> stretches{};
    std::uint64_t region_count = 0;  ///< of all, as far as they are known one by one
    /// What else there is to say: what was not looked at, or that no content is damaged; or empty.
    std::string note{};
};
inline constexpr std::size_t kMaxStretches = 1000;

/// What the regions of an archive should be, without reading them; nothing when that is not known. May be
/// empty.
using ExpectedRegions = std::function<std::optional<std::vector<access::DiskChecksums>>(const io::File&)>;

struct LookOptions {
    base::TaskOptions task;
    std::optional<RecordedDigest> recorded{};
    ExpectedRegions expected{};
    /// Told of each extent that was read, by several threads. May be empty.
    std::function<void(const vma::Extent&)> extent_read{};
};

struct ArchiveLook {
    std::optional<Survey> survey{};  ///< of an archive that can be read by all rules
    std::exception_ptr fault{};      ///< base::InvalidArchive, or the I/O error of a block; null: it is good
    Damage damage{};
    /// What a search has found, of a canonical archive with a fault whose header can be read.
    std::shared_ptr<const access::FoundArchive> found{};
    DigestOrigin digest_origin = DigestOrigin::none;
    std::string warning{};  ///< that attribute and record disagree; or empty
    bool changed = false;   ///< somebody wrote to the file meanwhile: nothing of the above counts
};

/// Reads past the page cache, and reports progress as Stage::verifying. Throws base::Unsupported,
/// base::SystemError but for EIO, and base::Cancelled.
[[nodiscard]] ArchiveLook look_at_archive(io::FileSystem& fs, const io::File& file,
                                          const LookOptions& options);

/// The header of a canonical archive, as far as it can be read; nothing for any other. Throws
/// base::SystemError.
[[nodiscard]] std::optional<vma::Header> canonical_header(io::FileSystem& fs, const io::File& file,
                                                          codec::ArchiveFormat format);
/// By the file's first bytes or, when these are of no archive, its name. Throws base::SystemError.
[[nodiscard]] codec::ArchiveFormat likely_format(io::FileSystem& fs, const io::File& file);

/// The damaged regions of an archive that was searched. Regions that are whole in themselves and not what was
/// expected are good when the digest says so. Sums up in `found` what is good, and takes out of its `missing`
/// what is not damaged.
void settle_doubt(access::FoundArchive& found, codec::ArchiveFormat format, const KnownDigest& known);

}  // namespace vmad::verify
