#include "recorded_disk.hpp"

#include <algorithm>
#include <set>

#include "support/random.hpp"

namespace vmad::fault {
namespace {

constexpr std::size_t kBlockBytes = 512;

void apply(const NameChange& change, DiskImage& image) {
    auto& names = image.directories[change.directory];
    for (const auto& [name, node] : change.names) {
        if (node)
            names[name] = *node;
        else
            names.erase(name);
    }
}

void collect(const DiskImage& image, NodeNumber directory, const std::string& prefix,
             std::map<std::string, NodeNumber>& paths) {
    for (const auto& [name, node] : image.directories.at(directory)) {
        paths[prefix + name] = node;
        if (image.directories.contains(node)) collect(image, node, prefix + name + "/", paths);
    }
}

/// Zeros where the file was written to.
std::string zeroed(const std::string& before, std::string after) {
    for (std::size_t i = 0; i < after.size(); ++i)
        if (i >= before.size() || before[i] != after[i]) after[i] = '\0';
    return after;
}

/// Each block is the old one, the new one, zeros or noise, and the end is somewhere.
std::string torn(const std::string& before, const std::string& after, testing::Random& random) {
    const auto shorter = std::min(before.size(), after.size());
    const auto longer = std::max(before.size(), after.size());
    std::string mixed(random.below(2) == 0 ? after.size() : shorter + random.below(longer - shorter + 1),
                      '\0');
    for (std::size_t begin = 0; begin < mixed.size(); begin += kBlockBytes) {
        const auto end = std::min(begin + kBlockBytes, mixed.size());
        const auto choice = random.below(4);
        for (std::size_t i = begin; i < end; ++i) {
            const bool is_new = i < after.size();
            if (is_new && i < before.size() && before[i] == after[i])
                mixed[i] = after[i];
            else if (choice == 0 && is_new)
                mixed[i] = after[i];
            else if (choice == 1 && i < before.size())
                mixed[i] = before[i];
            else if (choice == 2)
                mixed[i] = static_cast<char>(random.below(256));
        }
    }
    return mixed;
}

FileNode after_cut(const FileNode& before, FileNode after, UnsyncedData data, testing::Random& random) {
    switch (data) {
        case UnsyncedData::kept:
            return after;
        case UnsyncedData::lost:
            return before;
        case UnsyncedData::zeroed:
            after.set_text(zeroed(before.text(), after.text()));
            return after;
        case UnsyncedData::torn:
            break;
    }
    FileNode result = random.below(2) == 0 ? before : after;
    result.set_text(torn(before.text(), after.text(), random));
    return result;
}

std::size_t mix(std::size_t hash, std::size_t more) { return (hash ^ more) * 0x9E3779B97F4A7C15U + 1; }

std::size_t hash_of(const FileNode& file) {
    auto hash = file.content->hash();
    hash = mix(hash, static_cast<std::size_t>(file.modified_ns));
    hash = mix(hash, file.mode);
    for (const auto& [name, value] : file.attributes)
        hash = mix(hash, std::hash<std::string>{}(name + value));
    return hash;
}

}  // namespace

std::optional<NodeNumber> DiskImage::find(const std::string& path) const {
    const auto all = paths();
    const auto found = all.find(path);
    return found == all.end() ? std::nullopt : std::optional(found->second);
}

const FileNode* DiskImage::file(const std::string& path) const {
    const auto node = find(path);
    const auto found = node ? files.find(*node) : files.end();
    return found == files.end() ? nullptr : &found->second;
}

std::map<std::string, NodeNumber> DiskImage::paths() const {
    std::map<std::string, NodeNumber> result;
    collect(*this, root, "", result);
    return result;
}

std::size_t DiskImage::hash() const {
    std::size_t hash = 0;
    for (const auto& [path, node] : paths()) {
        hash = mix(mix(hash, std::hash<std::string>{}(path)), node);
        if (const auto found = files.find(node); found != files.end())
            hash = mix(hash, hash_of(found->second));
    }
    return hash;
}

void ChangingDisk::apply(const Operation& operation) {
    const auto node = operation.node;
    if (operation.created) durable_.files[node] = *operation.created;
    if (operation.creates_directory) durable_.directories[node];
    if (operation.names) names_.push_back(*operation.names);
    if (operation.change) changes_[node].push_back(operation.change);
    if (!operation.syncs) return;
    if (const auto changes = changes_.find(node); changes != changes_.end()) {
        for (const auto& change : changes->second) change(durable_.files[node]);
        changes_.erase(changes);
    }
    for (const auto& change : names_)
        if (change.directory == node) fault::apply(change, durable_);
    std::erase_if(names_, [&](const auto& change) { return change.directory == node; });
}

DiskImage ChangingDisk::after_cut(std::uint64_t kept, UnsyncedData data, std::uint64_t seed) const {
    testing::Random random(seed);
    DiskImage image = durable_;
    for (std::size_t i = 0; i < names_.size(); ++i)
        if (kept >> std::min<std::size_t>(i, 63) & 1) fault::apply(names_[i], image);
    std::set<NodeNumber> named;
    for (const auto& [path, node] : image.paths()) named.insert(node);
    for (const auto& [node, changes] : changes_) {
        if (!named.contains(node)) continue;
        auto& file = image.files[node];
        auto after = file;
        for (const auto& change : changes) change(after);
        const auto fate = data == UnsyncedData::torn ? static_cast<UnsyncedData>(random.below(4)) : data;
        file = fault::after_cut(file, std::move(after), fate, random);
    }
    std::erase_if(image.files, [&](const auto& item) { return !named.contains(item.first); });
    return image;
}

}  // namespace vmad::fault
