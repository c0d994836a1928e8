#include "mount/archive_tree.hpp"

#include <algorithm>
#include <cstring>

namespace vmad::mount {
namespace {

constexpr Inode kFirstFile = kRootInode + 1;
/// What never changes is asked for once.
constexpr double kForeverSeconds = 86400;

/// A disk of the guest.
class OpenDisk final : public OpenFile {
  public:
    /// The reader outlives it.
    OpenDisk(access::DiskReader& reader, const vma::Device& device)
        : reader_(reader), id_(device.id), size_bytes_(device.size_bytes) {}

    std::uint64_t size_bytes() const override { return size_bytes_; }
    void read_at(std::uint64_t offset, std::span<std::byte> into) override {
        reader_.read_at(id_, offset, into);
    }
    FileRange range_at(std::uint64_t offset) override {
        const auto range = reader_.range_at(id_, offset);
        return {range.offset + range.bytes, range.stored};
    }

  private:
    access::DiskReader& reader_;
    std::uint8_t id_;
    std::uint64_t size_bytes_;
};

/// A text in memory.
class OpenText final : public OpenFile {
  public:
    OpenText(std::string text, bool is_lasting) : text_(std::move(text)), is_lasting_(is_lasting) {}

    std::uint64_t size_bytes() const override { return text_.size(); }
    void read_at(std::uint64_t offset, std::span<std::byte> into) override {
        std::memcpy(into.data(), text_.data() + offset, into.size());
    }
    bool is_lasting() const override { return is_lasting_; }

  private:
    std::string text_;
    bool is_lasting_;
};

}  // namespace

ArchiveTree::ArchiveTree(const access::ArchiveIndex& index, access::DiskReader::Options options,
                         timespec modified, const std::function<std::string()>& info)
    : reader_(index, std::move(options)), modified_(modified) {
    // No name of the archive's can take this one's place.
    taken_.emplace_back(kInfoName);
    for (const auto& device : index.header().devices) add_disk(device);
    for (const auto& config : index.header().configs) add_config(config);
    names_.emplace_back(kInfoName);
    files_.push_back(
        {.open = [info] { return std::make_unique<OpenText>(info(), false); }, .is_lasting = false});
}

void ArchiveTree::add_disk(const vma::Device& device) {
    add(device.name + ".raw",
        {.size_bytes = device.size_bytes,
         .stored_bytes = reader_.stored_bytes(device.id),
         .open = [this, &device] { return std::make_unique<OpenDisk>(reader_, device); }});
}

void ArchiveTree::add_config(const vma::Config& config) {
    add(config.name, {.size_bytes = config.data.size(),
                      .stored_bytes = config.data.size(),
                      .open = [&config] { return std::make_unique<OpenText>(config.data, true); }});
}

void ArchiveTree::add(const std::string& name, File file) {
    names_.push_back(file_name_for(name, taken_));
    files_.push_back(std::move(file));
}

Attributes ArchiveTree::attributes_of(std::size_t number) const {
    const auto& file = files_[number];
    return {.inode = kFirstFile + number,
            .size_bytes = file.is_lasting ? file.size_bytes : file.open()->size_bytes(),
            .stored_bytes = file.stored_bytes,
            .modified = modified_,
            .valid_seconds = file.is_lasting ? kForeverSeconds : 0};
}

const ArchiveTree::File* ArchiveTree::file(Inode inode) const noexcept {
    return inode < kFirstFile || inode - kFirstFile >= files_.size() ? nullptr : &files_[inode - kFirstFile];
}

std::optional<Attributes> ArchiveTree::attributes(Inode inode) {
    if (inode == kRootInode)
        return Attributes{.is_directory = true, .modified = modified_, .valid_seconds = kForeverSeconds};
    if (file(inode) == nullptr) return std::nullopt;
    return attributes_of(inode - kFirstFile);
}

std::optional<Attributes> ArchiveTree::find(Inode directory, std::string_view name) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (directory != kRootInode || found == names_.end()) return std::nullopt;
    return attributes_of(static_cast<std::size_t>(found - names_.begin()));
}

std::optional<std::vector<Entry>> ArchiveTree::entries(Inode directory) {
    if (directory != kRootInode) return std::nullopt;
    std::vector<Entry> entries;
    for (std::size_t i = 0; i < files_.size(); ++i) entries.push_back({names_[i], attributes_of(i)});
    return entries;
}

std::unique_ptr<OpenFile> ArchiveTree::open(Inode inode) {
    const auto* found = file(inode);
    return found == nullptr ? nullptr : found->open();
}

}  // namespace vmad::mount
