#include "mount/dump_folder.hpp"

#include <fcntl.h>

#include <algorithm>

#include <fmt/format.h>
#include <xxhash.h>

#include "access/raw_view.hpp"
#include "codec/archive_format.hpp"
#include "io/mount_table.hpp"
#include "publish/file_identity.hpp"
#include "pve/backup_name.hpp"

namespace vmad::mount {
namespace {

constexpr std::chrono::duration<double> kValid(kListingValidSeconds);
constexpr std::string_view kRawEnding = ".vma";
/// What vzdump and Proxmox VE keep beside a backup, by its name or by that without endings.
constexpr std::string_view kCompanionEndings[] = {".log", ".notes", ".protected"};

bool is_archive(std::string_view name) {
    return !name.starts_with('.') &&
           std::any_of(pve::kArchiveEndings.begin(), pve::kArchiveEndings.end(),
                       [&](std::string_view ending) { return name.ends_with(ending); });
}

/// The name of the archive's raw form.
std::string raw_name(std::string_view archive) {
    const auto end = archive.rfind(kRawEnding);
    return std::string(archive.substr(0, end + kRawEnding.size()));
}

/// How a file that is no archive of a virtual machine is shown; empty when it is not. What belongs to an
/// archive has its name in front, and follows it.
std::string shown_name(std::string_view name) {
    if (!name.starts_with("vzdump-")) return {};
    for (const auto ending : kCompanionEndings) {
        if (!name.ends_with(ending)) continue;
        const auto owner = name.substr(0, name.size() - ending.size());
        return (is_archive(owner) ? raw_name(owner) : std::string(owner)) + std::string(ending);
    }
    return pve::is_container_backup(name) ? std::string(name) : std::string();
}

std::string version_of(const struct stat& status) {
    return publish::file_version(publish::identity_of(status));
}

std::string mount_point_of(io::FileSystem& fs, const std::string& path) {
    const auto table = io::MountTable::read(fs);
    const auto* mount = table.find(path);
    return mount == nullptr ? std::string() : mount->mount_point;
}

/// The same after every mount for what is shown by this name, and another one for other content.
Inode inode_for(std::string_view folder, std::string_view name, std::uint64_t size_bytes,
                const timespec& modified) {
    const auto text =
        fmt::format("{}/{}/{}/{}.{}", folder, name, size_bytes, modified.tv_sec, modified.tv_nsec);
    const Inode inode = XXH3_64bits(text.data(), text.size());
    return inode <= kRootInode ? ~inode : inode;
}

}  // namespace

DumpFolder::DumpFolder(io::FileSystem& fs, std::string name, const std::string& path, Warn warn)
    : fs_(fs),
      name_(std::move(name)),
      path_(fs.real_path(fs.open(path, O_PATH | O_DIRECTORY))),
      mount_point_(mount_point_of(fs, path_)),
      inode_(name_.empty() ? kRootInode : inode_for(name_, {}, 0, {})),
      warn_(std::move(warn)) {}

std::shared_ptr<const Listing> DumpFolder::last_listing() const {
    const std::lock_guard lock(listing_mutex_);
    return listing_;
}

std::shared_ptr<const Listing> DumpFolder::listing() {
    const auto valid = [this]() -> std::shared_ptr<const Listing> {
        const std::lock_guard lock(listing_mutex_);
        return Clock::now() < valid_until_ ? listing_ : nullptr;
    };
    if (auto listing = valid()) return listing;
    const std::lock_guard look_lock(look_mutex_);
    if (auto listing = valid()) return listing;  // somebody else has looked meanwhile
    auto listing = look();
    const std::lock_guard lock(listing_mutex_);
    listing_ = listing;
    valid_until_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(kValid);
    return listing;
}

std::optional<io::File> DumpFolder::open(const ShownFile& file) {
    try {
        const auto directory = fs_.open(path_, O_RDONLY | O_DIRECTORY);
        auto opened = fs_.open_at(directory, file.source_name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
        if (version_of(fs_.status(opened)) == file.version) return opened;
    } catch (const base::SystemError& error) {
        if (error.number() != ENOENT) throw;
    }
    const std::lock_guard lock(listing_mutex_);
    valid_until_ = {};
    return std::nullopt;
}

std::shared_ptr<const Listing> DumpFolder::look() {
    require_mounted();
    const auto directory = fs_.open(path_, O_RDONLY | O_DIRECTORY);
    auto listing = std::make_shared<Listing>();
    listing->modified = fs_.status(directory).st_mtim;
    auto names = fs_.entries(directory);
    std::sort(names.begin(), names.end());  // so that a raw archive is before the same one compressed
    for (const auto& name : names) {
        const auto shown = is_archive(name) ? raw_name(name) : shown_name(name);
        if (shown.empty()) continue;
        const auto status = fs_.status_at(directory, name);
        if (!status || !S_ISREG(status->st_mode)) continue;
        if (is_archive(name)) {
            add_archive(directory, name, *status, *listing);
            continue;
        }
        add(shown,
            {name,
             version_of(*status),
             {.size_bytes = static_cast<std::uint64_t>(status->st_size), .modified = status->st_mtim}},
            *listing);
    }
    std::erase_if(verdicts_, [&](const auto& verdict) {
        return !std::binary_search(names.begin(), names.end(), verdict.first);
    });
    return listing;
}

void DumpFolder::require_mounted() const {
    if (mount_point_of(fs_, path_) != mount_point_)
        throw base::Error(fmt::format("{}: {} is not mounted", path_, mount_point_));
}

void DumpFolder::add_archive(const io::File& directory, const std::string& name, const struct stat& status,
                             Listing& listing) {
    const auto version = version_of(status);
    const auto& verdict = verdict_on(directory, name, version);
    if (verdict.version != version) return;  // it changes just now
    switch (verdict.form) {
        case Form::raw_view:
            return add(raw_name(name),
                       {.source_name = name,
                        .version = version,
                        .attributes = {.size_bytes = verdict.size_bytes, .modified = status.st_mtim},
                        .is_archive = true},
                       listing);
        case Form::not_repacked:
            return listing.not_repacked.push_back(name);
        case Form::not_seekable:
            return listing.not_seekable.push_back(name);
        case Form::unreadable:
            return;
    }
}

const DumpFolder::Verdict& DumpFolder::verdict_on(const io::File& directory, const std::string& name,
                                                  const std::string& version) {
    auto& verdict = verdicts_[name];
    if (verdict.form != Form::unreadable && verdict.version == version) return verdict;
    try {
        verdict = judge(directory, name);
        if (verdict.form == Form::not_seekable)
            warn_(fmt::format(
                "{}: backups in .vma.gz and .vma.lzo are not shown; repack them to zstd: vmactl repack "
                "FILE.vma.gz FILE.vma.zst",
                path_));
    } catch (const base::SystemError& error) {
        verdict = {};
        if (error.number() != ENOENT) warn_(error.what());  // pruned meanwhile
    }
    return verdict;
}

DumpFolder::Verdict DumpFolder::judge(const io::File& directory, const std::string& name) const {
    const auto file = fs_.open_at(directory, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    Verdict verdict{.version = version_of(fs_.status(file)), .form = Form::not_repacked};
    if (const auto size = access::RawView::size_of(fs_, file)) {
        verdict.form = Form::raw_view;
        verdict.size_bytes = *size;
    } else if (const auto format = codec::format_of_name(name);
               format == codec::ArchiveFormat::gzip || format == codec::ArchiveFormat::lzo) {
        verdict.form = Form::not_seekable;
    }
    return verdict;
}

void DumpFolder::add(const std::string& shown_name, ShownFile file, Listing& listing) const {
    auto& attributes = file.attributes;
    attributes.inode = inode_for(name_, shown_name, attributes.size_bytes, attributes.modified);
    attributes.stored_bytes = attributes.size_bytes;
    attributes.valid_seconds = kListingValidSeconds;
    const auto [entry, is_new] = listing.files.try_emplace(shown_name, std::move(file));
    if (!is_new) return;
    listing.by_inode.emplace(entry->second.attributes.inode, &entry->second);
    listing.archives += entry->second.is_archive;
}

}  // namespace vmad::mount
