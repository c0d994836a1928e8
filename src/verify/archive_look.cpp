#include "verify/archive_look.hpp"

#include <cerrno>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "access/region_checksums.hpp"
#include "base/text.hpp"
#include "canon/canonical_rules.hpp"
#include "publish/file_identity.hpp"
#include "vma/archive_reader.hpp"

namespace vmad::verify {
namespace {

using codec::ArchiveFormat;

/// A file page by page: one that cannot be read is zeros, and does not hide those beside it.
class PageSource final : public io::ByteSource {
  public:
    PageSource(io::FileSystem& fs, const io::File& file) : fs_(fs), file_(file) {}
    [[nodiscard]] std::size_t read(std::span<iovec> into) override {
        std::size_t done = 0;
        for (const auto& slice : into)
            for (std::span room(static_cast<std::byte*>(slice.iov_base), slice.iov_len); !room.empty();) {
                constexpr std::size_t kPage = 4096;
                const auto count = read_some(room.first(std::min(room.size(), kPage - offset_ % kPage)));
                if (count == 0) return done;
                room = room.subspan(count);
                done += count;
                offset_ += count;
            }
        return done;
    }
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return std::nullopt; }
    [[nodiscard]] io::SourceProgress progress() const override { return {offset_, 0}; }

  private:
    std::size_t read_some(std::span<std::byte> room) try {
        return io::read_fully_at(fs_, file_, room, offset_);
    } catch (const base::SystemError& error) {
        if (error.number() != EIO) throw;
        std::fill(room.begin(), room.end(), std::byte{0});
        return room.size();
    }

    io::FileSystem& fs_;
    const io::File& file_;
    std::uint64_t offset_ = 0;
};

DamagedStretch stretch(const vma::Device& device, const access::RegionRange& range) {
    const auto offset = range.first * std::uint64_t{canon::kRegionBytes};
    const auto end = offset + range.count * std::uint64_t{canon::kRegionBytes};
    return {device.name, offset, std::min(end, device.size_bytes) - offset};
}

/// The archive cannot be searched: the place up to which it can be read.
Damage first_place(io::FileSystem& fs, const io::File& file, const vma::Header& header,
                   const base::TaskOptions& task) {
    constexpr auto kRest =
        "what stands behind it was not looked at: an .lzo is read up to its first fault only";
    const canon::Layout layout(header);
    std::uint64_t extents = 0;
    try {
        auto source = codec::ArchiveSource::of_direct(fs, file, {task.threads, task.cancel});
        base::BufferPool buffers(vma::kMaxExtentPayload, 0, vma::kMaxExtentPayload);
        vma::ArchiveReader reader(source, buffers);
        for (vma::Extent extent; reader.next(extent); ++extents) task.cancel_flag().check();
        return {};
    } catch (const base::InvalidArchive&) {
    } catch (const base::SystemError& error) {
        if (error.number() != EIO) throw;
    }
    if (extents >= layout.extent_count()) return {};
    const auto plan = layout.plan(extents);
    const auto* device = header.device(plan.device_id);
    if (device == nullptr || plan.cluster_count == 0) return {.note = kRest};
    const access::RegionRange region{plan.device_id, plan.first_cluster / canon::kClustersPerRegion, 1};
    return {.stretches = {stretch(*device, region)}, .region_count = 1, .note = kRest};
}

/// Where nothing tells which of its regions is bad.
void add_differing_disks(Damage& damage, const vma::Header& header, const access::FoundArchive& found,
                         const PublishedDigest& published) {
    for (const auto& name : published.differing_devices(found.sum.devices()))
        for (const auto& device : header.devices)
            if (device.name == name) damage.stretches.push_back({name, 0, device.size_bytes, true});
    damage.note = "nothing tells which regions: no checksums of them are known";
}

Damage damage_of(const vma::Header& header, const access::FoundArchive& found, const KnownDigest& known) {
    Damage damage;
    for (const auto& range : found.missing) {
        damage.region_count += range.count;
        if (damage.stretches.size() < kMaxStretches)
            damage.stretches.push_back(stretch(*header.device(range.device_id), range));
    }
    if (!found.missing.empty()) return damage;
    const bool has_content = !known.published || found.sum.finish().to_hex() == known.published->digest;
    if (!has_content)
        add_differing_disks(damage, header, found, *known.published);
    else if (known.published)
        damage.note = "no content is damaged, only how it is stored: a repair needs nothing else";
    return damage;
}

Damage find_damage(io::FileSystem& fs, const io::File& file, const LookOptions& options,
                   const KnownDigest& known, std::shared_ptr<const access::FoundArchive>& into) {
    const auto format = likely_format(fs, file);
    const auto header = canonical_header(fs, file, format);
    if (!header) {
        if (!known.is_canonical) return {};
        return {.stretches = {{"", 0, 0}}, .note = "without its header, the rest was not looked at"};
    }
    if (format == ArchiveFormat::lzo) return first_place(fs, file, *header, options.task);
    std::optional<std::vector<access::DiskChecksums>> expected;
    if (options.expected) try {
            expected = options.expected(file);
        } catch (const base::Error&) {
            // It only helps.
        }
    auto found = access::search_extents(fs, file, format, canon::Layout(*header),
                                        expected ? &*expected : nullptr, options.task);
    settle_doubt(found, format, known);
    auto damage = damage_of(*header, found, known);
    into = std::make_shared<const access::FoundArchive>(std::move(found));
    return damage;
}

/// Throws base::InvalidArchive when the archive is not what it was published as.
void require_published(const Survey& survey, const KnownDigest& known) {
    if (!known.published) return;
    if (known.other == survey.digest.to_hex())
        throw base::InvalidArchive(
            "content-digest",
            fmt::format(
                "content digest mismatch: its extended attribute says {}, but it holds {}, as vmad's "
                "own record says: the attribute is wrong, or archive and record are of another backup",
                known.published->digest, *known.other));
    known.published->require(survey.digest, survey.device_digests);
    // Its content is good, but who keeps it changes bits.
    if (known.is_canonical && !survey.deviation.empty())
        throw base::InvalidArchive(
            "published-form",
            fmt::format("it was damaged since vmad wrote it, though no content is: {}", survey.deviation));
}

bool is_same_version(const struct stat& a, const struct stat& b) {
    return publish::identity_of(a) == publish::identity_of(b);
}

}  // namespace

