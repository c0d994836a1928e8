#include "mount/directory_tree.hpp"

#include <algorithm>

namespace vmad::mount {
namespace {

Attributes attributes_of(DumpFolder& folder) {
    return {.inode = folder.inode(),
            .is_directory = true,
            .modified = folder.listing()->modified,
            .valid_seconds = kListingValidSeconds};
}

bool is_earlier(const timespec& a, const timespec& b) {
    return std::pair(a.tv_sec, a.tv_nsec) < std::pair(b.tv_sec, b.tv_nsec);
}

}  // namespace

DirectoryTree::DirectoryTree(io::FileSystem& fs, const std::vector<FolderSource>& sources,
                             std::uint64_t memory_bytes, const DumpFolder::Warn& warn)
    : sources_(fs, memory_bytes) {
    for (const auto& source : sources) folders_.emplace_back(fs, source.name, source.path, warn);
}

DumpFolder* DirectoryTree::folder(Inode inode) {
    const auto found = std::find_if(folders_.begin(), folders_.end(),
                                    [&](const DumpFolder& one) { return one.inode() == inode; });
    return found == folders_.end() ? nullptr : &*found;
}

DumpFolder* DirectoryTree::owner(Inode file) {
    const auto found = std::find_if(folders_.begin(), folders_.end(), [&](const DumpFolder& one) {
        const auto listing = one.last_listing();
        return listing && listing->by_inode.count(file) != 0;
    });
    return found == folders_.end() ? nullptr : &*found;
}

/// As old as the folder that changed last. One that cannot be read now does not hide the others.
Attributes DirectoryTree::root_attributes() {
    if (is_single()) return attributes_of(folders_.front());
    Attributes root{.is_directory = true, .valid_seconds = kListingValidSeconds};
    for (auto& folder : folders_) {
        const auto listing = folder.last_listing();
        if (listing && is_earlier(root.modified, listing->modified)) root.modified = listing->modified;
    }
    return root;
}

std::optional<Attributes> DirectoryTree::attributes(Inode inode) {
    if (inode == kRootInode) return root_attributes();
    if (auto* found = folder(inode)) return attributes_of(*found);
    if (auto* found = owner(inode)) {
        const auto listing = found->listing();
        const auto file = listing->by_inode.find(inode);
        if (file != listing->by_inode.end()) return file->second->attributes;
    }
    return sources_.attributes(inode);
}

std::optional<Attributes> DirectoryTree::find(Inode directory, std::string_view name) {
    if (auto* found = folder(directory)) {
        const auto listing = found->listing();
        const auto file = listing->files.find(name);
        return file == listing->files.end() ? std::nullopt : std::optional(file->second.attributes);
    }
    if (directory != kRootInode) return std::nullopt;
    for (auto& folder : folders_)
        if (folder.name() == name) return attributes_of(folder);
    return std::nullopt;
}

std::optional<std::vector<Entry>> DirectoryTree::entries(Inode directory) {
    std::vector<Entry> entries;
    if (auto* found = folder(directory)) {
        const auto listing = found->listing();
        for (const auto& [name, file] : listing->files) entries.push_back({name, file.attributes});
        return entries;
    }
    if (directory != kRootInode) return std::nullopt;
    for (auto& folder : folders_)
        entries.push_back({folder.name(), {.inode = folder.inode(), .is_directory = true}});
    return entries;
}

std::unique_ptr<OpenFile> DirectoryTree::open(Inode inode) {
    if (auto file = sources_.open(inode)) return file;
    auto* found = owner(inode);
    if (found == nullptr) return nullptr;
    const auto listing = found->listing();
    const auto entry = listing->by_inode.find(inode);
    if (entry == listing->by_inode.end()) return nullptr;
    auto file = found->open(*entry->second);
    return file ? sources_.open(std::move(*file), *entry->second) : nullptr;
}

}  // namespace vmad::mount
