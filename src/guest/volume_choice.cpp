#include "guest/volume_choice.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace vmad::guest {
namespace {

bool has(VolumeTree& tree, const char* path) {
    try {
        return tree.status(tree.find(path)).type == FileType::directory;
    } catch (const base::Error&) {
        return false;
    }
}

/// Null when it does not, or cannot be read.
std::unique_ptr<VolumeTree> open_if_root(const Volume& volume) {
    if (!volume.problem.empty() || !VolumeTree::can_open(volume.file_system)) return nullptr;
    try {
        auto tree = VolumeTree::open(volume);
        const bool is_root = (has(*tree, "/etc") && has(*tree, "/usr")) || has(*tree, "/Windows/System32");
        return is_root ? std::move(tree) : nullptr;
    } catch (const base::Error&) {
        return nullptr;
    }
}

std::string with_file_system(const Volume& volume) {
    return volume.file_system.empty() ? volume.name : fmt::format("{} ({})", volume.name, volume.file_system);
}

[[noreturn]] void ask_for_name(std::span<const Volume> volumes, std::string text) {
    for (const auto& volume : volumes)
        text += fmt::format("{} {}", &volume == &volumes.front() ? ":" : ",", with_file_system(volume));
    throw base::UsageError(text);
}

}  // namespace

std::unique_ptr<VolumeTree> open_volume(std::span<const Volume> volumes, const std::string& name) {
    if (!name.empty()) {
        const auto found = std::find_if(volumes.begin(), volumes.end(),
                                        [&](const Volume& volume) { return volume.name == name; });
        if (found == volumes.end()) ask_for_name(volumes, fmt::format("no volume {}; there are", name));
        return VolumeTree::open(*found);
    }
    if (volumes.size() == 1) return VolumeTree::open(volumes.front());
    std::unique_ptr<VolumeTree> root;
    for (const auto& volume : volumes) {
        auto tree = open_if_root(volume);
        if (tree && root) ask_for_name(volumes, "several volumes hold a system; name one with --volume");
        if (tree) root = std::move(tree);
    }
    if (!root) ask_for_name(volumes, "name a volume with --volume");
    return root;
}

}  // namespace vmad::guest