std::optional<RecordedDigest> recorded_digest(const std::string& digest,
                                              std::map<std::string, std::string> devices,
                                              std::uint64_t size_bytes, std::int64_t modified_ns,
                                              bool is_canonical) {
    if (digest.empty()) return std::nullopt;
    for (auto& [name, digits] : devices) digits = digits.substr(0, kDeviceDigits);
    return RecordedDigest{{digest, std::move(devices)}, size_bytes, modified_ns, is_canonical};
}

KnownDigest known_digest(io::FileSystem& fs, const io::File& file,
                         const std::optional<RecordedDigest>& recorded) {
    KnownDigest known;
    known.published = published_digest(fs, file);
    if (known.published) known = {DigestOrigin::attribute, std::move(known.published), true};
    const auto status = fs.status(file);
    if (!recorded || recorded->size_bytes != static_cast<std::uint64_t>(status.st_size) ||
        recorded->modified_ns != publish::nanoseconds(status.st_mtim))
        return known;
    if (!known.published) return {DigestOrigin::record, recorded->published, recorded->is_canonical};
    if (known.published->digest != recorded->published.digest) known.other = recorded->published.digest;
    return known;
}

ArchiveFormat likely_format(io::FileSystem& fs, const io::File& file) {
    auto format = ArchiveFormat::raw;
    try {
        format = codec::format_of_file(fs, file);
    } catch (const base::Unsupported&) {
    }
    if (format != ArchiveFormat::raw) return format;
    std::array<std::byte, 4> magic{};
    constexpr std::array kMagic{std::byte{'V'}, std::byte{'M'}, std::byte{'A'}, std::byte{0}};
    try {
        (void)io::read_fully_at(fs, file, magic, 0);
        if (magic != kMagic) return codec::format_of_name(file.path()).value_or(format);
    } catch (const base::UsageError&) {
        // Its name says nothing either.
    }
    return format;
}

std::optional<vma::Header> canonical_header(io::FileSystem& fs, const io::File& file,
                                            ArchiveFormat format) try {
    PageSource pages(fs, file);
    auto source = codec::ArchiveSource::of_stream(pages, {});
    if (source.format() != format) return std::nullopt;
    base::BufferPool buffers(0, 0, 0);
    vma::ArchiveReader reader(source, buffers);
    if (reader.header().uuid != canon::kCanonicalUuid) return std::nullopt;
    if (!canon::is_canonical_header(reader.raw_header(), canon::Layout(reader.header()))) return std::nullopt;
    return reader.header();
} catch (const base::InvalidArchive&) {
    return std::nullopt;
} catch (const base::Unsupported&) {
    return std::nullopt;
}

void settle_doubt(access::FoundArchive& found, ArchiveFormat format, const KnownDigest& known) {
    std::uint64_t missing = 0;
    for (const auto& range : found.missing) missing += range.count;
    if (found.doubtful.empty() || missing > found.doubtful.size()) return;
    // A frame has a checksum of its own, so without a digest it is the seek table that is wrong.
    auto sum = found.sum;
    sum.merge(found.doubtful_sum);
    const bool is_good =
        known.published ? sum.finish().to_hex() == known.published->digest : format != ArchiveFormat::raw;
    if (!is_good) return;
    found.sum = sum;
    found.whole.insert(found.whole.end(), found.doubtful.begin(), found.doubtful.end());
    std::sort(found.whole.begin(), found.whole.end(),
              [](const auto& a, const auto& b) { return a.number < b.number; });
    found.doubtful.clear();
    found.missing.clear();
}

ArchiveLook look_at_archive(io::FileSystem& fs, const io::File& file, const LookOptions& options) {
    const auto before = fs.status(file);
    const auto known = known_digest(fs, file, options.recorded);
    ArchiveLook look{.digest_origin = known.origin};
    if (known.other)
        look.warning =
            fmt::format("its extended attribute and vmad's own record disagree about its digest: {} and {}",
                        known.published->digest, *known.other);
    try {
        auto source = codec::ArchiveSource::of_direct(fs, file, {options.task.threads, options.task.cancel});
        look.survey = survey(source, options.task, options.extent_read);
        require_published(*look.survey, known);
    } catch (const base::InvalidArchive&) {
        look.fault = std::current_exception();
    } catch (const base::SystemError& error) {
        if (error.number() != EIO) throw;
        look.fault = std::current_exception();
    }
    if (look.fault && is_same_version(before, fs.status(file)))
        look.damage = find_damage(fs, file, options, known, look.found);
    look.changed = !is_same_version(before, fs.status(file));
    return look;
}

}  // namespace vmad::verify
